"""``cryogate alert``: what somebody should look at."""

from __future__ import annotations

from pathlib import Path

import click

from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, fields, note, say, table
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


@click.option(
    "--rules",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A directory of Sigma rules. Default: the shipped ones.",
)
@click.option(
    "--level",
    type=click.Choice(["informational", "low", "medium", "high", "critical"]),
    default="low",
    show_default=True,
    help="Only rules of this level and above.",
)
@click.option("--after", type=click.IntRange(0), help="Only events after this seq.")
def scan(settings: Settings, rules: Path | None, level: str, after: int | None) -> None:
    """Run Sigma rules over the audit log (needs the extra `sigma`)."""
    from cryogate.cli.connect import operator
    from cryogate.governance.sigma_scan import RULES, EventTable
    from cryogate.governance.sigma_scan import scan as find

    with EventTable() as events, operator(settings) as server:
        count, place = 0, after
        while True:
            page = server.call("GET", "audit", "events", query={"after": place, "limit": 1000})
            count += events.add([item for item in page["items"] if isinstance(item, dict)])
            place = page.get("next")
            if place is None:
                break
        hits = list(find(events, rules or RULES, level))
    found = [
        {"rule": hit.rule, "title": hit.title, "level": hit.level, "rows": list(hit.rows)}
        for hit in hits
    ]

    def human() -> None:
        rows = [(hit.level, hit.rule, hit.title, len(hit.rows)) for hit in hits]
        table(("level", "rule", "title", "found"), rows, none="no rule has found anything")
        note(f"{count} events looked at")

    emit(settings, {"events": count, "hits": found}, human)


command(group, "list", As.OPERATOR)(list_)
command(group, "show", As.OPERATOR)(show)
command(group, "ack", As.OPERATOR)(ack)
command(group, "close", As.OPERATOR)(close)
command(group, "scan", As.OPERATOR)(scan)
