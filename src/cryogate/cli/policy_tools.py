"""``cryogate policy``: explain a decision, replay history under a candidate, suggest statements."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import click

from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, fields, say, table
from cryogate.cli.records import BASE

_DIRECTORY = click.Path(path_type=Path, file_okay=False)
_MAX_QUESTION = 256 << 10
_UNIT_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SINCE = click.option(
    "--since", default="7d", show_default=True, metavar="AGE", help="How far back: 45m, 12h, 30d."
)


def since_ms(age: str) -> int:
    """The moment ``age`` ago.

    Raises:
        UsageError: it is not an age.
    """
    found = re.fullmatch(r"([0-9]{1,5})([mhd])", age, re.ASCII)
    if found is None:
        raise click.UsageError(f"{age!r} is not an age: write 45m, 12h or 30d")
    return max(0, time.time_ns() // 1_000_000 - int(found[1]) * _UNIT_MS[found[2]])


@click.argument("question", type=click.File("rb"), required=False)
@click.option("--job", "job_id", help="An accepted job instead of a question.")
@click.option("--agent", "agent_id", help="The agent's newest refusal instead of a question.")
@click.option("--bundle", type=_DIRECTORY, help="Ask this bundle here instead of the server.")
def explain(
    settings: Settings,
    question: Any,
    job_id: str | None,
    agent_id: str | None,
    bundle: Path | None,
) -> None:
    """Say which rule decided, and what would have to change for a yes.

    The changes are proven: the policy is asked again with all of them made.
    """
    if sum(one is not None for one in (question, job_id, agent_id)) != 1:
        raise click.UsageError("give one of QUESTION, --job ID and --agent NAME")
    asked = None
    if question is not None:
        try:
            asked = json.loads(question.read(_MAX_QUESTION))
        except (ValueError, RecursionError):
            raise click.UsageError("the question is not JSON") from None
    if bundle is not None:
        if asked is None:
            raise click.UsageError("--bundle explains a QUESTION")
        found = _explain_here(bundle, asked)
    else:
        from cryogate.cli.connect import operator

        given = {"question": asked, "job_id": job_id, "agent_id": agent_id}
        body = {name: value for name, value in given.items() if value is not None}
        with operator(settings) as server:
            found = server.call("POST", *BASE, "policies", "explain", body=body)
    emit(settings, found, lambda: _explained(found))


@click.argument("bundle", type=_DIRECTORY)
@_SINCE
def replay(settings: Settings, bundle: Path, since: str) -> None:
    """Show what BUNDLE would have decided on recorded history, as a difference.

    Nothing is put in force; the bundle needs no signature.
    """
    from cryogate.cli.connect import operator
    from cryogate.policies.bundle_files import read_files

    files = {name: content.decode("utf-8") for name, content in read_files(bundle).items()}
    body = {"files": files, "since_ms": since_ms(since)}
    with operator(settings) as server:
        found = server.call("POST", *BASE, "policies", "replay", body=body)

    def human() -> None:
        say(
            f"{found['changed']} of {found['asked']} decisions would change "
            f"(the policy in force repeats {found['faithful']} of them as they were)"
        )
        kinds = ("times", "was", "would")
        table(kinds, [[row.get(c) for c in kinds] for row in found["kinds"]])
        columns = ("reference", "agent", "action", "backend", "shots", "was", "would", "reasons")
        table(columns, [[row.get(c) for c in columns] for row in found["changes"]])

    emit(settings, found, human)


@click.argument("agent")
@_SINCE
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the statements here."
)
def suggest(settings: Settings, agent: str, since: str, out: Path | None) -> None:
    """Suggest the narrowest statements that would have allowed what AGENT really did.

    They are proven: asked about the same history alone, they allow all of it.
    """
    from cryogate.cli.connect import operator

    query = {"since_ms": str(since_ms(since))}
    with operator(settings) as server:
        found = server.call("GET", *BASE, "policies", "suggest", agent, query=query)
    text = json.dumps(found["statements"], indent=2, sort_keys=True)
    if out is not None:
        out.write_text(text + "\n")

    def human() -> None:
        if out is None:
            say(text)
        say(f"these statements alone allow {found['allows']} of {found['asked']} questions")

    emit(settings, found, human)


def _explain_here(bundle: Path, asked: object) -> dict[str, Any]:
    import asyncio

    import msgspec

    from cryogate.domain.errors import Malformed
    from cryogate.policies import Bundle, RegorusEngine
    from cryogate.policies.explain import explain as explained
    from cryogate.ports.policy import Question

    try:
        question = msgspec.convert(asked, Question)
    except msgspec.ValidationError as error:
        raise Malformed("malformed_question", str(error)) from None
    loaded = Bundle.load(bundle)
    found = asyncio.run(explained(RegorusEngine(loaded).decide, loaded, question))
    built: dict[str, Any] = msgspec.to_builtins(found)
    return built


def _explained(found: dict[str, Any]) -> None:
    fields([("decision", found.get("decision")), ("policy", found.get("policy_digest"))])
    rules = found.get("decided_by", [])
    columns = ("limit", "allowed", "actual", "where")
    if any("limit" in rule for rule in rules):
        table(columns, [[rule.get(c) for c in columns] for rule in rules])
    else:
        table(("reason", "where"), [(rule.get("reason"), rule.get("where")) for rule in rules])
    if found.get("decision") == "allow":
        return
    changes = found.get("changes", [])
    table(("who", "what would have to change"), [(c.get("who"), c.get("how")) for c in changes])
    if found.get("verified"):
        say("with all of these the policy says yes")
    else:
        say(f"still in the way: {', '.join(found.get('still_in_the_way', []))}")


def register(group: click.Group) -> None:
    """Add the commands to ``cryogate policy``."""
    command(group, "explain", As.OPERATOR)(explain)
    command(group, "replay", As.OPERATOR)(replay)
    command(group, "suggest", As.OPERATOR)(suggest)
