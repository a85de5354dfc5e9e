"""``cryogate audit sinks`` and ``dead-letters``: copies of the log, and what was not taken."""

from __future__ import annotations

from typing import Any

import click

from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, say
from cryogate.cli.records import BASE, listed

_SINKS = ("name", "position", "behind", "dead_letters", "failures", "feeding")
_LETTERS = ("seq", "at", "tries", "asked_at", "reason")


@click.group("dead-letters")
def letters() -> None:
    """Entries that a receiver refused: list, offer again, give up."""


def sinks(settings: Settings) -> None:
    """List the sinks, how far each has got, and what it did not take."""
    listed(settings, "sinks", {}, _SINKS, none="no sinks are configured")


@click.argument("sink")
@click.option("--after", type=click.IntRange(0), metavar="SEQ", help="Continue a longer list.")
@click.option("--limit", type=click.IntRange(1, 200), help="Most items to list.")
def list_(settings: Settings, sink: str, after: int | None, limit: int | None) -> None:
    """List a sink's dead letters; ``asked_at`` are those on their way."""
    from cryogate.cli.connect import operator
    from cryogate.cli.records import show_page

    with operator(settings) as server:
        query = {"after": after, "limit": limit}
        page = server.call("GET", *BASE, "sinks", sink, "dead-letters", query=query)
    show_page(settings, page, _LETTERS, none="no dead letters")


@click.argument("sink")
@click.argument("entries", nargs=-1, type=click.IntRange(0), metavar="[SEQ]...")
@click.option("--all", "every", is_flag=True, help="All of this sink's dead letters.")
def retry(settings: Settings, sink: str, entries: tuple[int, ...], every: bool) -> None:
    """Offer dead letters again, within seconds, beside what is new."""
    if bool(entries) == every:
        raise click.UsageError("name entries, or --all")
    body = {"all": True} if every else {"entries": list(entries)}
    done = _post(settings, sink, "retry", body)
    emit(settings, done, lambda: say(f"asked {sink} again: see dead-letters list {sink}"))


@click.argument("sink")
@click.argument("entries", nargs=-1, required=True, type=click.IntRange(0), metavar="SEQ...")
@click.option("--reason", required=True, help="Why; it is in the log.")
def drop(settings: Settings, sink: str, entries: tuple[int, ...], reason: str) -> None:
    """Give dead letters up: this receiver will not have them. The log keeps the entries."""
    done = _post(settings, sink, "drop", {"entries": list(entries), "reason": reason})
    emit(settings, done, lambda: say(f"dropped {len(entries)} for {sink}"))


def _post(settings: Settings, sink: str, what: str, body: dict[str, Any]) -> dict[str, Any]:
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        return server.call("POST", *BASE, "sinks", sink, "dead-letters", what, body=body)


def register(group: click.Group) -> None:
    """Add them to ``group``."""
    command(group, "sinks", As.OPERATOR)(sinks)
    group.add_command(letters)


command(letters, "list", As.OPERATOR)(list_)
command(letters, "retry", As.OPERATOR)(retry)
command(letters, "drop", As.OPERATOR)(drop)
