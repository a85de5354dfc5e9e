"""``cryogate policy``: what is in force, what it would say, whether a bundle passes its tests."""

from __future__ import annotations

import json
from typing import Any

import click

from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, fields, table
from cryogate.cli.records import BASE

_MAX_QUESTION = 256 << 10


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
def eval_(settings: Settings, question: Any) -> None:
    """Ask the policy in force what it says to QUESTION, a JSON file (- reads standard input).

    Nothing happens but the asking. A deny exits 1.
    """
    from cryogate.cli.connect import operator
    from cryogate.cli.failure import REFUSED

    try:
        asked = json.loads(question.read(_MAX_QUESTION))
    except (ValueError, RecursionError):
        raise click.UsageError("the question is not JSON") from None
    with operator(settings) as server:
        found = server.call("POST", *BASE, "policies", "evaluate", body={"question": asked})
    emit(settings, found, lambda: _decision(found))
    if found.get("decision") != "allow":
        click.get_current_context().exit(REFUSED)


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


command(group, "show", As.OPERATOR)(show_)
command(group, "eval", As.OPERATOR)(eval_)
