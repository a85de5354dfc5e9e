"""Keeping the journal: months are closed, mistakes are corrected by entries, sums are compared.

Why a closed month stays as it is:

 (1) Closing turns the book: every budget row is touched first, so whoever is writing an entry has
     finished or has not begun (entries come after their budget's row).
 (2) Every entry asks the book for the first open month and is never dated before it; a clock that
     was turned back makes no difference.
 (3) What was closed is recorded with its sums, and `check` compares them with the entries for ever.

A correction is an entry of its own in an open month. It names the job it corrects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec

from cryogate.domain.errors import Conflict, Malformed, NotFound
from cryogate.domain.events import Event, Outcome
from cryogate.domain.ids import CORRECTION, JOB, is_minted, new_id
from cryogate.domain.periods import month_of, next_month, parse_month, show
from cryogate.governance.budget_records import MAX_CENTS, history
from cryogate.governance.budgets import SqlLedger
from cryogate.governance.people import require_note, require_operator
from cryogate.governance.rows import number, text
from cryogate.ports.clock import Clock
from cryogate.ports.store import GuardFailed, Row, SqlValue, Statement, Store, UnitOfWork

_TRIES = 8
Month = Annotated[str, msgspec.Meta(max_length=7)]


class Close(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The last month to close; every one before it is closed with it."""

    month: Month


class Correction(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is added to what a job was charged; negative gives back."""

    job_id: str
    cents: int
    shots: int = 0
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


@dataclass(frozen=True, slots=True)
class Closing:
    """A closed month in one currency."""

    month: str
    currency: str
    entries: int
    spent_cents: int
    spent_shots: int
    closed_ms: int
    closed_by: str


@dataclass(frozen=True, slots=True)
class Posting:
    """One entry of a job as its accounts see it."""

    ref: str
    kind: str
    month: str
    posted_ms: int
    currency: str
    granted_cents: int
    available_cents: int
    held_cents: int
    spent_cents: int


@dataclass(frozen=True, slots=True)
class Findings:
    """What the comparison of sums found; empty means that everything adds up."""

    budgets: tuple[str, ...]
    windows: tuple[str, ...]
    months: tuple[str, ...]

    @property
    def balanced(self) -> bool:
        """Whether nothing differs."""
        return not (self.budgets or self.windows or self.months)


class Books:
    """Close months, correct charges, compare sums."""

    def __init__(self, store: Store, clock: Clock, ledger: SqlLedger) -> None:
        self._store = store
        self._clock = clock
        self._ledger = ledger

    async def close(self, wanted: Close, actor: str) -> tuple[Closing, ...]:
        """Close a month that is over, and those before it, as ``actor``, an operator.

        Raises:
            Forbidden: the actor is no operator.
            Malformed: no month, or one that is not over.
            Conflict: closed already, or others keep changing the book.
        """
        require_operator(actor)
        month, now_ms = _month(wanted.month), self._clock.now_ms()
        if month >= month_of(now_ms):
            raise Malformed("month_not_over", f"{show(month)} is not over yet")
        for _ in range(_TRIES):
            book = await self._ledger.refresh()
            if month < book.open_period:
                raise Conflict("month_closed", f"{show(month)} is closed already")
            opened = next_month(month)
            turn: Mapping[str, SqlValue] = {"epoch": book.epoch}
            sums: dict[str, SqlValue] = {
                "from_period": book.open_period,
                "open_period": opened,
                "now_ms": now_ms,
                "actor": actor,
            }
            told = (f"months before {show(opened)} are closed",)
            work = UnitOfWork(
                (
                    Statement("close_book", {**turn, "open_period": opened}, guard="budget.book"),
                    Statement("tell_budgets", turn, rows=None),
                    Statement("insert_closing", sums, rows=None),
                    history("ledger", show(month), "month", "closed", told, actor, now_ms),
                ),
                (self._event("ledger.closed", told, actor),),
            )
            try:
                await self._store.commit(work)
            except GuardFailed:
                continue
            finally:
                await self._ledger.refresh()
            return await self.closings()
        raise Conflict("budget_busy", "limits are being changed by others; try again")

    async def closings(self) -> tuple[Closing, ...]:
        """Closed months and their sums, newest first."""
        rows = await self._store.fetch("closings", {})
        return tuple(
            Closing(
                show(number(row, "period")),
                text(row, "currency"),
                number(row, "entries"),
                number(row, "spent_cents"),
                number(row, "spent_shots"),
                number(row, "closed_ms"),
                text(row, "closed_by"),
            )
            for row in rows
        )

    async def correct(self, wanted: Correction, actor: str) -> tuple[Posting, ...]:
        """Correct what a settled job was charged, as ``actor``, an operator.

        Raises:
            Forbidden: the actor is no operator.
            Malformed: a figure or reason that cannot be one.
            NotFound: no settled job of this id.
            Conflict: more would be given back than the experiment has spent.
        """
        require_operator(actor)
        reason = require_note(wanted.reason)
        cents, shots = wanted.cents, wanted.shots
        if max(abs(cents), abs(shots)) > MAX_CENTS or not (cents or shots):
            raise Malformed("malformed_correction", "say how many cents or shots to add")
        settled = await self._settled(wanted.job_id)
        experiment_id, currency = text(settled, "experiment_id"), text(settled, "currency")
        now_ms, ref = self._clock.now_ms(), new_id(CORRECTION)
        amounts: Mapping[str, SqlValue] = {"cents": cents, "shots": shots}
        entry: dict[str, SqlValue] = {
            **amounts,
            "ref": ref,
            "period": month_of(now_ms),
            "now_ms": now_ms,
            "job_id": wanted.job_id,
            "note": reason,
        }
        told = (f"cents {cents}", f"shots {shots}", reason)
        work = UnitOfWork(
            (
                Statement(
                    "correct_budget",
                    {**amounts, "experiment_id": experiment_id, "currency": currency},
                    guard="budget.spent",
                ),
                Statement(
                    "correct_charges",
                    {**amounts, "job_id": wanted.job_id},
                    rows=None,
                    guard="budget.spent",
                ),
                Statement("post_correct", entry, guard="budget.entry"),
                history("experiment", experiment_id, "total", "corrected", told, actor, now_ms),
            ),
            (self._event("budget.corrected", told, actor, experiment_id, wanted.job_id, currency),),
        )
        try:
            await self._store.commit(work)
        except GuardFailed as failed:
            raise Conflict("not_spent", "more than was spent cannot be given back") from failed
        return await self.entries(wanted.job_id)

    async def entries(self, job_id: str) -> tuple[Posting, ...]:
        """The entries of a job, in their order.

        Raises:
            NotFound: there are none.
        """
        rows = await self._store.fetch("entries_of_job", {"job_id": job_id})
        if not rows:
            raise NotFound("job_not_found", "no such job")
        return tuple(_posting(row) for row in rows)

    async def check(self) -> Findings:
        """Compare balances with entries, windows with jobs, closed months with what they were."""
        budgets = await self._store.fetch("balances_that_differ", {})
        windows = await self._store.fetch("windows_that_differ", {})
        months = await self._store.fetch("closings_that_differ", {})
        return Findings(
            tuple(text(row, "experiment_id") for row in budgets),
            tuple(
                f"{text(row, 'budget_id')} {text(row, 'subject')} {show(number(row, 'period'))}"
                for row in windows
            ),
            tuple(f"{show(number(row, 'period'))} {text(row, 'currency')}" for row in months),
        )

    async def _settled(self, job_id: str) -> Row:
        row = None
        if is_minted(job_id, JOB):
            row = await self._store.fetch_one("settled_entry", {"job_id": job_id})
        if row is None:
            raise NotFound("job_not_found", "no settled job of this id")
        return row

    def _event(
        self,
        action: str,
        told: tuple[str, ...],
        actor: str,
        experiment_id: str | None = None,
        job_id: str | None = None,
        currency: str | None = None,
    ) -> Event:
        return Event(
            timestamp_ms=self._clock.now_ms(),
            action=action,
            outcome=Outcome.SUCCESS,
            experiment_id=experiment_id,
            job_id=job_id,
            currency=currency,
            decision_reasons=told,
            actor_chain=(actor,),
        )


def _month(text: str) -> int:
    try:
        return parse_month(text)
    except ValueError as error:
        raise Malformed("malformed_month", str(error)) from error


def _posting(row: Row) -> Posting:
    return Posting(
        text(row, "ref"),
        text(row, "kind"),
        show(number(row, "period")),
        number(row, "posted_ms"),
        text(row, "currency"),
        number(row, "granted_cents"),
        number(row, "available_cents"),
        number(row, "held_cents"),
        number(row, "spent_cents"),
    )
