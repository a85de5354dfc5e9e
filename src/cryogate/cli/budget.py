"""``cryogate budget``: what an experiment may spend, holds and has spent."""

from __future__ import annotations

from typing import Any

import click

from cryogate.cli.amounts import CENTS, show_cents
from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, note, table
from cryogate.cli.records import BASE, paged

_COLUMNS = ("experiment", "limit", "held", "spent", "left", "shots: limit", "held", "spent", "left")


@click.group()
def group() -> None:
    """Budgets of experiments, in money and shots."""


@paged
def list_(settings: Settings, after: str | None, limit: int | None) -> None:
    """List all budgets."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        page = server.call("GET", *BASE, "budgets", query={"after": after, "limit": limit})
    items = [item for item in page.get("items", ()) if isinstance(item, dict)]

    def human() -> None:
        table(_COLUMNS, [_row(item) for item in items], none="no budgets yet")
        if page.get("next"):
            note(f"there are more; continue with --after {page['next']}")

    emit(settings, page, human)


@click.argument("experiment")
def show_(settings: Settings, experiment: str) -> None:
    """Show the budget of one experiment."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        found = server.call("GET", *BASE, "budgets", experiment)
    _emit_one(settings, experiment, found)


@click.argument("experiment")
@click.option("--limit", type=CENTS, help="New limit: 12.50, or 1250c.")
@click.option("--shots", type=click.IntRange(0), help="New limit of shots.")
def set_(settings: Settings, experiment: str, limit: int | None, shots: int | None) -> None:
    """Set limits. What is not given stays as it is."""
    from cryogate.cli.connect import operator

    if limit is None and shots is None:
        raise click.UsageError("say what to set: --limit or --shots")
    with operator(settings) as server:
        if limit is None or shots is None:
            now = server.call("GET", *BASE, "budgets", experiment)
            limit = now["limit_cents"] if limit is None else limit
            shots = now["limit_shots"] if shots is None else shots
        body = {"limit_cents": limit, "limit_shots": shots}
        found = server.call("PUT", *BASE, "budgets", experiment, body=body)
    _emit_one(settings, experiment, found)


def _emit_one(settings: Settings, experiment: str, found: dict[str, Any]) -> None:
    row = _row({"experiment_id": experiment, **found})
    emit(settings, found, lambda: table(_COLUMNS, [row]))


def _row(item: dict[str, Any]) -> list[object]:
    money = item.get("currency")
    cents = [item.get(f"{part}_cents") for part in ("limit", "held", "spent")]
    shots = [item.get(f"{part}_shots") for part in ("limit", "held", "spent")]
    return [
        item.get("experiment_id"),
        *(show_cents(value, money) for value in cents),
        show_cents(_left(cents), money),
        *shots,
        _left(shots),
    ]


def _left(parts: list[Any]) -> int | None:
    if not all(type(part) is int for part in parts):
        return None
    limit, held, spent = (int(part) for part in parts)
    return max(0, limit - held - spent)


for _name, _body in (("list", list_), ("show", show_), ("set", set_)):
    command(group, _name, As.OPERATOR)(_body)
