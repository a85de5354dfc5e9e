"""``cryogate budget limits|limit|unlimit``: limits of agents, owners, cost centers and spans."""

from __future__ import annotations

from typing import Any

import click

from cryogate.cli.amounts import CENTS, show_cents
from cryogate.cli.budget_scopes import WHOSE, scope_of
from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, say, table
from cryogate.cli.records import BASE

_COLUMNS = ("scope", "subject", "per", "limit", "shots", "period", "held", "spent", "shots used")


def limits_(settings: Settings) -> None:
    """List every limit in force, with what its present periods have used."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        page = server.call("GET", *BASE, "budget-limits")
    items = [item for item in page.get("items", ()) if isinstance(item, dict)]
    emit(settings, page, lambda: _show(items))


@click.argument("whose", type=WHOSE)
@click.option("--per", type=click.Choice(["day", "month", "total"]), required=True)
@click.option("--limit", type=CENTS, help="Most money in that time: 12.50, or 1250c.")
@click.option("--currency", default="USD", show_default=True)
@click.option("--shots", type=click.IntRange(0), help="Most shots in that time.")
@click.option("--soft", type=click.IntRange(0, 100), default=0, help="Tell at so many percent.")
def limit_(
    settings: Settings,
    whose: str,
    per: str,
    limit: int | None,
    currency: str,
    shots: int | None,
    soft: int,
) -> None:
    """Set a limit of WHOSE: agent:NAME, owner:…, cost_center:…, token:…, session:…, experiment:…

    The subject * is every one of them, each by itself. What is not given is not limited.
    """
    from cryogate.cli.connect import operator

    if limit is None and shots is None:
        raise click.UsageError("say what to limit: --limit or --shots")
    scope, subject = scope_of(whose)
    body = {
        "scope": scope,
        "subject": subject,
        "span": per,
        "currency": currency,
        "limit_cents": limit,
        "limit_shots": shots,
        "soft_percent": soft,
    }
    with operator(settings) as server:
        found = server.call("PUT", *BASE, "budget-limits", body=body)
    emit(settings, found, lambda: _show([found]))


@click.argument("whose", type=WHOSE)
@click.option("--per", type=click.Choice(["day", "month", "total"]), required=True)
@click.option("--reason", required=True, help="Why it is lifted.")
def unlimit_(settings: Settings, whose: str, per: str, reason: str) -> None:
    """Lift a limit. What it has counted, and its history, stay."""
    from cryogate.cli.connect import operator

    scope, subject = scope_of(whose)
    body = {"scope": scope, "subject": subject, "span": per, "reason": reason}
    with operator(settings) as server:
        server.raw("POST", *BASE, "budget-limits", "remove", body=body)
    emit(settings, body, lambda: say(f"lifted the limit of {scope} {subject} per {per}"))


def _show(items: list[dict[str, Any]]) -> None:
    rows = []
    for item in items:
        money = item.get("currency")
        cents, shots = item.get("limit_cents"), item.get("limit_shots")
        head = [
            item.get("scope"),
            item.get("subject"),
            item.get("span"),
            show_cents(cents, money),
            shots,
        ]
        windows = [w for w in item.get("windows", ()) if isinstance(w, dict)]
        if not windows:
            rows.append([*head, None, None, None, None])
        for w in windows:
            used = w.get("held_shots", 0) + w.get("spent_shots", 0)
            held, spent = show_cents(w.get("held_cents"), money), w.get("spent_cents")
            subject = head[1] if head[1] != "*" else f"* {w.get('subject')}"
            period = w.get("period")
            rows.append([head[0], subject, *head[2:], period, held, show_cents(spent, money), used])
    table(_COLUMNS, rows, none="no limits beside the experiments' totals")


def add_to(group: click.Group) -> None:
    """Add the commands to ``cryogate budget``."""
    command(group, "limits", As.OPERATOR)(limits_)
    command(group, "limit", As.OPERATOR)(limit_)
    command(group, "unlimit", As.OPERATOR)(unlimit_)
