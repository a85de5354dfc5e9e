"""Money and shots held before an effect: statements to put into the caller's unit of work."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import msgspec

from cryogate.domain.decisions import Violation
from cryogate.domain.money import Money
from cryogate.ports.store import Statement


class Hold(msgspec.Struct, frozen=True):
    """What one job holds: the cost bound and its shots, against experiment and token.

    ``ancestors`` are the tokens that this one was delegated from: a reservation counts against all
    of them, so that work split over sub-agents meets the same cap (A7).
    """

    job_id: str
    experiment_id: str
    token_id: str
    session_id: str | None
    cost: Money
    shots: int
    ancestors: tuple[str, ...] = ()


class Payer(msgspec.Struct, frozen=True):
    """Who a job is charged to beside its experiment, token and session."""

    agent_id: str
    owner: str
    cost_center: str
    backend: str


class BudgetView(msgspec.Struct, frozen=True):
    """A budget's limit, what is held and what is spent; cents and shots.

    ``blocked`` says why nothing may be held (empty: it may), ``epoch`` which book of limits the
    row was last told of.
    """

    currency: str
    limit_cents: int
    held_cents: int
    spent_cents: int
    limit_shots: int
    held_shots: int
    spent_shots: int
    blocked: str = ""
    soft_percent: int = 0
    epoch: int = 0

    @property
    def left_cents(self) -> int:
        """What may still be reserved."""
        return max(0, self.limit_cents - self.held_cents - self.spent_cents)

    @property
    def left_shots(self) -> int:
        """What may still be reserved."""
        return max(0, self.limit_shots - self.held_shots - self.spent_shots)


class Ledger(ABC):
    """Reserve, settle, release. Each guard is checked by the database in the same transaction,
    so concurrent reservations can never exceed a limit together (B1).
    """

    @abstractmethod
    def reserve(self, hold: Hold, payer: Payer, now_ms: int) -> tuple[Statement, ...]:
        """Guarded statements that hold the money, or fail the whole unit of work."""

    @abstractmethod
    def merged(self, reservations: Sequence[Sequence[Statement]]) -> tuple[Statement, ...] | None:
        """One list that does what the lists of several `reserve` calls do; None: it cannot be."""

    @abstractmethod
    async def know(self, epoch: int) -> None:
        """Learn the limits in force, if ``epoch`` (of a budget's row) is not what is known."""

    @abstractmethod
    async def outdated(self, guard: str, epoch: int) -> bool:
        """After a failed guard: whether limits were set since ``epoch``. They are known then."""

    @property
    @abstractmethod
    def epoch(self) -> int:
        """The epoch of the limits that `reserve` works with."""

    @abstractmethod
    async def review(self, hold: Hold, payer: Payer, now_ms: int) -> tuple[Violation, ...]:
        """Every limit of agent, owner, cost center, token, session and span in the way of a job.

        Reads only where such a limit is set; the experiment's own total is not among them.
        """

    @abstractmethod
    def settle(self, hold: Hold, actual_cents: int, now_ms: int) -> tuple[Statement, ...]:
        """Turn the hold into spending of ``actual_cents`` and release the remainder."""

    @abstractmethod
    def release(self, hold: Hold, now_ms: int) -> tuple[Statement, ...]:
        """Give the whole hold back."""

    @abstractmethod
    async def view(self, experiment_id: str) -> BudgetView | None:
        """The experiment's budget as it stands."""

    @abstractmethod
    async def explain(
        self, guard: str, hold: Hold, payer: Payer, now_ms: int
    ) -> tuple[Violation, ...]:
        """What a failed guard of `reserve` means for the caller; empty if not one of ours."""
