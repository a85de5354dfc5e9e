"""``cryogate policy``: what is in force, what it would say, whether a bundle passes its tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, fields, say, table
from cryogate.cli.policy_bundles import register
from cryogate.cli.policy_tools import register as register_tools
from cryogate.cli.records import BASE

_MAX_QUESTION = 256 << 10
_DIRECTORY = click.Path(path_type=Path, file_okay=False)


@click.group()
def group() -> None:
    """Policy: what is in force, and what it would say."""


def show_(settings: Settings) -> None:
    """Show the digest of the bundle in force."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        found = server.call("GET", *BASE, "policies")
    emit(settings, found, lambda: fields(list(found.items())))


@click.argument("question", type=click.File("rb"))
@click.option("--bundle", type=_DIRECTORY, help="Ask this bundle here instead of the server.")
def eval_(settings: Settings, question: Any, bundle: Path | None) -> None:
    """Ask the policy in force what it says to QUESTION, a JSON file (- reads standard input).

    Nothing happens but the asking. A deny exits 1.
    """
    from cryogate.cli.connect import operator
    from cryogate.cli.failure import REFUSED

    try:
        asked = json.loads(question.read(_MAX_QUESTION))
    except (ValueError, RecursionError):
        raise click.UsageError("the question is not JSON") from None
    if bundle is not None:
        found = _ask(bundle, asked)
    else:
        with operator(settings) as server:
            found = server.call("POST", *BASE, "policies", "evaluate", body={"question": asked})
    emit(settings, found, lambda: _decision(found))
    if found.get("decision") != "allow":
        click.get_current_context().exit(REFUSED)


@click.argument("bundle", required=False, type=_DIRECTORY)
def test(settings: Settings, bundle: Path | None) -> None:
    """Run the tests of BUNDLE, by default of the one in the state directory or the shipped one.

    A test that does not pass, or a bundle without tests, exits 4.
    """
    from cryogate.cli.failure import UNVERIFIED
    from cryogate.policies import Bundle, run_bundle_tests, shipped_bundle

    if bundle is None:
        own = settings.state / "policy"
        bundle = own if own.is_dir() else shipped_bundle()
    results = run_bundle_tests(Bundle.load(bundle))
    failed = [result for result in results if not result.passed]
    # No tests are no proof: a bundle has to bring some.
    passed = bool(results) and not failed
    document = {
        "bundle": str(bundle),
        "passed": passed,
        "tests": [{"name": r.name, "passed": r.passed, "detail": r.detail} for r in results],
    }

    def human() -> None:
        table(("test", "why it failed"), [(r.name, r.detail) for r in failed])
        say(f"{len(results) - len(failed)} of {len(results)} tests passed in {bundle}")

    emit(settings, document, human)
    if not passed:
        click.get_current_context().exit(UNVERIFIED)


def _ask(bundle: Path, asked: object) -> dict[str, Any]:
    import asyncio

    import msgspec

    from cryogate.domain.decisions import Allow
    from cryogate.domain.errors import Malformed
    from cryogate.policies import Bundle, RegorusEngine
    from cryogate.ports.policy import Question

    try:
        question = msgspec.convert(asked, Question)
    except msgspec.ValidationError as error:
        raise Malformed("malformed_question", str(error)) from None
    decision = asyncio.run(RegorusEngine(Bundle.load(bundle)).decide(question))
    allowed = isinstance(decision, Allow)
    found: dict[str, Any] = msgspec.to_builtins(decision)
    return {"decision": "allow" if allowed else "deny", **found}


def _decision(found: dict[str, Any]) -> None:
    obligations = [o for o in found.get("obligations", ()) if isinstance(o, dict)]
    fields(
        [
            ("decision", found.get("decision")),
            ("reasons", found.get("reasons")),
            ("obligations", [f"{o.get('kind')} ({o.get('reason')})" for o in obligations]),
            ("policy", found.get("policy_digest")),
        ]
    )
    violations = [v for v in found.get("violations", ()) if isinstance(v, dict)]
    columns = ("limit", "allowed", "actual", "hint")
    table(columns, [[v.get(column) for column in columns] for v in violations])


register(group)
register_tools(group)
command(group, "show", As.OPERATOR)(show_)
command(group, "test", As.NOBODY)(test)
command(group, "eval", As.OPERATOR)(eval_)
