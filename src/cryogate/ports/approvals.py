"""Human decisions, as the gateway needs them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from cryogate.domain.approvals import ApprovalState, Terms
from cryogate.domain.events import Event
from cryogate.ports.store import Statement


@dataclass(frozen=True, slots=True)
class Approval:
    """A request for a human decision, and the decision once there is one."""

    approval_id: str
    state: ApprovalState
    terms: Terms
    job_id: str | None
    reason: str
    requested_ms: int
    expires_ms: int
    decided_by: str | None
    decided_ms: int | None


class Approvals(ABC):
    """Open, find and use approvals inside the caller's unit of work."""

    @abstractmethod
    async def find_approved(self, terms: Terms, now_ms: int) -> Approval | None:
        """An approved, unused, unexpired approval of exactly these terms."""

    @abstractmethod
    def open(
        self, terms: Terms, job_id: str, owner: str, reason: str, now_ms: int
    ) -> tuple[str, tuple[Statement, ...], tuple[Event, ...]]:
        """A new pending approval: its id, and what must commit with the parked job."""

    @abstractmethod
    def use(self, approval_id: str, terms: Terms, now_ms: int) -> tuple[Statement, ...]:
        """Guarded statement that spends the approval once, for these terms only (H1, H2)."""
