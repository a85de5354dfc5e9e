"""Limits of agents, owners, cost centers, tokens, sessions and spans, as operators set them.

Why a limit that is set holds from that moment on:

 (1) Setting one turns the book to a new epoch and tells every budget row, in one unit of work with
     the limit. A reservation that was made under the old book fails there, and is made again under
     the new one.
 (2) A new limit starts with what its period has seen already: entries of the journal, summed in
     the same unit of work, after (1) has waited for every reservation that was under way. Jobs
     that hold money are charged to it from then on.
 (3) A limit is never deleted. One that is removed stays with its windows, and setting it anew makes
     another one.

Only an operator gets here (B5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec

from cryogate.domain.errors import Conflict, Malformed, NotFound
from cryogate.domain.events import Event, Outcome
from cryogate.domain.ids import BUDGET, new_id, require_slug
from cryogate.domain.periods import Span, bounds, period_of
from cryogate.governance.book import EACH, Book, Scope, ScopedBudget
from cryogate.governance.budget_records import (
    Change,
    changes,
    history,
    require_limits,
    require_percent,
)
from cryogate.governance.budgets import SqlLedger
from cryogate.governance.people import require_note, require_operator
from cryogate.governance.rows import number, text
from cryogate.ports.clock import Clock
from cryogate.ports.store import (
    GuardFailed,
    SqlValue,
    Statement,
    Store,
    UnitOfWork,
)

_TRIES = 8
_SHOWN_WINDOWS = 12

Currency = Annotated[str, msgspec.Meta(pattern=r"\A[A-Z]{3}\Z")]
Subject = Annotated[str, msgspec.Meta(pattern=r"\A[ -~]{1,128}\Z")]


class Named(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which limit. The subject ``*`` is every subject, each by itself."""

    scope: Scope
    subject: Subject
    span: Span


class NewLimit(Named, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is set: all of it, so that nothing stays by accident. Null limits nothing."""

    currency: Currency
    limit_cents: int | None = None
    limit_shots: int | None = None
    soft_percent: int = 0


class Lifted(Named, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which limit is removed or unblocked, and why."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


@dataclass(frozen=True, slots=True)
class Window:
    """What one subject has used of a limit in one period."""

    subject: str
    period: int
    held_cents: int
    spent_cents: int
    held_shots: int
    spent_shots: int


@dataclass(frozen=True, slots=True)
class LimitView:
    """A limit in force and its newest windows."""

    budget: ScopedBudget
    windows: tuple[Window, ...]


class ScopedBudgets:
    """List, show, set, remove and unblock limits."""

    def __init__(self, store: Store, clock: Clock, ledger: SqlLedger) -> None:
        self._store = store
        self._clock = clock
        self._ledger = ledger

    async def list(self) -> tuple[LimitView, ...]:
        """Every limit in force, with its windows."""
        book = await self._ledger.refresh()
        return tuple([await self._view(budget) for budget in book.budgets])

    async def show(self, named: Named) -> LimitView:
        """One limit in force.

        Raises:
            NotFound: there is none.
        """
        budget = _in(await self._ledger.refresh(), named)
        if budget is None:
            raise NotFound("no_such_limit", "there is no such limit")
        return await self._view(budget)

    async def history(
        self, scope: str, subject: str, limit: int, before: int | None
    ) -> tuple[Change, ...]:
        """Who changed the limits of one subject, newest first."""
        return await changes(self._store, scope, subject, limit, before)

    async def set(self, new: NewLimit, actor: str) -> LimitView:
        """Set a limit as ``actor``, an operator.

        Raises:
            Forbidden: the actor is no operator.
            Malformed: a subject, currency or limit that cannot be one.
            Conflict: others keep changing limits.
        """
        require_operator(actor)
        _require(new)
        for _ in range(_TRIES):
            book = await self._ledger.refresh()
            old = _in(book, new)
            if old is not None and old.currency != new.currency:
                raise Conflict("currency_fixed", "remove this limit to set it in another currency")
            try:
                await self._commit(book, new, *self._setting(new, old), actor)
            except GuardFailed:  # another change came first; look again
                continue
            return await self.show(new)
        raise Conflict("budget_busy", "limits are being changed by others; try again")

    async def remove(self, gone: Lifted, actor: str) -> None:
        """Lift a limit as ``actor``, an operator. Its windows and history stay.

        Raises:
            Forbidden: the actor is no operator.
            NotFound: there is no such limit.
            Malformed: a reason with characters that are not shown.
            Conflict: others keep changing limits.
        """
        await self._lift(gone, "remove_scoped_budget", "removed", actor)

    async def unblock(self, blocked: Lifted, actor: str) -> LimitView:
        """Let a limit's subject spend again after a bill above its bound.

        Raises:
            Forbidden: the actor is no operator.
            NotFound: there is no such limit.
            Malformed: a reason with characters that are not shown.
            Conflict: it is not blocked, or others keep changing limits.
        """
        await self._lift(blocked, "unblock_scoped_budget", "unblocked", actor)
        return await self.show(blocked)

    # -- inside ----------------------------------------------------------------------------

    async def _lift(self, named: Lifted, statement: str, what: str, actor: str) -> None:
        require_operator(actor)
        reason = require_note(named.reason)
        for _ in range(_TRIES):
            book = await self._ledger.refresh()
            budget = _in(book, named)
            if budget is None:
                raise NotFound("no_such_limit", "there is no such limit")
            if what == "unblocked" and not budget.blocked:
                raise Conflict("not_blocked", "this limit is not blocked")
            was = f"limit_cents {budget.limit_cents}", f"limit_shots {budget.limit_shots}"
            change = Statement(statement, {"budget_id": budget.budget_id})
            try:
                await self._commit(book, named, (change,), (reason, *was), what, actor)
            except GuardFailed:
                continue
            return
        raise Conflict("budget_busy", "limits are being changed by others; try again")

    def _setting(
        self, new: NewLimit, old: ScopedBudget | None
    ) -> tuple[tuple[Statement, ...], tuple[str, ...], str]:
        values: dict[str, SqlValue] = {
            "limit_cents": new.limit_cents,
            "limit_shots": new.limit_shots,
            "soft_percent": new.soft_percent,
        }
        if old is not None:
            told = tuple(
                f"{name} {getattr(old, name)} -> {value}" for name, value in values.items()
            )
            named: Mapping[str, SqlValue] = {"budget_id": old.budget_id}
            return (
                (
                    Statement("set_scoped_limit", {**named, **values}),
                    Statement("retell_windows", named, rows=None),
                ),
                told,
                "changed",
            )
        now_ms = self._clock.now_ms()
        budget_id, period = new_id(BUDGET), period_of(new.span, now_ms)
        first_ms, after_ms = bounds(period)
        insert: dict[str, SqlValue] = {
            **values,
            "budget_id": budget_id,
            "scope": new.scope.value,
            "subject": new.subject,
            "span": new.span.value,
            "currency": new.currency,
            "now_ms": now_ms,
        }
        opening: dict[str, SqlValue] = {
            "budget_id": budget_id,
            "scope": new.scope.value,
            "subject": new.subject,
            "period": period,
            "currency": new.currency,
            "from_ms": first_ms,
            "until_ms": after_ms,
        }
        told = tuple(f"{name} {value}" for name, value in values.items())
        return (
            (
                Statement("insert_scoped_budget", insert),
                Statement("opening_charges", opening, rows=None),
                Statement("opening_windows", opening, rows=None),
            ),
            told,
            "set",
        )

    async def _commit(
        self,
        book: Book,
        named: Named,
        statements: tuple[Statement, ...],
        told: tuple[str, ...],
        action: str,
        actor: str,
    ) -> None:
        now_ms = self._clock.now_ms()
        turn: Mapping[str, SqlValue] = {"epoch": book.epoch}
        line = history(named.scope, named.subject, named.span, action, told, actor, now_ms)
        event = Event(
            timestamp_ms=now_ms,
            action=f"budget.limit_{action}",
            outcome=Outcome.SUCCESS,
            agent_id=named.subject if named.scope is Scope.AGENT else None,
            experiment_id=named.subject if named.scope is Scope.EXPERIMENT else None,
            decision_reasons=(f"{named.scope} {named.subject} per {named.span}", *told),
            actor_chain=(actor,),
        )
        work = UnitOfWork(
            (
                # (1) before (2): nothing is summed while something may still be reserved
                Statement("turn_book", turn, guard="budget.book"),
                Statement("tell_budgets", turn, rows=None),
                *statements,
                line,
            ),
            (event,),
        )
        try:
            await self._store.commit(work)
        finally:
            await self._ledger.refresh()

    async def _view(self, budget: ScopedBudget) -> LimitView:
        params: Mapping[str, SqlValue] = {"budget_id": budget.budget_id, "limit": _SHOWN_WINDOWS}
        rows = await self._store.fetch("windows_of_budget", params)
        windows = tuple(
            Window(
                text(row, "subject"),
                number(row, "period"),
                number(row, "held_cents"),
                number(row, "spent_cents"),
                number(row, "held_shots"),
                number(row, "spent_shots"),
            )
            for row in rows
        )
        return LimitView(budget, windows)


def _in(book: Book, named: Named) -> ScopedBudget | None:
    return book.named(named.scope, named.subject, named.span)


def _require(new: NewLimit) -> None:
    require_limits(new.limit_cents, new.limit_shots)
    require_percent(new.soft_percent)
    if new.limit_cents is None and new.limit_shots is None:
        raise Malformed("malformed_limit", "say limit_cents, limit_shots or both")
    if new.subject != EACH and new.scope in (Scope.AGENT, Scope.EXPERIMENT):
        require_slug(new.subject, new.scope)
    if new.scope is Scope.EXPERIMENT and new.span is Span.TOTAL:
        raise Malformed(
            "malformed_limit", "an experiment's total is its own budget; set that, or a span"
        )
