"""``cryogate audit``: read, export and verify the log."""

from __future__ import annotations

from typing import Any

import click

from cryogate.cli import audit_offline, audit_sinks, audit_story, audit_watch
from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, fields, note, say, show, table

_COLUMNS = ("seq", "timestamp", "action", "outcome", "agent_id", "experiment_id", "subject", "why")
_SUBJECTS = ("job_id", "session_id", "approval_id", "token_id")


@click.group()
def group() -> None:
    """The audit log: read, export, verify."""


@click.option("--after", type=click.IntRange(0), help="Events after this seq.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--sealed", is_flag=True, help="As they were hashed, with nothing opened.")
def events(settings: Settings, after: int | None, limit: int, sealed: bool) -> None:
    """List events in the order of the log."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        asked = {"after": after, "limit": limit, "clear": None if sealed else 1}
        page = server.call("GET", "audit", "events", query=asked)
    items = [item for item in page.get("items", ()) if isinstance(item, dict)]

    def human() -> None:
        table(_COLUMNS, [_row(item) for item in items], none="no events")
        if page.get("next") is not None:
            note(f"there are more; continue with --after {show(page['next'])}")

    emit(settings, page, human)


def checkpoint(settings: Settings) -> None:
    """Show the signed head of the log (C2SP checkpoint)."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        signed = server.raw("GET", "audit", "checkpoint").body.decode("utf-8", "replace")
    lines = signed.split("\n")
    document = {
        "origin": lines[0],
        "size": int(lines[1]) if len(lines) > 1 and lines[1].isdigit() else None,
        "root": lines[2] if len(lines) > 2 else None,
        "note": signed,
    }
    emit(settings, document, lambda: say(signed.rstrip("\n")))


@click.argument("seq", type=click.IntRange(0))
def proof(settings: Settings, seq: int) -> None:
    """Show the proof that event SEQ is in the log."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        found = server.call("GET", "audit", "events", str(seq), "proof")
    emit(settings, found, lambda: fields(list(found.items())))


@click.option("--dry-run", is_flag=True, help="Say what would go, and do nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def prune(settings: Settings, dry_run: bool, yes: bool) -> None:
    """Remove the texts of old entries, as the written retention policy allows.

    Their hashes stay, so every proof and `audit verify` go on as before. The policy is the file
    that the server's audit.retention_file names; it never allows less than the legal minimum.
    """
    from cryogate.cli.connect import operator
    from cryogate.cli.records import BASE

    with operator(settings) as server:
        found = server.call("POST", *BASE, "audit", "prune", body={"dry_run": True})
        if not dry_run and found["entries"]:
            asked = f"Remove the texts of {found['entries']} entries? There is no way back."
            if not yes:
                click.confirm(asked, abort=True, err=True)
            found = server.call("POST", *BASE, "audit", "prune", body={"dry_run": False})

    def human() -> None:
        word = "would go" if found["dry_run"] else "went"
        say(f"{found['entries']} entries {word}; left from entry {found['left_from']}")
        if found["held_by"]:
            note(f"no more, because of: {found['held_by']}")

    emit(settings, found, human)


def _row(item: dict[str, Any]) -> list[object]:
    event = item.get("event") if isinstance(item.get("event"), dict) else item
    assert isinstance(event, dict)  # noqa: S101 - told by the line above
    subject = next((event[name] for name in _SUBJECTS if event.get(name)), None)
    return [
        item.get("seq", event.get("seq")),
        event.get("timestamp"),
        event.get("action"),
        event.get("outcome"),
        event.get("agent_id") or event.get("actor_chain"),
        event.get("experiment_id"),
        subject,
        event.get("decision_reasons"),
    ]


command(group, "events", As.OPERATOR)(events)
command(group, "checkpoint", As.OPERATOR)(checkpoint)
command(group, "proof", As.OPERATOR)(proof)
command(group, "prune", As.OPERATOR)(prune)
audit_offline.register(group)
audit_sinks.register(group)
audit_story.register(group)
audit_watch.register(group)
