"""``cryogate agent promote``: from simulators to hardware, by another human's yes."""

from __future__ import annotations

from typing import Any

import click

from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, fields, say, table
from cryogate.cli.records import BASE


@click.argument("name")
@click.option("--reason", help="Why it should reach hardware; shown to whoever decides.")
@click.option("--evidence", "preview", is_flag=True, help="Show the evidence; ask for nothing.")
def promote(settings: Settings, name: str, reason: str | None, preview: bool) -> None:
    """Ask for an agent's promotion to stage hardware.

    The request carries what the agent ran, what was refused to it, and what its work of thirty
    days would have cost on real backends. Somebody else decides: `cryogate approval approve`.
    """
    from cryogate.cli.connect import operator

    if preview == (reason is not None):
        raise click.UsageError("give --reason WHY to ask, or --evidence to look first")
    with operator(settings) as server:
        path = (*BASE, "agents", name, "promotion")
        if preview:
            found = server.call("GET", *path)
        else:
            found = server.call("POST", *path, body={"reason": reason})

    def human() -> None:
        _evidence(found if preview else found.get("evidence", {}))
        if not preview:
            say(
                f"asked: {found['approval_id']}; another human decides before {found['expires_at']}"
            )

    emit(settings, found, human)


def _evidence(found: dict[str, Any]) -> None:
    fields([(label, found.get(label)) for label in ("as_of", "tier", "roles", "known_since")])
    ran = ("backend", "simulator", "state", "jobs", "shots", "circuits")
    table(ran, [[row.get(c) for c in ran] for row in found.get("ran", [])])
    denied = found.get("denied", {})
    say(f"refused requests: {denied.get('requests')}{' or more' if denied.get('or_more') else ''}")
    table(("times", "reason"), [(n, r) for r, n in denied.get("reasons", {}).items()])
    projected = ("backend", "jobs", "cents", "currency")
    table(projected, [[row.get(c) for c in projected] for row in found.get("projected", [])])


def register(group: click.Group) -> None:
    """Add the command to ``cryogate agent``."""
    command(group, "promote", As.OPERATOR)(promote)
