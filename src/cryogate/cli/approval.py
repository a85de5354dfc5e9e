"""``cryogate approval``: decisions that only a person may take."""

from __future__ import annotations

from typing import Any

import click

from cryogate.cli.amounts import show_cents
from cryogate.cli.approval_asking import register
from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, fields, note, say, table
from cryogate.cli.records import BASE, paged

_STATES = ("pending", "approved", "denied", "expired", "used", "withdrawn")


@click.group()
def group() -> None:
    """Approvals: what waits for a person."""


@click.option("--state", type=click.Choice([*_STATES, "all"]), default="pending", show_default=True)
@paged
def list_(settings: Settings, state: str, after: str | None, limit: int | None) -> None:
    """List approvals, pending ones unless asked otherwise."""
    from cryogate.cli.connect import operator

    query = {"state": None if state == "all" else state, "after": after, "limit": limit}
    with operator(settings) as server:
        page = server.call("GET", *BASE, "approvals", query=query)
    items = [item for item in page.get("items", ()) if isinstance(item, dict)]

    def human() -> None:
        columns = ("approval", "state", "agent", "experiment", "backend", "shots", "up to", "until")
        rows = []
        for item in items:
            terms = _terms(item)
            cost = show_cents(terms.get("cost_ceiling_cents"), terms.get("currency"))
            rows.append(
                (
                    item.get("approval_id"),
                    item.get("state"),
                    terms.get("agent_id"),
                    terms.get("experiment_id"),
                    terms.get("backend"),
                    terms.get("shots"),
                    cost,
                    item.get("expires_at"),
                )
            )
        table(columns, rows, none="nothing waits for a decision")
        if page.get("next"):
            note(f"there are more; continue with --after {page['next']}")

    emit(settings, page, human)


@click.argument("approval_id")
def show_(settings: Settings, approval_id: str) -> None:
    """Show exactly what would be approved."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        found = server.call("GET", *BASE, "approvals", approval_id)
    emit(settings, found, lambda: _human(found))


@click.argument("approval_id")
@click.option("--note", "why", default="", help="Why; kept in the audit log.")
def approve(settings: Settings, approval_id: str, why: str) -> None:
    """Say yes to exactly these terms, once."""
    _decide(settings, approval_id, "approve", why)


@click.argument("approval_id")
@click.option("--note", "why", default="", help="Why; kept in the audit log.")
def deny(settings: Settings, approval_id: str, why: str) -> None:
    """Deny; the job ends."""
    _decide(settings, approval_id, "deny", why)


@click.argument("approval_id")
def take_back(settings: Settings, approval_id: str) -> None:
    """Take your yes back, as long as others still have to agree."""
    _decide(settings, approval_id, "take-back")


@click.argument("approval_id")
def withdraw(settings: Settings, approval_id: str) -> None:
    """Withdraw an approval that was given and not used yet."""
    _decide(settings, approval_id, "withdraw")


_DONE = {
    "approve": "approved",
    "deny": "denied",
    "take-back": "took your yes back from",
    "withdraw": "withdrew",
}


def _decide(settings: Settings, approval_id: str, verb: str, why: str | None = None) -> None:
    from cryogate.cli.connect import operator

    body = None if why is None else {"note": why}
    with operator(settings) as server:
        found = server.call("POST", *BASE, "approvals", approval_id, verb, body=body)

    def human() -> None:
        say(f"{_DONE[verb]} {approval_id}")
        _human(found)

    emit(settings, found, human)


def _terms(item: dict[str, Any]) -> dict[str, Any]:
    """The terms, whether they stand in an object of their own or beside the rest."""
    terms = item.get("terms")
    return {**item, **terms} if isinstance(terms, dict) else item


def _human(item: dict[str, Any]) -> None:
    terms = _terms(item)
    fields(
        [
            ("approval", item.get("approval_id")),
            ("kind", item.get("kind")),
            ("state", item.get("state")),
            ("needs", _needs(item)),
            ("said yes", _voters(item)),
            ("told", _told(item)),
            ("agent", terms.get("agent_id")),
            ("experiment", terms.get("experiment_id")),
            ("backend", terms.get("backend")),
            ("shots", terms.get("shots")),
            ("cost at most", show_cents(terms.get("cost_ceiling_cents"), terms.get("currency"))),
            ("circuit", terms.get("circuit_sha256")),
            ("job", item.get("job_id") or terms.get("job_id")),
            ("stage", _stages(terms)),
            ("asked by", item.get("requested_by")),
            ("reason", item.get("reason")),
            ("requested", item.get("requested_at")),
            ("open until", item.get("expires_at")),
            ("decided by", item.get("decided_by")),
            ("note", item.get("decision_note") or item.get("note")),
        ]
    )


def _needs(item: dict[str, Any]) -> str | None:
    quorum = item.get("quorum")
    return None if quorum is None else f"{quorum} of role {item.get('approver_role')}"


def _voters(item: dict[str, Any]) -> str | None:
    votes = [vote for vote in item.get("votes") or () if isinstance(vote, dict)]
    names = [
        f"{vote.get('operator')}{'' if vote.get('counts') else ' (does not count any more)'}"
        for vote in votes
    ]
    return ", ".join(names) or None


def _told(item: dict[str, Any]) -> str | None:
    told = [message for message in item.get("told") or () if isinstance(message, dict)]
    return ", ".join(f"{m.get('channel')}: {m.get('kind')} {m.get('state')}" for m in told) or None


def _stages(terms: dict[str, Any]) -> str | None:
    if "to_stage" not in terms:
        return None
    return f"{terms.get('from_stage')} to {terms['to_stage']}"


for _name, _body in (
    ("list", list_),
    ("show", show_),
    ("approve", approve),
    ("deny", deny),
    ("take-back", take_back),
    ("withdraw", withdraw),
):
    command(group, _name, As.OPERATOR)(_body)
register(group)
