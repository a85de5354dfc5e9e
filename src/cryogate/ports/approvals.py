"""Human decisions, as the gateway needs them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from cryogate.domain.approvals import AnyTerms, ApprovalKind, ApprovalState
from cryogate.domain.decisions import Violation
from cryogate.domain.events import Event
from cryogate.ports.store import Statement


@dataclass(frozen=True, slots=True)
class Demand:
    """Who must say yes: how many people, each with this operator role."""

    quorum: int = 1
    role: str = "approver"

    def and_(self, other: Demand) -> Demand:
        """What satisfies both: the larger number, and ``admin``, who is an approver too."""
        role = "admin" if "admin" in (self.role, other.role) else self.role
        return Demand(max(self.quorum, other.quorum), role)


ONE = Demand()


@dataclass(frozen=True, slots=True)
class Approval:
    """A request for a human decision, and the decision once there is one.

    ``requested_by`` is the agent or operator who asked; None when policy demanded it.
    """

    approval_id: str
    state: ApprovalState
    terms: AnyTerms
    job_id: str | None
    reason: str
    requested_ms: int
    expires_ms: int
    decided_by: str | None
    decided_ms: int | None
    quorum: int = 1
    role: str = "approver"
    requested_by: str | None = None

    @property
    def kind(self) -> ApprovalKind:
        """What a yes lets happen."""
        return self.terms.kind_


class Approvals(ABC):
    """Open, find and use approvals inside the caller's unit of work."""

    @abstractmethod
    async def find_waiting(self, terms: AnyTerms, now_ms: int) -> Approval | None:
        """A request for exactly these terms, without a job of its own, that is not decided."""

    @abstractmethod
    async def find_approved(
        self, terms: AnyTerms, now_ms: int, least: Demand = ONE
    ) -> Approval | None:
        """An approved, unused, unexpired approval of exactly these terms, by ``least`` at least."""

    @abstractmethod
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
        """A new pending approval: its id, and what must commit (with the parked job, if any)."""

    @abstractmethod
    def use(self, approval_id: str, terms: AnyTerms, now_ms: int) -> tuple[Statement, ...]:
        """Guarded statement that spends the approval once, for these terms only (H1, H2)."""

    @abstractmethod
    def explain(self, guard: str) -> tuple[Violation, ...]:
        """What a failed guard of `open` or `use` means; empty if not one of ours."""
