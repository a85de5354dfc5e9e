"""``cryogate budget check|close|closings|correct|entries``: the journal behind the budgets."""

from __future__ import annotations

import click

from cryogate.cli.amounts import parse_cents, show_cents
from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, say, table
from cryogate.cli.records import BASE

_DIFFERS = 4  # as for the audit log: what was verified is not what it says


def check_(settings: Settings) -> None:
    """Compare every balance with the journal. A difference exits 4."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        found = server.call("GET", *BASE, "ledger", "check")
    balanced = found.get("balanced") is True

    def human() -> None:
        say("everything adds up" if balanced else "the sums differ")
        for name in ("budgets", "windows", "months"):
            for item in found.get(name, ()):
                say(f"  {name}: {item}")

    emit(settings, found, human)
    if not balanced:
        raise click.exceptions.Exit(_DIFFERS)


@click.argument("month")
def close_(settings: Settings, month: str) -> None:
    """Close a month that is over (2026-10), and those before it, for ever."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        found = server.call("POST", *BASE, "ledger", "close", body={"month": month})
    emit(settings, found, lambda: _closings(found))


def closings_(settings: Settings) -> None:
    """List closed months and their sums."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        found = server.call("GET", *BASE, "ledger", "closings")
    emit(settings, found, lambda: _closings(found))


@click.argument("job")
@click.option("--add", metavar="AMOUNT", help="Charge so much more: 1.50, or 150c.")
@click.option("--back", metavar="AMOUNT", help="Give so much back.")
@click.option("--reason", required=True, help="Where the other figure comes from.")
def correct_(settings: Settings, job: str, add: str | None, back: str | None, reason: str) -> None:
    """Correct what a settled job was charged, by a new entry in the present month."""
    from cryogate.cli.connect import operator

    if (add is None) == (back is None):
        raise click.UsageError("say --add or --back")
    try:
        cents = parse_cents(add) if add is not None else -parse_cents(back or "")
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    body = {"job_id": job, "cents": cents, "reason": reason}
    with operator(settings) as server:
        found = server.call("POST", *BASE, "ledger", "corrections", body=body)
    emit(settings, found, lambda: _entries(found))


@click.argument("job")
def entries_(settings: Settings, job: str) -> None:
    """Show the entries of one job."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        found = server.call("GET", *BASE, "ledger", "entries", job)
    emit(settings, found, lambda: _entries(found))


def _closings(found: dict[str, object]) -> None:
    listed = found.get("items")
    items = [i for i in listed if isinstance(i, dict)] if isinstance(listed, list) else []
    rows = [
        [i.get("month"), i.get("entries"), show_cents(i.get("spent_cents"), i.get("currency")),
         i.get("spent_shots"), i.get("closed_at"), i.get("closed_by")]
        for i in items
    ]  # fmt: skip
    columns = ("month", "entries", "spent", "shots", "closed", "by")
    table(columns, rows, none="no closed month has an entry")


def _entries(found: dict[str, object]) -> None:
    listed = found.get("items")
    items = [i for i in listed if isinstance(i, dict)] if isinstance(listed, list) else []
    columns = ("kind", "month", "posted", "granted", "available", "held", "spent")
    rows = [
        [i.get("kind"), i.get("month"), i.get("posted_at"),
         *(show_cents(i.get(f"{name}_cents"), i.get("currency")) for name in columns[3:])]
        for i in items
    ]  # fmt: skip
    table(columns, rows)


def add_to(group: click.Group) -> None:
    """Add the commands to ``cryogate budget``."""
    command(group, "check", As.OPERATOR)(check_)
    command(group, "close", As.OPERATOR)(close_)
    command(group, "closings", As.OPERATOR)(closings_)
    command(group, "correct", As.OPERATOR)(correct_)
    command(group, "entries", As.OPERATOR)(entries_)
