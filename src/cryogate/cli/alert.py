"""``cryogate alert``: what somebody should look at."""

from __future__ import annotations

import click

from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, fields, say
from cryogate.cli.records import BASE, listed, paged


@click.group()
def group() -> None:
    """Alerts: what somebody should look at."""


@click.option("--state", type=click.Choice(["open", "acknowledged", "closed"]))
@paged
def list_(settings: Settings, state: str | None, after: str | None, limit: int | None) -> None:
    """List alerts, those not closed unless asked otherwise; latest first."""
    listed(
        settings,
        "alerts",
        {"state": state, "after": after, "limit": limit},
        ("alert_id", "severity", "kind", "subject", "count", "state", "last_at"),
        none="no alerts",
    )


@click.argument("alert_id")
def show(settings: Settings, alert_id: str) -> None:
    """Show one alert with its evidence."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        found = server.call("GET", *BASE, "alerts", alert_id)
    emit(settings, found, lambda: fields([(name, found[name]) for name in found]))


def _handle(settings: Settings, alert_id: str, what: str, note: str) -> None:
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        done = server.call("POST", *BASE, "alerts", alert_id, what, body={"note": note})
    emit(settings, done, lambda: say(f"{done.get('kind')} {done.get('subject')}: {done['state']}"))


_NOTE = click.option("--note", default="", help="What was found or done.")


@click.argument("alert_id")
@_NOTE
def ack(settings: Settings, alert_id: str, note: str) -> None:
    """Say that somebody looks into it; more of the same adds to its count."""
    _handle(settings, alert_id, "ack", note)


@click.argument("alert_id")
@_NOTE
def close(settings: Settings, alert_id: str, note: str) -> None:
    """Say that it is dealt with; the next of the kind is a new alert."""
    _handle(settings, alert_id, "close", note)


command(group, "list", As.OPERATOR)(list_)
command(group, "show", As.OPERATOR)(show)
command(group, "ack", As.OPERATOR)(ack)
command(group, "close", As.OPERATOR)(close)
