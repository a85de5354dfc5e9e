"""``cryogate budget``: what may be spent, what is held and spent, and what a month cost."""

from __future__ import annotations

import sys
from typing import Any

import click

from cryogate.cli.amounts import CENTS, show_cents
from cryogate.cli.budget_scopes import WHOSE, scope_of
from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, note, say, table
from cryogate.cli.records import BASE, paged

_COLUMNS = (
    "experiment", "limit", "held", "spent", "left", "shots: limit", "held", "spent", "left",
    "blocked",
)  # fmt: skip


@click.group()
def group() -> None:
    """Budgets in money and shots, of experiments and every other scope."""


@paged
def list_(settings: Settings, after: str | None, limit: int | None) -> None:
    """List the budgets of all experiments."""
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
@click.option("--soft", type=click.IntRange(0, 100), help="Tell when so many percent are used.")
def set_(
    settings: Settings, experiment: str, limit: int | None, shots: int | None, soft: int | None
) -> None:
    """Set an experiment's total. What is not given stays as it is."""
    from cryogate.cli.connect import operator

    if limit is None and shots is None and soft is None:
        raise click.UsageError("say what to set: --limit, --shots or --soft")
    named = {"limit_cents": limit, "limit_shots": shots, "soft_percent": soft}
    body = {name: value for name, value in named.items() if value is not None}
    with operator(settings) as server:
        found = server.call("PUT", *BASE, "budgets", experiment, body=body)
    _emit_one(settings, experiment, found)


@click.argument("whose", type=WHOSE)
@click.option("--reason", required=True, help="What was found out.")
@click.option("--per", type=click.Choice(["day", "month", "total"]), default="total")
def unblock_(settings: Settings, whose: str, reason: str, per: str) -> None:
    """Let WHOSE (agent:NAME, an experiment …) spend again after a bill above its bound."""
    from cryogate.cli.connect import operator

    scope, subject = scope_of(whose)
    with operator(settings) as server:
        if scope == "experiment" and per == "total":
            body = {"reason": reason}
            found = server.call("POST", *BASE, "budgets", subject, "unblock", body=body)
        else:
            body = {"scope": scope, "subject": subject, "span": per, "reason": reason}
            found = server.call("POST", *BASE, "budget-limits", "unblock", body=body)
    emit(settings, found, lambda: say(f"unblocked {scope} {subject}"))


@click.argument("whose", type=WHOSE)
@click.option("--limit", type=click.IntRange(1, 200), help="Most changes to list.")
@click.option("--before", type=int, metavar="CURSOR", help="Continue a longer list.")
def history_(settings: Settings, whose: str, limit: int | None, before: int | None) -> None:
    """Who changed the limits of WHOSE, newest first."""
    from cryogate.cli.connect import operator

    scope, subject = scope_of(whose)
    asked: dict[str, str | int | None] = {"limit": limit, "before": before}
    with operator(settings) as server:
        if scope == "experiment":
            page = server.call("GET", *BASE, "budgets", subject, "history", query=asked)
        else:
            asked |= {"scope": scope, "subject": subject}
            page = server.call("GET", *BASE, "budget-limits", "history", query=asked)
    columns = ("at", "actor", "span", "action", "detail")
    items = [item for item in page.get("items", ()) if isinstance(item, dict)]

    def human() -> None:
        rows = [[item.get(column) for column in columns] for item in items]
        table(columns, rows, none="nobody has changed it")
        if page.get("next"):
            note(f"there are more; continue with --before {page['next']}")

    emit(settings, page, human)


@click.option("--month", required=True, metavar="2026-11", help="Which month.")
@click.option("--format", "kind", type=click.Choice(["table", "csv", "focus"]), default="table")
def report_(settings: Settings, month: str, kind: str) -> None:
    """What a month cost: by day, experiment, agent, owner, cost center and backend."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        if kind != "table" and not settings.as_json:
            reply = server.raw("GET", *BASE, "usage", query={"month": month, "format": kind})
            sys.stdout.write(reply.body.decode())
            return
        found = server.call("GET", *BASE, "usage", query={"month": month})
    items = [item for item in found.get("items", ()) if isinstance(item, dict)]
    columns = ("day", "experiment_id", "agent_id", "owner", "cost_center", "backend", "kind")

    def human() -> None:
        rows = [
            [*(item.get(c) for c in columns), item.get("jobs"), item.get("shots"),
             show_cents(item.get("cents"), item.get("currency"))]
            for item in items
        ]  # fmt: skip
        table((*columns, "jobs", "shots", "cost"), rows, none=f"nothing was spent in {month}")

    emit(settings, found, human)


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
        item.get("blocked"),
    ]


def _left(parts: list[Any]) -> int | None:
    if not all(type(part) is int for part in parts):
        return None
    limit, held, spent = (int(part) for part in parts)
    return max(0, limit - held - spent)


for _name, _body in (
    ("list", list_),
    ("show", show_),
    ("set", set_),
    ("unblock", unblock_),
    ("history", history_),
    ("report", report_),
):
    command(group, _name, As.OPERATOR)(_body)

# The other nouns of a budget are in modules of their own; importing them adds their commands.
from cryogate.cli import budget_books, budget_limits  # noqa: E402

budget_limits.add_to(group)
budget_books.add_to(group)
