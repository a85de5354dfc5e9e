"""The ledger: reserve, settle, release as guarded statements, each with its entry in the journal.

Why money cannot be lost or made, whatever runs in parallel:

 (1) ``reserve`` adds to *held* only where limit, held and spent leave room *in the row that is
     being written*, so two reservations can never both take the last cent (B1).
 (2) ``settle`` and ``release`` first move ``jobs.hold`` away from ``held``. That can happen
     once, so money is given back at most once, however often a worker repeats itself (B2).
 (3) The same statement compares amount, currency, shots and experiment with the job's row, so
     what is given back is what was held.
 (4) Every move writes one entry whose postings sum to zero, or the database refuses it.
 (5) A reservation names the epoch of the book of limits that it knows; the experiment's row knows
     the one in force, so no limit that is set is passed by. What a job was charged to is recorded
     with it: it is given back there.
 (6) All of it shares one unit of work with the job's row and its event, or nothing happens.

Order of the rows that are locked: token, session, experiment, windows by name. The experiment's
row comes before windows and entry because whoever sets a limit or closes a month takes it too, and
must find all of a move or nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryogate.domain.decisions import Violation
from cryogate.domain.errors import Forbidden
from cryogate.domain.periods import month_of
from cryogate.governance import budget_refusals as refusals
from cryogate.governance.book import Book, Charge, Rates, scoped_budget
from cryogate.governance.ledger_merge import merge
from cryogate.governance.rows import number, text
from cryogate.ports.budgets import BudgetView, Hold, Ledger, Payer
from cryogate.ports.store import ReadStore, Row, SqlValue, Statement, StoreUnavailable

EXPERIMENT, TOKEN, SESSION = "budget.experiment", "budget.token", "budget.session"
PARENT = "budget.parent"
WINDOW, ENTRY, HOLD = "budget.window", "budget.entry", "budget.hold"
OVERRUN = "overrun"
_MAX = 2**53 - 1
_TRIES = 3


def budget_view(row: Row) -> BudgetView:
    """A budget out of its columns."""
    return BudgetView(
        text(row, "currency"),
        number(row, "limit_cents"),
        number(row, "held_cents"),
        number(row, "spent_cents"),
        number(row, "limit_shots"),
        number(row, "held_shots"),
        number(row, "spent_shots"),
        text(row, "blocked"),
        number(row, "soft_percent"),
        number(row, "epoch"),
    )


def billable(actual_cents: object, bound_cents: int) -> int:
    """What to charge: the vendor's figure, or the bound where that is no price (B4).

    A missing, negative or absurd figure must not turn into money given back.
    """
    if type(actual_cents) is int and 0 <= actual_cents <= _MAX:
        return actual_cents
    return bound_cents


def _checked(hold: Hold) -> None:
    # A negative hold would be a way to print money; refuse before any SQL sees it.
    if not 0 <= hold.cost.cents <= _MAX or not 0 < hold.shots <= _MAX:
        raise ValueError("a hold is of at least 0 cents and 1 shot")


class SqlLedger(Ledger):
    """The ledger on the deployment's database.

    ``block_on_overrun``: a bill above its bound blocks every budget that the job was charged to.
    """

    def __init__(
        self, store: ReadStore, *, rates: Rates | None = None, block_on_overrun: bool = True
    ) -> None:
        self._store = store
        self._rates = rates or Rates()
        self._block = block_on_overrun
        # Epoch -1 is no row's: nothing can be reserved before the limits have been read.
        self.book = Book(-1, 0, ())

    async def refresh(self) -> Book:
        """Read the limits in force.

        Raises:
            StoreUnavailable: the database did not answer, or limits keep changing.
        """
        before = await self._store.fetch_one("book", {})
        for _ in range(_TRIES):
            rows = await self._store.fetch("active_scoped_budgets", {})
            row = await self._store.fetch_one("book", {})
            if row is not None and row == before:
                self.book = Book(
                    number(row, "epoch"), number(row, "open_period"), map(scoped_budget, rows)
                )
                return self.book
            before = row
        raise StoreUnavailable("the book of limits changes faster than it can be read")

    async def know(self, epoch: int) -> None:
        """See `Ledger.know`."""
        if epoch != self.book.epoch:
            await self.refresh()

    @property
    def epoch(self) -> int:
        """See `Ledger.epoch`."""
        return self.book.epoch

    async def outdated(self, guard: str, epoch: int) -> bool:
        """See `Ledger.outdated`."""
        return guard in (EXPERIMENT, WINDOW) and (await self.refresh()).epoch != epoch

    def reserve(self, hold: Hold, payer: Payer, now_ms: int) -> tuple[Statement, ...]:
        """Guards: `EXPERIMENT`, `TOKEN`, `PARENT` for the tokens that this one was delegated from,
        `SESSION` where the job has one, `WINDOW` where a limit is set for one of the payers.

        Raises:
            ValueError: a hold of negative cost or of no shots.
            Forbidden: a limit is in a currency to which there is no rate.
        """
        _checked(hold)
        cents, shots = hold.cost.cents, hold.shots
        # The nearest first, as everywhere: two jobs never wait for each other in a circle.
        parts = [
            Statement(
                "reserve_token",
                {
                    "token_id": token_id,
                    "experiment_id": hold.experiment_id,
                    "jobs": 1,
                    "cost_cents": cents,
                    "shots": shots,
                },
                guard=TOKEN if token_id == hold.token_id else PARENT,
            )
            for token_id in (hold.token_id, *hold.ancestors)
        ]
        if hold.session_id is not None:
            session: dict[str, SqlValue] = {
                "session_id": hold.session_id,
                "token_id": hold.token_id,
                "experiment_id": hold.experiment_id,
                "jobs": 1,
                "now_ms": now_ms,
            }
            parts.append(Statement("reserve_session", session, guard=SESSION))
        budget = {**self._budget(hold), "epoch": self.book.epoch}
        parts.append(Statement("reserve_budget", budget, guard=EXPERIMENT))
        charges = self.book.charges(hold, payer, self._rates, now_ms)
        parts += [_hold_window(charge, shots) for charge in charges]
        parts.append(
            Statement(
                "post_reserve",
                {
                    **self._budget(hold),
                    "job_id": hold.job_id,
                    "period": month_of(now_ms),
                    "now_ms": now_ms,
                    "agent_id": payer.agent_id,
                    "owner": payer.owner,
                    "cost_center": payer.cost_center,
                    "token_id": hold.token_id,
                    "session_id": hold.session_id,
                    "backend": payer.backend,
                },
                guard=ENTRY,
            )
        )
        parts += [_note_charge(charge, hold.job_id) for charge in charges]
        return tuple(parts)

    def merged(self, reservations: Sequence[Sequence[Statement]]) -> tuple[Statement, ...] | None:
        """See `Ledger.merged`."""
        return merge(reservations)

    def settle(self, hold: Hold, actual_cents: int, now_ms: int) -> tuple[Statement, ...]:
        """Guards: `HOLD` (already settled or released, or another amount), `EXPERIMENT`, `ENTRY`.

        ``actual_cents`` above the hold is still owed and recorded; the budget may pass its limit
        by it, and is blocked until an operator has looked. See `billable` for figures that are no
        price.

        Raises:
            ValueError: a hold of negative cost or of no shots.
        """
        actual = billable(actual_cents, hold.cost.cents)
        params = {**self._job(hold), "actual_cents": actual}
        statements = [Statement("settle_hold", params, guard=HOLD)]
        if actual != hold.cost.cents:
            # Token rows may be swept after they expire; the experiment's money must still move.
            statements.append(
                Statement(
                    "settle_token",
                    {
                        "token_id": hold.token_id,
                        "cost_cents": hold.cost.cents,
                        "actual_cents": actual,
                    },
                    rows=None,
                )
            )
        statements.append(
            Statement(
                "settle_budget",
                {**self._budget(hold), "actual_cents": actual},
                guard=EXPERIMENT,
            )
        )
        settled: dict[str, SqlValue] = {
            "job_id": hold.job_id,
            "shots": hold.shots,
            "actual_cents": actual,
        }
        statements.append(Statement("settle_charges", settled, rows=None, guard=WINDOW))
        posted = {**self._entry(hold, now_ms), "actual_cents": actual}
        statements.append(Statement("post_settle", posted, guard=ENTRY))
        if self._block and actual > hold.cost.cents:
            why = f"{OVERRUN} {hold.job_id}"
            block: dict[str, SqlValue] = {"experiment_id": hold.experiment_id, "why": why}
            statements.append(Statement("block_budget", block, rows=None))
            block = {"job_id": hold.job_id, "why": why}
            statements.append(Statement("block_charged", block, rows=None))
        return tuple(statements)

    def release(self, hold: Hold, now_ms: int) -> tuple[Statement, ...]:
        """Guards: `HOLD` (already settled or released, or another amount), `EXPERIMENT`, `ENTRY`.

        Raises:
            ValueError: a hold of negative cost or of no shots.
        """
        statements = [
            Statement("release_hold", self._job(hold), guard=HOLD),
            Statement(
                "release_token",
                {
                    "token_id": hold.token_id,
                    "cost_cents": hold.cost.cents,
                    "shots": hold.shots,
                },
                rows=None,
            ),
        ]
        if hold.session_id is not None:
            statements.append(
                Statement("release_session", {"session_id": hold.session_id}, rows=None)
            )
        statements.append(Statement("release_budget", self._budget(hold), guard=EXPERIMENT))
        charged: dict[str, SqlValue] = {"job_id": hold.job_id, "shots": hold.shots}
        statements.append(Statement("release_charges", charged, rows=None, guard=WINDOW))
        statements.append(Statement("post_release", self._entry(hold, now_ms), guard=ENTRY))
        return tuple(statements)

    @staticmethod
    def _budget(hold: Hold) -> dict[str, SqlValue]:
        return {
            "experiment_id": hold.experiment_id,
            "currency": hold.cost.currency,
            "cost_cents": hold.cost.cents,
            "shots": hold.shots,
        }

    @classmethod
    def _job(cls, hold: Hold) -> dict[str, SqlValue]:
        _checked(hold)
        return {**cls._budget(hold), "job_id": hold.job_id}

    @staticmethod
    def _entry(hold: Hold, now_ms: int) -> dict[str, SqlValue]:
        return {
            "job_id": hold.job_id,
            "period": month_of(now_ms),
            "now_ms": now_ms,
            "cost_cents": hold.cost.cents,
            "shots": hold.shots,
        }

    async def view(self, experiment_id: str) -> BudgetView | None:
        """The experiment's budget as it stands, in cents and shots.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        row = await self._store.fetch_one("budget_by_experiment", {"experiment_id": experiment_id})
        return None if row is None else budget_view(row)

    async def review(self, hold: Hold, payer: Payer, now_ms: int) -> tuple[Violation, ...]:
        """See `Ledger.review`.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        try:
            charges = self.book.charges(hold, payer, self._rates, now_ms)
        except Forbidden as refusal:
            return refusal.violations
        return await refusals.of_windows(self._store, charges, hold.shots) if charges else ()

    async def explain(
        self, guard: str, hold: Hold, payer: Payer, now_ms: int
    ) -> tuple[Violation, ...]:
        """Every bound that stands in the way of ``hold``; empty if ``guard`` is not ours.

        The figures are of now: when another job ended meanwhile, the answer says to try again.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        found: tuple[Violation, ...]
        if guard == EXPERIMENT:
            found = refusals.of_experiment(await self.view(hold.experiment_id), hold)
        elif guard == WINDOW:
            found = await self.review(hold, payer, now_ms)
        elif guard == TOKEN:
            found = await self._explain_token(hold, hold.token_id, "this token has")
        elif guard == PARENT:
            found = ()
            for token_id in hold.ancestors:
                found += await self._explain_token(
                    hold, token_id, "the token that this one was delegated from has"
                )
        elif guard == SESSION:
            row = await self._store.fetch_one("session_allowance", {"session_id": hold.session_id})
            found = refusals.of_session(row, hold)
        elif guard == HOLD:
            return (Violation("hold", "held", "settled or released", "this job has ended"),)
        else:
            return ()
        return found or (Violation(guard, None, None, "there is room again; try once more"),)

    async def _explain_token(self, hold: Hold, token_id: str, who: str) -> tuple[Violation, ...]:
        row = await self._store.fetch_one("token_allowance", {"token_id": token_id})
        return refusals.of_token(row, hold, who)


def _hold_window(charge: Charge, shots: int) -> Statement:
    params: dict[str, SqlValue] = {
        "budget_id": charge.budget.budget_id,
        "subject": charge.subject,
        "period": charge.period,
        "currency": charge.budget.currency,
        "cost_cents": charge.cents,
        "shots": shots,
    }
    return Statement("reserve_window", params, guard=WINDOW)


def _note_charge(charge: Charge, job_id: str) -> Statement:
    params: dict[str, SqlValue] = {
        "job_id": job_id,
        "budget_id": charge.budget.budget_id,
        "subject": charge.subject,
        "period": charge.period,
        "cost_cents": charge.cents,
        "rate_num": charge.rate.num,
        "rate_den": charge.rate.den,
    }
    return Statement("insert_charge", params, guard=WINDOW)
