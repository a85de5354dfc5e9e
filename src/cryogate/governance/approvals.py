"""Approvals: parked jobs and the humans who decide about them.

Why approving A can never let B run:

 (1) An approval carries its terms and their digest; using one compares the digest in the
     statement that spends it (H1), and that statement needs state ``approved``, so there is no
     second use (H2).
 (2) An approval that is bound to a parked job goes from ``pending`` to ``used`` at the moment of
     the decision: there is nothing left to replay. The job's own row is compared with the terms
     again in the UPDATE that queues it, not in what was read before.
 (3) The decision needs ``pending`` and an unexpired row in its WHERE, so of two operators one
     decides, and none decides late.
 (4) A parked job keeps what it reserved. Approving therefore never overspends; denying and
     expiry give everything back in the same unit of work.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from cryogate.domain.approvals import ApprovalState, Terms
from cryogate.domain.decisions import Violation
from cryogate.domain.events import Event, Outcome
from cryogate.domain.ids import APPROVAL, new_id
from cryogate.governance.rows import maybe_number, maybe_text, number, text
from cryogate.ports.approvals import Approval, Approvals
from cryogate.ports.store import ReadStore, Row, SqlValue, Statement, StoreUnavailable

DAY_MS = 24 * 60 * 60 * 1000
AGENT, CAP, PENDING, TERMS, JOB = (
    "approval.agent",
    "approval.cap",
    "approval.pending",
    "approval.terms",
    "approval.job",
)
_MAX_REASON = 1000
_TERMS = msgspec.json.Decoder(Terms)


@dataclass(frozen=True, slots=True)
class ApprovalRecord:
    """An approval as operators see it: with the agent's owner and the decision's note."""

    approval: Approval
    owner: str
    note: str | None


def record(row: Row) -> ApprovalRecord:
    """An approval out of its columns.

    Raises:
        StoreUnavailable: terms and digest do not belong together, so the row was altered.
    """
    try:
        terms = _TERMS.decode(text(row, "terms"))
    except msgspec.MsgspecError as error:
        raise StoreUnavailable("stored terms cannot be read") from error
    if terms.digest() != row["terms_digest"]:
        raise StoreUnavailable("stored terms do not match their digest")
    approval = Approval(
        approval_id=text(row, "approval_id"),
        state=ApprovalState(text(row, "state")),
        terms=terms,
        job_id=maybe_text(row, "job_id"),
        reason=text(row, "reason"),
        requested_ms=number(row, "requested_ms"),
        expires_ms=number(row, "expires_ms"),
        decided_by=maybe_text(row, "decided_by"),
        decided_ms=maybe_number(row, "decided_ms"),
    )
    return ApprovalRecord(approval, text(row, "owner"), maybe_text(row, "decision_note"))


def approval_columns(
    approval_id: str, terms: Terms, owner: str, reason: str, now_ms: int, ttl_ms: int
) -> dict[str, SqlValue]:
    """Columns that every new approval has."""
    return {
        "approval_id": approval_id,
        "terms": msgspec.json.encode(terms).decode(),
        "terms_digest": terms.digest(),
        "agent_id": terms.agent_id,
        "owner": owner,
        "experiment_id": terms.experiment_id,
        "reason": reason[:_MAX_REASON],
        "requested_ms": now_ms,
        "expires_ms": now_ms + ttl_ms,
    }


def approval_event(
    action: str, approval: Approval, owner: str, now_ms: int, *, actor: str | None = None
) -> Event:
    """An audit event about an approval, with its terms and, once decided, who decided."""
    terms = approval.terms
    outcome = Outcome.REFUSED if action == "approval.denied" else Outcome.SUCCESS
    return Event(
        timestamp_ms=now_ms,
        action=action,
        outcome=outcome,
        agent_id=terms.agent_id,
        human_owner=owner,
        experiment_id=terms.experiment_id,
        circuit_sha256=terms.circuit_sha256,
        qpu=terms.backend,
        shots=terms.shots,
        job_id=approval.job_id,
        cost_estimate_cents=terms.cost_ceiling_cents,
        currency=terms.currency,
        approval_id=approval.approval_id,
        decision_reasons=(approval.reason,) if approval.reason else None,
        actor_chain=(actor,) if actor else None,
    )


class SqlApprovals(Approvals):
    """Approvals as the gateway opens, finds and uses them.

    ``ttl_ms`` is how long a request waits for its human; ``max_pending`` how many requests of
    one agent may wait at a time (H5).
    """

    def __init__(self, store: ReadStore, *, ttl_ms: int = DAY_MS, max_pending: int = 20) -> None:
        if ttl_ms <= 0 or max_pending < 0:
            raise ValueError("approvals need a life time, and a cap of 0 or more")
        self._store = store
        self._ttl_ms = ttl_ms
        self._max_pending = max_pending

    async def find_approved(self, terms: Terms, now_ms: int) -> Approval | None:
        """An approved, unused, unexpired approval of exactly these terms.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        params: dict[str, SqlValue] = {"terms_digest": terms.digest(), "now_ms": now_ms}
        row = await self._store.fetch_one("find_approved", params)
        return None if row is None else record(row).approval

    def open(
        self, terms: Terms, job_id: str, owner: str, reason: str, now_ms: int
    ) -> tuple[str, tuple[Statement, ...], tuple[Event, ...]]:
        """A new pending approval. Guards: `AGENT` (gone or inactive), `CAP` (too many wait)."""
        approval_id = new_id(APPROVAL)
        columns = approval_columns(approval_id, terms, owner, reason, now_ms, self._ttl_ms)
        statements = (
            # The lock on the agent's row makes the count below exact under concurrency (H5).
            Statement("lock_approving_agent", {"agent_id": terms.agent_id}, guard=AGENT),
            Statement(
                "open_approval",
                {**columns, "job_id": job_id, "cap": self._max_pending},
                guard=CAP,
            ),
        )
        pending = Approval(
            approval_id=approval_id,
            state=ApprovalState.PENDING,
            terms=terms,
            job_id=job_id,
            reason=reason[:_MAX_REASON],
            requested_ms=now_ms,
            expires_ms=now_ms + self._ttl_ms,
            decided_by=None,
            decided_ms=None,
        )
        return (
            approval_id,
            statements,
            (approval_event("approval.requested", pending, owner, now_ms),),
        )

    def use(self, approval_id: str, terms: Terms, now_ms: int) -> tuple[Statement, ...]:
        """Spend the approval once, for these terms only (H1, H2). Guard: `TERMS`."""
        params: dict[str, SqlValue] = {
            "approval_id": approval_id,
            "terms_digest": terms.digest(),
            "now_ms": now_ms,
        }
        return (Statement("use_approval", params, guard=TERMS),)

    def explain(self, guard: str) -> tuple[Violation, ...]:
        """What a failed guard of `open` or `use` means; empty if not one of ours."""
        if guard == CAP:
            cap = self._max_pending
            hint = "wait for a decision, or cancel a parked job"
            return (Violation("max_pending_approvals", cap, cap + 1, hint),)
        if guard == AGENT:
            return (Violation("agent", "active", "inactive", "ask the owner or an operator"),)
        if guard == TERMS:
            hint = "the approval is used, expired or for other terms; submit again to ask anew"
            return (Violation("approval", "approved for these terms", None, hint),)
        return ()
