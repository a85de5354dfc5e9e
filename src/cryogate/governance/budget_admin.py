"""Limits as operators see and change them. Nothing else in the program writes a limit (B5)."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from cryogate.domain.errors import Conflict, Malformed, NotFound
from cryogate.domain.events import Event, Outcome
from cryogate.governance.budgets import budget_view
from cryogate.governance.paging import Page, cut, decode_cursor, page_size
from cryogate.governance.people import require_operator
from cryogate.governance.rows import text
from cryogate.ports.budgets import BudgetView
from cryogate.ports.clock import Clock
from cryogate.ports.store import GuardFailed, Statement, Store, UnitOfWork

MAX_CENTS = 10**13
MAX_SHOTS = 10**13
_TRIES = 5


class BudgetLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an operator sets: cents and shots; a limit that is left out stays as it is."""

    limit_cents: int | None = None
    limit_shots: int | None = None


@dataclass(frozen=True, slots=True)
class ExperimentBudget:
    """A budget and whose it is."""

    experiment_id: str
    budget: BudgetView


def require_limits(limit_cents: int, limit_shots: int) -> None:
    """Refuse limits below zero or beyond what the ledger counts exactly.

    Raises:
        Malformed: out of range.
    """
    if not 0 <= limit_cents <= MAX_CENTS or not 0 <= limit_shots <= MAX_SHOTS:
        raise Malformed("malformed_limit", f"limits are between 0 and {MAX_CENTS}")


class BudgetAdmin:
    """List, show and set budgets."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def list(self, cursor: str | None = None, limit: int = 50) -> Page[ExperimentBudget]:
        """Budgets by experiment id.

        Raises:
            Malformed: a cursor or limit that is not one.
        """
        after = decode_cursor(cursor)[1] if cursor else ""
        rows = await self._store.fetch(
            "budgets_page", {"after": after, "limit": page_size(limit) + 1}
        )
        found = [ExperimentBudget(text(row, "experiment_id"), budget_view(row)) for row in rows]
        return cut(found, limit, lambda item: (0, item.experiment_id))

    async def show(self, experiment_id: str) -> ExperimentBudget:
        """One budget.

        Raises:
            NotFound: no such experiment.
        """
        row = await self._store.fetch_one("budget_by_experiment", {"experiment_id": experiment_id})
        if row is None:
            raise NotFound("no_such_budget", "there is no such experiment")
        return ExperimentBudget(experiment_id, budget_view(row))

    async def set_limits(
        self, experiment_id: str, limits: BudgetLimits, actor: str
    ) -> ExperimentBudget:
        """Set limits as ``actor``, an operator.

        A limit below what is held and spent is allowed: it takes nothing back and lets nothing
        more be held.

        Raises:
            Forbidden: the actor is no operator.
            NotFound: no such experiment.
            Malformed: a limit out of range.
            Conflict: others keep changing the same budget.
        """
        require_operator(actor)
        for _ in range(_TRIES):
            old = (await self.show(experiment_id)).budget
            cents = old.limit_cents if limits.limit_cents is None else limits.limit_cents
            shots = old.limit_shots if limits.limit_shots is None else limits.limit_shots
            require_limits(cents, shots)
            # The event tells old and new, so the update must start from that same old.
            statement = Statement(
                "set_budget_limit",
                {
                    "experiment_id": experiment_id,
                    "limit_cents": cents,
                    "limit_shots": shots,
                    "old_limit_cents": old.limit_cents,
                    "old_limit_shots": old.limit_shots,
                },
                guard="budget.limit",
            )
            event = Event(
                timestamp_ms=self._clock.now_ms(),
                action="budget.changed",
                outcome=Outcome.SUCCESS,
                experiment_id=experiment_id,
                currency=old.currency,
                decision_reasons=(
                    f"limit_cents {old.limit_cents} -> {cents}",
                    f"limit_shots {old.limit_shots} -> {shots}",
                ),
                actor_chain=(actor,),
            )
            try:
                await self._store.commit(UnitOfWork((statement,), (event,)))
            except GuardFailed:
                continue
            return await self.show(experiment_id)
        raise Conflict("budget_busy", "this budget is being changed by others; try again")
