"""``cryogate prices``: the price book in force, and whether a file could be one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, fields, note, say, table
from cryogate.cli.records import BASE

_COLUMNS = ("backend", "model", "currency", "as of", "age", "source")
_STALE = 1


@click.group()
def group() -> None:
    """Prices: what is in force, from where, and how old it is."""


def list_(settings: Settings) -> None:
    """List the price book in force."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        found = server.call("GET", *BASE, "prices")
    emit(settings, found, lambda: _book(found))


@click.argument("backend")
def show_(settings: Settings, backend: str) -> None:
    """Show the entry that prices BACKEND, its formula, source and age."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        chosen = server.call("GET", *BASE, "prices", query={"backend": backend})
    emit(
        settings,
        chosen,
        lambda: fields(
            [
                ("backend", backend),
                ("model", chosen.get("model")),
                ("formula", chosen.get("formula")),
                ("source", chosen.get("source")),
                ("as of", chosen.get("as_of")),
                ("age", _age(chosen)),
            ]
        ),
    )


@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--max-age-days", type=click.IntRange(0), default=365, show_default=True)
def check_(settings: Settings, file: Path, max_age_days: int) -> None:
    """Check a price book file: its form, its figures, and its age. A stale entry exits 1."""
    import time

    from cryogate.governance.price_list import PriceList
    from cryogate.governance.pricing import MAX_BOOK_BYTES, load_price_book
    from cryogate.governance.quotes import AgeLimit

    with file.open("rb") as opened:
        book = load_price_book(opened.read(MAX_BOOK_BYTES + 1), file.name)
    now_ms = time.time_ns() // 1_000_000
    found = PriceList(book, AgeLimit(max_age_days), lambda: now_ms).document()
    stale = [item for item in (*found["items"], *found["conversions"]) if item["is_stale"]]

    def human() -> None:
        _book(found)
        say(f"{file.name} is a price book of {len(found['items'])} entries")
        if stale:
            note(f"{len(stale)} of its entries are older than {max_age_days} days")

    emit(settings, found, human)
    if stale:
        raise click.exceptions.Exit(_STALE)


def _book(found: dict[str, Any]) -> None:
    rows = [
        [i.get("backend"), i.get("model"), i.get("currency"), i.get("as_of"), _age(i),
         i.get("source")]
        for i in found.get("items", ())
        if isinstance(i, dict)
    ]  # fmt: skip
    table(_COLUMNS, rows)
    rates = [
        [i.get("from"), i.get("to"), i.get("rate"), i.get("as_of"), _age(i), i.get("source")]
        for i in found.get("conversions", ())
        if isinstance(i, dict)
    ]
    table(("from", "to", "rate", "as of", "age", "source"), rates)
    say(f"version {found.get('version')}, sha256 {found.get('sha256')}")


def _age(item: dict[str, Any]) -> str:
    days = item.get("age_days")
    if type(days) is not int:
        return "does not age"
    return f"{days} days" + (", stale" if item.get("is_stale") else "")


for _name, _body, _as in (
    ("list", list_, As.OPERATOR),
    ("show", show_, As.OPERATOR),
    ("check", check_, As.NOBODY),
):
    command(group, _name, _as)(_body)
