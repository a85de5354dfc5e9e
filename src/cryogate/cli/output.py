"""What a command prints: one JSON document, or text for people. Never both.

Everything that came from outside goes through `clean`, whatever it is (H4).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from cryogate.cli.options import Settings
from cryogate.domain.safe_text import clean, to_json

_CELL = 200


def emit(settings: Settings, document: object, human: Callable[[], None]) -> None:
    """``document`` as JSON when asked for, else what ``human`` prints."""
    if settings.as_json:
        click.echo(to_json(document))
    else:
        human()


def say(text: str) -> None:
    """One line for people on standard output."""
    click.echo(clean(text, lines=True))


def note(text: str) -> None:
    """One line for people on standard error."""
    click.echo(clean(text, lines=True), err=True)


def show(value: object) -> str:
    """A value as a table cell."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{clean(k, limit=_CELL)}={show(v)}" for k, v in value.items()) or "-"
    if isinstance(value, (list, tuple)):
        return ", ".join(show(item) for item in value) or "-"
    return clean(value, limit=_CELL)


def table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, err: bool = False, none: str = ""
) -> None:
    """A table; ``none`` is said instead when it has no rows."""
    if not rows:
        if none:
            click.echo(none, err=err)
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    # Cells are Text, never str: a str would be read as markup.
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        made.add_column(Text(column), overflow="fold")
    for row in rows:
        made.add_row(*(Text(show(cell)) for cell in row))
    console = _console(err)
    with console.capture() as drawn:
        console.print(made)
    for line in drawn.get().splitlines():
        click.echo(line.rstrip(), err=err)


def fields(pairs: Sequence[tuple[str, object]]) -> None:
    """Labels and values, one a line; unknown values are left out."""
    known = [(label, value) for label, value in pairs if value not in (None, "", (), [], {})]
    width = max((len(label) for label, _ in known), default=0)
    for label, value in known:
        text = value if isinstance(value, str) else show(value)
        click.echo(f"{label:<{width}}  {clean(text)}")


def _console(err: bool) -> Any:
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    # A pipe has no width: nothing is folded there, so that other programs can read the lines.
    width = None if stream.isatty() else 4_000
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False)
