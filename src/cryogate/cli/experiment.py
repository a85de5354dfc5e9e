"""``cryogate experiment``: what work is for, and the bounds everybody in it shares."""

from __future__ import annotations

from typing import Any

import click

from cryogate.cli.amounts import CENTS, show_cents
from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, fields
from cryogate.cli.records import BASE, listed, paged, revoke
from cryogate.cli.times import TIME

RELEASES = click.Choice(["none", "aggregates", "raw"])
_MIN_COUNT = "Aggregates leave out outcomes seen less often."
_WEBHOOK = "Told of its jobs' ends: an address within what the operators list."
_TOP_K = "Aggregates show only so many outcomes, the most frequent; 0: all."


@click.group()
def group() -> None:
    """Experiments: what work is for."""


@click.argument("name")
@click.option("--purpose", required=True, help="One sentence: what this is for.")
@click.option("--owner", required=True, help="The human who answers for it.")
@click.option("--cost-center", default="unassigned", show_default=True)
@click.option(
    "--classification",
    type=click.Choice(["poc", "production", "sensitive"]),
    default="poc",
    show_default=True,
)
@click.option("--agent", "agents", multiple=True, required=True, help="Who may work in it.")
@click.option("--backend", "backends", multiple=True, default=("local:aer",), show_default=True)
@click.option("--release", type=RELEASES, default="aggregates", show_default=True)
@click.option("--min-count", type=click.IntRange(1), default=1, show_default=True, help=_MIN_COUNT)
@click.option("--top-k", type=click.IntRange(0), default=0, show_default=True, help=_TOP_K)
@click.option("--webhook", default="", help=_WEBHOOK)
@click.option("--budget", type=CENTS, required=True, help="12.50, or 1250c.")
@click.option("--budget-shots", type=click.IntRange(0), required=True)
@click.option("--currency", default="USD", show_default=True)
@click.option("--opens", type=TIME, help="Default: now.")
@click.option("--closes", type=TIME, default="+30d", show_default=True)
def create(
    settings: Settings,
    name: str,
    purpose: str,
    owner: str,
    cost_center: str,
    classification: str,
    agents: tuple[str, ...],
    backends: tuple[str, ...],
    release: str,
    min_count: int,
    top_k: int,
    webhook: str,
    budget: int,
    budget_shots: int,
    currency: str,
    opens: str | None,
    closes: str,
) -> None:
    """Open an experiment with its budget."""
    from cryogate.cli.connect import operator

    body: dict[str, Any] = {
        "experiment_id": name,
        "purpose": purpose,
        "classification": classification,
        "owner": owner,
        "cost_center": cost_center,
        "closes_at": closes,
        "allowed_agents": sorted(set(agents)),
        "allowed_backends": sorted(set(backends)),
        "release": release,
        "min_count": min_count,
        "top_k": top_k,
        "webhook": webhook,
        "budget_cents": budget,
        "currency": currency,
        "budget_shots": budget_shots,
    }
    if opens is not None:
        body["opens_at"] = opens
    with operator(settings) as server:
        made = server.call("POST", *BASE, "experiments", body=body)
    emit(settings, made, lambda: _human(made))


@paged
def list_(settings: Settings, after: str | None, limit: int | None) -> None:
    """List experiments."""
    listed(
        settings,
        "experiments",
        {"after": after, "limit": limit},
        ("experiment_id", "classification", "owner", "closed", "closes_at", "release"),
        none="no experiments yet: cryogate experiment create NAME --purpose … --owner … --agent …",
    )


@click.argument("name")
def show_(settings: Settings, name: str) -> None:
    """Show one experiment."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        found = server.call("GET", *BASE, "experiments", name)
    emit(settings, found, lambda: _human(found))


@click.argument("name")
def close(settings: Settings, name: str) -> None:
    """Close an experiment: nothing new is accepted. Jobs already accepted go on."""
    _patch(settings, name, {"closed": True})


@click.argument("name")
@click.option("--closes", type=TIME)
@click.option("--reopen", is_flag=True, help="Take back a close by hand.")
@click.option("--agent", "agents", multiple=True, help="The whole new list of agents.")
@click.option("--backend", "backends", multiple=True, help="The whole new list of backends.")
@click.option("--release", type=RELEASES)
@click.option("--min-count", type=click.IntRange(1), help=_MIN_COUNT)
@click.option("--top-k", type=click.IntRange(0), help=_TOP_K)
@click.option("--webhook", help=f"{_WEBHOOK} An empty one ends it.")
def set_(
    settings: Settings,
    name: str,
    closes: str | None,
    reopen: bool,
    agents: tuple[str, ...],
    backends: tuple[str, ...],
    release: str | None,
    min_count: int | None,
    top_k: int | None,
    webhook: str | None,
) -> None:
    """Change window, agents, backends or release."""
    change: dict[str, Any] = {}
    if closes is not None:
        change["closes_at"] = closes
    if reopen:
        change["closed"] = False
    if agents:
        change["allowed_agents"] = sorted(set(agents))
    if backends:
        change["allowed_backends"] = sorted(set(backends))
    if release is not None:
        change["release"] = release
    if min_count is not None:
        change["min_count"] = min_count
    if top_k is not None:
        change["top_k"] = top_k
    if webhook is not None:
        change["webhook"] = webhook
    if not change:
        raise click.UsageError(
            "say what to change: --closes, --reopen, --agent, --backend, --release, --min-count,"
            " --top-k or --webhook"
        )
    _patch(settings, name, change)


@click.argument("name")
@click.option("--reason", required=True, help="Why; kept in the audit log.")
def revoke_(settings: Settings, name: str, reason: str) -> None:
    """End all tokens and jobs of an experiment now."""
    revoke(settings, "experiment", name, reason)


@click.argument("name")
@click.option("--reason", required=True, help="Why; kept, sealed, in the audit log.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def shred(settings: Settings, name: str, reason: str, yes: bool) -> None:
    """Make all that is sealed for a closed experiment unreadable for ever.

    Deletes its key, and with it what the log only commits to: circuits, owners, purposes, notes.
    The programs and results that the gateway keeps go too. The log verifies as before. See
    docs/privacy.md for what this does not reach.
    """
    from cryogate.cli.connect import operator

    if not yes:
        click.confirm(f"Shred {name}? There is no way back.", abort=True, err=True)
    with operator(settings) as server:
        found = server.call("POST", *BASE, "experiments", name, "shred", body={"reason": reason})
    emit(settings, found, lambda: fields(list(found.items())))


def _patch(settings: Settings, name: str, change: dict[str, Any]) -> None:
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        found = server.call("PATCH", *BASE, "experiments", name, body=change)
    emit(settings, found, lambda: _human(found))


def _human(found: dict[str, Any]) -> None:
    names = (
        "experiment_id",
        "purpose",
        "classification",
        "owner",
        "cost_center",
        "opens_at",
        "closes_at",
        "closed",
        "allowed_agents",
        "allowed_backends",
        "release",
        "min_count",
        "top_k",
        "webhook",
    )
    rows: list[tuple[str, object]] = [(label, found.get(label)) for label in names]
    budget = found.get("budget")
    if isinstance(budget, dict):
        money = budget.get("currency")
        left, limit = (show_cents(budget.get(f"{part}_cents"), money) for part in ("left", "limit"))
        shots, most = budget.get("left_shots"), budget.get("limit_shots")
        rows += [("budget", f"{left} left of {limit}"), ("shots", f"{shots} left of {most}")]
    fields(rows)


for _name, _body in (
    ("create", create),
    ("list", list_),
    ("show", show_),
    ("close", close),
    ("set", set_),
    ("revoke", revoke_),
    ("shred", shred),
):
    command(group, _name, As.OPERATOR)(_body)
