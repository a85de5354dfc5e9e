"""``cryogate session``: bounded sessions at the gateway."""

from __future__ import annotations

import click
import msgspec

from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, fields, say
from cryogate.cli.records import listed, revoke


@click.group()
def group() -> None:
    """Sessions at the gateway."""


@click.option("--backend", "backends", multiple=True, help="Only these; default: the token's.")
@click.option("--ttl", "ttl_s", type=click.IntRange(1, 3600), help="Seconds.")
@click.option("--max-jobs", type=click.IntRange(1))
@click.option(
    "--results",
    type=click.Choice(("none", "aggregates", "raw")),
    help="Most that its jobs give; raw only when said here.",
)
def open_(
    settings: Settings,
    backends: tuple[str, ...],
    ttl_s: int | None,
    max_jobs: int | None,
    results: str | None,
) -> None:
    """Open a session. It ends with its token at the latest, which is minutes."""
    from cryogate.cli import session_tokens
    from cryogate.cli.connect import agent

    with agent(settings) as client:
        made = client.open_session(
            backends or None, ttl_s=ttl_s, max_jobs=max_jobs, results=results
        )
        session_tokens.keep(client, made.session_id)
    _show(settings, msgspec.to_builtins(made))


@click.argument("session_id")
def show_(settings: Settings, session_id: str) -> None:
    """Show one session."""
    from cryogate.cli.connect import agent

    with agent(settings) as client:
        found = client.session(session_id)
    _show(settings, msgspec.to_builtins(found))


@click.argument("session_id")
def close(settings: Settings, session_id: str) -> None:
    """Close a session; jobs that it accepted go on."""
    from cryogate.cli import session_tokens
    from cryogate.cli.connect import agent

    with agent(settings) as client:
        session_tokens.adopt(client, session_id)
        client.close_session(session_id)
    session_tokens.forget(session_id)
    document = {"session_id": session_id, "state": "closed"}
    emit(settings, document, lambda: say(f"closed {session_id}"))


@click.option("--limit", type=click.IntRange(1, 200), help="Most items to list.")
@click.option("--before", metavar="CURSOR", help="Continue a longer list.")
def list_(settings: Settings, limit: int | None, before: str | None) -> None:
    """List sessions of all agents."""
    listed(
        settings,
        "sessions",
        {"limit": limit, "before": before},
        ("session_id", "agent_id", "experiment_id", "state", "used_jobs", "max_jobs", "expires_at"),
        none="no sessions",
        cursor="--before",
    )


@click.argument("session_id")
@click.option("--reason", required=True, help="Why; kept in the audit log.")
def revoke_(settings: Settings, session_id: str, reason: str) -> None:
    """End one session and its jobs now."""
    revoke(settings, "session", session_id, reason)


def _show(settings: Settings, found: dict[str, object]) -> None:
    emit(settings, found, lambda: fields(list(found.items())))


command(group, "open", As.AGENT)(open_)
command(group, "show", As.AGENT)(show_)
command(group, "close", As.AGENT)(close)
command(group, "list", As.OPERATOR)(list_)
command(group, "revoke", As.OPERATOR)(revoke_)
