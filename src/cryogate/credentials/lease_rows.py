"""Leases as rows and as audit events. The credential is in neither."""

from __future__ import annotations

from cryogate.domain.events import Event, Outcome
from cryogate.ports.credentials import LeaseRecord, LeaseTerms
from cryogate.ports.store import Row, SqlValue, Statement


def added(lease_id: str, terms: LeaseTerms, holder: str, now_ms: int, ttl_s: int) -> Statement:
    """A lease that is about to be asked for."""
    params: dict[str, SqlValue] = {
        "lease_id": lease_id,
        "scheme": terms.scheme,
        "backend": terms.backend,
        "experiment_id": terms.experiment_id,
        "agent_id": terms.agent_id,
        "session_id": terms.session_id,
        "holder": holder,
        "now_ms": now_ms,
        "expires_ms": now_ms + ttl_s * 1000,
    }
    return Statement("lease_add", params)


def event_of(
    action: str, outcome: Outcome, lease_id: str, terms: LeaseTerms, now_ms: int,
    actor: str | None = None,
) -> Event:  # fmt: skip
    """What happened to a lease."""
    return Event(
        timestamp_ms=now_ms,
        action=action,
        outcome=outcome,
        agent_id=terms.agent_id or None,
        experiment_id=terms.experiment_id or None,
        qpu=terms.backend or None,
        session_id=terms.session_id or None,
        decision_reasons=(f"lease {lease_id}", f"scheme {terms.scheme}"),
        actor_chain=None if actor is None else (actor,),
    )


def record_of(row: Row) -> LeaseRecord:
    """A row of the table of leases."""
    terms = LeaseTerms(
        str(row["scheme"]), str(row["backend"]), str(row["experiment_id"]), str(row["agent_id"]),
        str(row["session_id"]),
    )  # fmt: skip
    return LeaseRecord(
        str(row["lease_id"]),
        terms,
        str(row["state"]),
        int(row["issued_ms"] or 0),
        int(row["expires_ms"] or 0),
        int(row["attempts"] or 0),
    )
