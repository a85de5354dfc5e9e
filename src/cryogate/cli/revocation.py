"""``cryogate revocation``: what has been revoked, and the switch for everything."""

from __future__ import annotations

import click

from cryogate.cli.options import As, Settings, command
from cryogate.cli.records import listed, revoke


@click.group()
def group() -> None:
    """Revocations in force."""


@click.option("--limit", type=click.IntRange(1, 200), help="Most items to list.")
@click.option("--before", metavar="CURSOR", help="Continue a longer list.")
def list_(settings: Settings, limit: int | None, before: str | None) -> None:
    """List revocations, newest first."""
    listed(
        settings,
        "revocations",
        {"limit": limit, "before": before},
        ("kind", "subject", "reason", "revoked_by", "created_at"),
        none="nothing has been revoked",
        cursor="--before",
    )


_WAIT = click.option("--wait", is_flag=True, help="Return when no replica accepts it any more.")


@click.argument(
    "kind", type=click.Choice(["token", "session", "agent", "experiment", "owner", "key"])
)
@click.argument("subject")
@click.option("--reason", required=True, help="Why; kept in the audit log.")
@_WAIT
def create(settings: Settings, kind: str, subject: str, reason: str, wait: bool) -> None:
    """Revoke a token, session, agent, experiment, key, or everything of one owner."""
    revoke(settings, kind, subject, reason, wait=wait)


@click.option("--reason", required=True, help="Why; kept in the audit log.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_WAIT
def everything(settings: Settings, reason: str, yes: bool, wait: bool) -> None:
    """Revoke everything: the emergency stop. Tokens issued later are new decisions."""
    if not yes:
        click.confirm("End every token and job of every agent now?", abort=True, err=True)
    revoke(settings, "all", "*", reason, wait=wait)


command(group, "list", As.OPERATOR)(list_)
command(group, "create", As.OPERATOR)(create)
command(group, "everything", As.OPERATOR)(everything)
