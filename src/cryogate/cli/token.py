"""``cryogate token``: what a token allows. The token itself is never printed."""

from __future__ import annotations

import click

from cryogate.cli.amounts import show_cents
from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, fields
from cryogate.cli.records import listed, revoke


@click.group()
def group() -> None:
    """Access tokens: show, list, revoke."""


def show_(settings: Settings) -> None:
    """Get a token as an agent and show what it allows."""
    from cryogate.cli.connect import agent
    from cryogate.ports.audit import rfc3339

    with agent(settings) as client:
        token = client.token()
    granted = [dict(item) for item in token.granted]
    document = {
        "agent_id": client.client_id,
        "expires_at": rfc3339(token.expires_ms),
        "expires_in_s": token.life_s,
        "scope": token.scope,
        "granted": granted,
    }

    def human() -> None:
        rows: list[tuple[str, object]] = [
            ("agent", client.client_id),
            ("expires", f"{document['expires_at']}, {token.life_s} s after it was made"),
        ]
        for item in granted:
            rows += [
                ("experiment", item.get("experiment_id")),
                ("backends", item.get("allowed_backends")),
                ("gates", item.get("allowed_gate_set")),
                ("shots per job", item.get("max_shots")),
                ("shots in all", item.get("max_total_shots")),
                ("jobs", item.get("max_jobs")),
                ("cost at most", show_cents(item.get("max_cost_cents"), item.get("currency"))),
                ("results", item.get("results")),
            ]
        fields(rows)

    emit(settings, document, human)


@click.option("--agent", "agent_id", required=True, help="Whose.")
@click.option("--limit", type=click.IntRange(1, 200), help="Most items to list.")
def list_(settings: Settings, agent_id: str, limit: int | None) -> None:
    """List the tokens that an agent was given, newest first."""
    listed(
        settings,
        "tokens",
        {"agent_id": agent_id, "limit": limit},
        (
            "token_id",
            "agent_id",
            "experiment_id",
            "issued_at",
            "expires_at",
            "used_jobs",
            "used_shots",
        ),
        none="no tokens were issued",
    )


@click.argument("token_id")
@click.option("--reason", required=True, help="Why; kept in the audit log.")
def revoke_(settings: Settings, token_id: str, reason: str) -> None:
    """End one token and its jobs now."""
    revoke(settings, "token", token_id, reason)


command(group, "show", As.AGENT)(show_)
command(group, "list", As.OPERATOR)(list_)
command(group, "revoke", As.OPERATOR)(revoke_)
