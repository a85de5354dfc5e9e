"""Totals of experiments as operators see and change them.

Nothing else in the program writes these limits (B5); `scoped_budgets` has the other ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec

from cryogate.domain.errors import Conflict, NotFound
from cryogate.domain.events import Event, Outcome
from cryogate.domain.ids import GRANT, new_id
from cryogate.governance.budget_records import (
    Change,
    changes,
    grant,
    history,
    require_limits,
    require_percent,
)
from cryogate.governance.budgets import budget_view
from cryogate.governance.paging import Page, cut, decode_cursor, page_size
from cryogate.governance.people import require_note, require_operator
from cryogate.governance.rows import text
from cryogate.ports.budgets import BudgetView
from cryogate.ports.clock import Clock
from cryogate.ports.store import GuardFailed, Statement, Store, UnitOfWork

_TRIES = 5
_SCOPE, _SPAN = "experiment", "total"


class BudgetLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an operator sets: cents and shots; what is left out stays as it is.

    ``soft_percent`` of a limit used is told of, once; 0 tells of nothing.
    """

    limit_cents: int | None = None
    limit_shots: int | None = None
    soft_percent: int | None = None


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Why an operator does something."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


@dataclass(frozen=True, slots=True)
class ExperimentBudget:
    """A budget and whose it is."""

    experiment_id: str
    budget: BudgetView


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

    async def history(
        self, experiment_id: str, limit: int, before: int | None
    ) -> tuple[Change, ...]:
        """Who changed this experiment's limits, newest first.

        Raises:
            Malformed: a page size that is none.
        """
        return await changes(self._store, _SCOPE, experiment_id, limit, before)

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
            soft = old.soft_percent if limits.soft_percent is None else limits.soft_percent
            require_limits(cents, shots)
            require_percent(soft)
            told = (
                f"limit_cents {old.limit_cents} -> {cents}",
                f"limit_shots {old.limit_shots} -> {shots}",
                f"soft_percent {old.soft_percent} -> {soft}",
            )
            # The event tells old and new, so the update must start from that same old.
            statement = Statement(
                "set_budget_limit",
                {
                    "experiment_id": experiment_id,
                    "limit_cents": cents,
                    "limit_shots": shots,
                    "soft_percent": soft,
                    "old_limit_cents": old.limit_cents,
                    "old_limit_shots": old.limit_shots,
                    "old_soft_percent": old.soft_percent,
                },
                guard="budget.limit",
            )
            now_ms = self._clock.now_ms()
            entry = grant(
                new_id(GRANT), experiment_id, old.currency, cents - old.limit_cents,
                shots - old.limit_shots, actor, now_ms,
            )  # fmt: skip
            line = history(_SCOPE, experiment_id, _SPAN, "set", told, actor, now_ms)
            event = self._event("budget.changed", experiment_id, told, actor, old.currency)
            try:
                await self._store.commit(UnitOfWork((statement, entry, line), (event,)))
            except GuardFailed:
                continue
            return await self.show(experiment_id)
        raise Conflict("budget_busy", "this budget is being changed by others; try again")

    async def unblock(self, experiment_id: str, why: Reason, actor: str) -> ExperimentBudget:
        """Let a budget be used again after a bill above its bound.

        Raises:
            Forbidden: the actor is no operator.
            NotFound: no such experiment.
            Malformed: a reason with characters that are not shown.
            Conflict: it is not blocked.
        """
        require_operator(actor)
        reason = require_note(why.reason)
        old = (await self.show(experiment_id)).budget
        told = (f"was blocked: {old.blocked}", reason)
        now_ms = self._clock.now_ms()
        statement = Statement("unblock_budget", {"experiment_id": experiment_id})
        line = history(_SCOPE, experiment_id, _SPAN, "unblock", told, actor, now_ms)
        event = self._event("budget.unblocked", experiment_id, told, actor, old.currency)
        try:
            await self._store.commit(UnitOfWork((statement, line), (event,)))
        except GuardFailed as failed:
            raise Conflict("not_blocked", "this budget is not blocked") from failed
        return await self.show(experiment_id)

    def _event(
        self, action: str, experiment_id: str, told: tuple[str, ...], actor: str, currency: str
    ) -> Event:
        return Event(
            timestamp_ms=self._clock.now_ms(),
            action=action,
            outcome=Outcome.SUCCESS,
            experiment_id=experiment_id,
            currency=currency,
            decision_reasons=told,
            actor_chain=(actor,),
        )
