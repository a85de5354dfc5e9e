"""What the gateway answers: jobs and estimates as their readers may see them."""

from __future__ import annotations

from typing import cast

import msgspec

from cryogate.domain.decisions import Scalar
from cryogate.domain.jobs import JobState
from cryogate.gateway.standing import number, text
from cryogate.gateway.vendor_check import VendorCheck
from cryogate.ports.audit import rfc3339
from cryogate.ports.store import Row

_NEXT: dict[str, str] = {
    JobState.PARKED: "A person must approve this job; poll it until its state changes.",
    JobState.QUEUED: "Waiting for the backend; poll this job.",
    JobState.DISPATCHING: "Being handed to the backend; poll this job.",
    JobState.RUNNING: "Running; poll this job.",
    JobState.DONE: "Fetch the result.",
    JobState.FAILED: "Nothing more will happen; see failure.",
    JobState.CANCELLED: "Nothing more will happen.",
    JobState.EXPIRED: "The approval came too late; submit again.",
    JobState.REVOKED: "The right to run this was withdrawn; ask an operator.",
}


class ApprovalView(msgspec.Struct, frozen=True):
    """The human decision that a job waits for or was given."""

    approval_id: str
    state: str
    expires_at: str


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """A job. ``next`` tells an agent in one sentence what to do."""

    job_id: str
    state: str
    backend: str
    shots: int
    agent_id: str
    experiment_id: str
    session_id: str | None
    circuit_sha256: str
    results: str
    cost_estimate_cents: int
    cost_actual_cents: int | None
    currency: str
    approval: ApprovalView | None
    metadata: msgspec.Raw
    runtime_ms: int | None
    failure: str | None
    waiting_for: str | None = None
    created_at: str
    updated_at: str
    next: str


def job_view(row: Row) -> JobView:
    """A row of ``job_view`` and its list queries."""
    approval = None
    if row["approval_state"] is not None:
        approval = ApprovalView(
            text(row, "approval_id"),
            text(row, "approval_state"),
            rfc3339(number(row, "approval_expires_ms")),
        )
    state = text(row, "state")
    return JobView(
        job_id=text(row, "job_id"),
        state=state,
        backend=text(row, "backend"),
        shots=number(row, "shots"),
        agent_id=text(row, "agent_id"),
        experiment_id=text(row, "experiment_id"),
        session_id=cast("str | None", row["session_id"]),
        circuit_sha256=text(row, "circuit_sha256"),
        results=text(row, "results"),
        cost_estimate_cents=number(row, "cost_bound_cents"),
        cost_actual_cents=cast("int | None", row["cost_actual_cents"]),
        currency=text(row, "currency"),
        approval=approval,
        metadata=msgspec.Raw(text(row, "metadata").encode()),
        runtime_ms=cast("int | None", row["runtime_ms"]),
        failure=cast("str | None", row["failure"]),
        created_at=rfc3339(number(row, "created_ms")),
        updated_at=rfc3339(number(row, "updated_ms")),
        next=_NEXT[state],
    )


class ViolationView(msgspec.Struct, frozen=True):
    """One limit that was not kept."""

    limit: str
    allowed: Scalar | tuple[Scalar, ...]
    actual: Scalar | tuple[Scalar, ...]
    hint: str


class FactsView(msgspec.Struct, frozen=True, kw_only=True):
    """What the gateway found in a circuit."""

    qubits: int
    used_qubits: int
    clbits: int
    gates: int
    gate_counts: dict[str, int]
    one_qubit_gates: int
    two_qubit_gates: int
    multi_qubit_gates: int
    measurements: int
    resets: int
    depth: int
    two_qubit_depth: int
    features: tuple[str, ...]


class EstimateView(msgspec.Struct, frozen=True, kw_only=True):
    """What a job would cost and whether it would be let through. Nothing was spent."""

    backend: str
    shots: int
    circuit_sha256: str
    facts: FactsView
    cost_bound_cents: int | None
    currency: str | None
    formula: str | None
    price_source: str | None
    price_as_of: str | None
    price_age_days: int | None
    price_stale: bool | None
    price_cents: int | None
    price_currency: str | None
    conversion: str | None
    decision: str
    reasons: tuple[str, ...]
    violations: tuple[ViolationView, ...]
    vendor: VendorCheck | None = None


class JobPage(msgspec.Struct, frozen=True):
    """A page of jobs, newest first; ``next`` is the cursor of the page after it."""

    items: tuple[JobView, ...]
    next: str | None
