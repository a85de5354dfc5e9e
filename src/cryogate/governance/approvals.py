"""Approvals: what waits for humans, and how their yes is spent.

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
 (5) A yes counts only while the one who gave it may approve: the statements that accept and that
     use an approval count the votes of operators who are active and have the role now (H3).
"""

from __future__ import annotations

from dataclasses import dataclass

from cryogate.domain.approvals import AnyTerms, ApprovalKind, ApprovalState, Terms
from cryogate.domain.decisions import Violation
from cryogate.domain.events import Event
from cryogate.domain.ids import APPROVAL, new_id
from cryogate.governance.approval_rows import (
    DAY_MS,
    MAX_EVIDENCE,
    MAX_REASON,
    ApprovalRecord,
    approval_columns,
    approval_event,
    record,
)
from cryogate.ports.approvals import ONE, Approval, Approvals, Demand
from cryogate.ports.store import ReadStore, SqlValue, Statement

__all__ = ["DAY_MS", "ApprovalRecord", "ApprovalRules", "Demand", "SqlApprovals", "record"]

AGENT, CAP, RATE, TERMS = "approval.agent", "approval.cap", "approval.rate", "approval.terms"
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class ApprovalRules:
    """How many people of which role must agree to what.

    ``second_person_cents``: a job that may cost as much needs two people; None is never.
    """

    ttl_ms: int = DAY_MS
    prompt_after_ms: int = DAY_MS // 6
    max_pending: int = 20
    max_per_hour: int = 100
    job: Demand = ONE
    second_person_cents: int | None = None
    release: Demand = ONE
    promotion: Demand = ONE

    def __post_init__(self) -> None:
        if self.ttl_ms <= 0 or self.max_pending < 0 or self.prompt_after_ms <= 0:
            raise ValueError("approvals need a life time, and a cap of 0 or more")

    def demand(self, terms: AnyTerms) -> Demand:
        """Who must agree to these terms."""
        if terms.kind_ is ApprovalKind.RELEASE:
            return self.release
        if not isinstance(terms, Terms):
            return self.promotion
        most = self.second_person_cents
        if most is not None and terms.cost_ceiling_cents >= most:
            return Demand(max(2, self.job.quorum), self.job.role)
        return self.job


class SqlApprovals(Approvals):
    """Approvals as the gateway opens, finds and uses them.

    At most ``rules.max_pending`` requests of one agent wait at a time, and at most
    ``rules.max_per_hour`` are made within an hour (H5).
    """

    def __init__(self, store: ReadStore, rules: ApprovalRules | None = None) -> None:
        self._store = store
        self._rules = rules or ApprovalRules()

    async def find_approved(
        self, terms: AnyTerms, now_ms: int, least: Demand = ONE
    ) -> Approval | None:
        """An approved, unused, unexpired approval of exactly these terms, by ``least`` at least.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        params: dict[str, SqlValue] = {
            "terms_digest": terms.digest(),
            "now_ms": now_ms,
            "quorum": least.quorum,
            "role": least.role,
        }
        row = await self._store.fetch_one("find_approved", params)
        return None if row is None else record(row).approval

    async def find_waiting(self, terms: AnyTerms, now_ms: int) -> Approval | None:
        """A request for exactly these terms, without a job of its own, that is not decided.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        params: dict[str, SqlValue] = {"terms_digest": terms.digest(), "now_ms": now_ms}
        row = await self._store.fetch_one("find_waiting_approval", params)
        return None if row is None else record(row).approval

    def open(
        self,
        terms: AnyTerms,
        job_id: str | None,
        owner: str,
        reason: str,
        now_ms: int,
        *,
        evidence: str = "{}",
        requested_by: str | None = None,
        least: Demand = ONE,
    ) -> tuple[str, tuple[Statement, ...], tuple[Event, ...]]:
        """A new pending approval. Guards: `AGENT` (gone or inactive), `CAP` (too many wait),
        `RATE` (too many within an hour, decided or taken back or not: H5).

        ``requested_by`` names the agent that asks by itself; None when policy demands it.
        ``least`` is what policy demands beyond the rules here.
        ``evidence`` is JSON that approvers are shown; that of a promotion is part of its terms.
        """
        if len(evidence) > MAX_EVIDENCE:
            raise ValueError("evidence is too long")
        demand = self._rules.demand(terms).and_(least)
        approval = Approval(
            approval_id=new_id(APPROVAL),
            state=ApprovalState.PENDING,
            terms=terms,
            job_id=job_id,
            reason=reason[:MAX_REASON],
            requested_ms=now_ms,
            expires_ms=now_ms + self._rules.ttl_ms,
            decided_by=None,
            decided_ms=None,
            quorum=demand.quorum,
            role=demand.role,
            requested_by=requested_by,
        )
        columns = approval_columns(approval, owner, evidence, now_ms + self._rules.prompt_after_ms)
        statements = (
            # The lock on the agent's row makes the count below exact under concurrency (H5).
            Statement("lock_approving_agent", {"agent_id": terms.agent_id}, guard=AGENT),
            Statement(
                "approval_rate",
                {
                    "agent_id": terms.agent_id,
                    "after_ms": now_ms - HOUR_MS,
                    "cap": self._rules.max_per_hour,
                },
                guard=RATE,
            ),
            Statement(
                "open_approval",
                {**columns, "job_id": job_id, "cap": self._rules.max_pending},
                guard=CAP,
            ),
        )
        event = approval_event("approval.requested", approval, owner, now_ms, actor=requested_by)
        return approval.approval_id, statements, (event,)

    def use(self, approval_id: str, terms: AnyTerms, now_ms: int) -> tuple[Statement, ...]:
        """Spend the approval once, for these terms only (H1, H2, H3). Guard: `TERMS`."""
        params: dict[str, SqlValue] = {
            "approval_id": approval_id,
            "terms_digest": terms.digest(),
            "now_ms": now_ms,
        }
        return (Statement("use_approval", params, guard=TERMS),)

    def explain(self, guard: str) -> tuple[Violation, ...]:
        """What a failed guard of `open` or `use` means; empty if not one of ours."""
        if guard == CAP:
            cap = self._rules.max_pending
            hint = "wait for a decision, or cancel a parked job or withdraw a request"
            return (Violation("max_pending_approvals", cap, cap + 1, hint),)
        if guard == RATE:
            cap = self._rules.max_per_hour
            hint = "every request costs somebody's attention: ask for less, more seldom"
            return (Violation("approvals_per_hour", cap, cap + 1, hint),)
        if guard == AGENT:
            return (Violation("agent", "active", "inactive", "ask the owner or an operator"),)
        if guard == TERMS:
            hint = "the approval is used, expired or for other terms; submit again to ask anew"
            return (Violation("approval", "approved for these terms", None, hint),)
        return ()
