"""What a decision does to the job or agent it is about: statements for the same unit of work."""

from __future__ import annotations

from cryogate.domain.approvals import ApprovalState, PromotionTerms, Terms
from cryogate.domain.jobs import JobState
from cryogate.domain.money import Money
from cryogate.governance.rows import maybe_text, number, text
from cryogate.ports.approvals import Approval
from cryogate.ports.budgets import Hold, Ledger
from cryogate.ports.store import ReadStore, Row, Statement

JOB, STAGE = "approval.job", "approval.stage"


def after_yes(approval: Approval, now_ms: int) -> tuple[ApprovalState, tuple[Statement, ...]]:
    """The state after enough people agreed, and what happens at once.

    A parked job is queued and a promotion made here, so such a yes is used in this very moment.
    What the agent has still to do itself (submit, read) waits, ``approved``. Guards: `JOB`,
    `STAGE`.
    """
    terms = approval.terms
    if isinstance(terms, PromotionTerms):
        promote = Statement(
            "promote_approved_agent",
            {
                "agent_id": terms.agent_id,
                "from_stage": terms.from_stage,
                "to_stage": terms.to_stage,
            },
            guard=STAGE,
        )
        return ApprovalState.USED, (promote,)
    if isinstance(terms, Terms) and approval.job_id is not None:
        return ApprovalState.USED, (_unpark(approval.approval_id, terms, approval.job_id, now_ms),)
    return ApprovalState.APPROVED, ()


def _unpark(approval_id: str, terms: Terms, job_id: str, now_ms: int) -> Statement:
    return Statement(
        "unpark_approved_job",
        {
            "job_id": job_id,
            "approval_id": approval_id,
            "agent_id": terms.agent_id,
            "experiment_id": terms.experiment_id,
            "circuit_sha256": terms.circuit_sha256,
            "backend": terms.backend,
            "shots": terms.shots,
            "currency": terms.currency,
            "cost_ceiling_cents": terms.cost_ceiling_cents,
            "now_ms": now_ms,
        },
        guard=JOB,
    )


async def after_no(
    store: ReadStore, ledger: Ledger, approval: Approval, failure: str, now_ms: int
) -> tuple[Statement, ...]:
    """End the parked job and give its hold back; nothing if it is not parked any more."""
    if approval.job_id is None:
        return ()
    row = await store.fetch_one("parked_job", {"job_id": approval.job_id})
    if row is None or row["state"] != JobState.PARKED:
        return ()
    end = Statement(
        "end_parked_job",
        {
            "job_id": approval.job_id,
            "approval_id": approval.approval_id,
            "state": JobState.CANCELLED.value,
            "failure": failure,
            "now_ms": now_ms,
        },
        guard=JOB,
    )
    return end, *ledger.release(_hold(row), now_ms)


async def still_parked(store: ReadStore, job_id: str) -> bool:
    """Whether the job waits for its approval."""
    row = await store.fetch_one("parked_job", {"job_id": job_id})
    return row is not None and row["state"] == JobState.PARKED


def _hold(row: Row) -> Hold:
    return Hold(
        job_id=text(row, "job_id"),
        experiment_id=text(row, "experiment_id"),
        token_id=text(row, "token_id"),
        session_id=maybe_text(row, "session_id"),
        cost=Money(number(row, "cost_bound_cents"), text(row, "currency")),
        shots=number(row, "shots"),
    )
