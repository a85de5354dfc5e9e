"""The ledger: reserve, settle, release as guarded statements.

Why money cannot be lost or made, whatever runs in parallel:

 (1) ``reserve`` adds to *held* only where limit, held and spent leave room *in the row that is
     being written*, so two reservations can never both take the last cent (B1).
 (2) ``settle`` and ``release`` first move ``jobs.hold`` away from ``held``. That can happen
     once, so money is given back at most once, however often a worker repeats itself (B2).
 (3) The same statement compares amount, currency, shots and experiment with the job's row, so
     what is given back is what was held.
 (4) All of it shares one unit of work with the job's row and its event, or nothing happens.
"""

from __future__ import annotations

from cryogate.domain.decisions import Violation
from cryogate.governance.rows import number, text
from cryogate.ports.budgets import BudgetView, Hold, Ledger
from cryogate.ports.store import ReadStore, Row, SqlValue, Statement

EXPERIMENT, TOKEN, SESSION = "budget.experiment", "budget.token", "budget.session"
PARENT = "budget.parent"
HOLD = "budget.hold"
_MAX = 2**53 - 1


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
    """The ledger on the deployment's database."""

    def __init__(self, store: ReadStore) -> None:
        self._store = store

    def reserve(self, hold: Hold, now_ms: int) -> tuple[Statement, ...]:
        """Guards: `EXPERIMENT`, `TOKEN`, `PARENT` for the tokens that this one was delegated from,
        and `SESSION` where the job has one.

        Raises:
            ValueError: a hold of negative cost or of no shots.
        """
        _checked(hold)
        budget = Statement(
            "reserve_budget",
            {
                "experiment_id": hold.experiment_id,
                "currency": hold.cost.currency,
                "cost_cents": hold.cost.cents,
                "shots": hold.shots,
            },
            guard=EXPERIMENT,
        )
        # The nearest first, as everywhere: two jobs never wait for each other in a circle.
        tokens = tuple(
            Statement(
                "reserve_token",
                {
                    "token_id": token_id,
                    "experiment_id": hold.experiment_id,
                    "cost_cents": hold.cost.cents,
                    "shots": hold.shots,
                },
                guard=TOKEN if token_id == hold.token_id else PARENT,
            )
            for token_id in (hold.token_id, *hold.ancestors)
        )
        if hold.session_id is None:
            return *tokens, budget
        session = Statement(
            "reserve_session",
            {
                "session_id": hold.session_id,
                "token_id": hold.token_id,
                "experiment_id": hold.experiment_id,
                "now_ms": now_ms,
            },
            guard=SESSION,
        )
        # The shared row comes last: its lock is held for the shortest time.
        return *tokens, session, budget

    def settle(self, hold: Hold, actual_cents: int, now_ms: int) -> tuple[Statement, ...]:
        """Guards: `HOLD` (already settled or released, or another amount), `EXPERIMENT`.

        ``actual_cents`` above the hold is still owed and recorded; the budget may pass its limit
        by it, after which nothing more can be held. See `billable` for figures that are no price.

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
        return tuple(statements)

    def release(self, hold: Hold, now_ms: int) -> tuple[Statement, ...]:
        """Guards: `HOLD` (already settled or released, or another amount), `EXPERIMENT`.

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

    async def view(self, experiment_id: str) -> BudgetView | None:
        """The experiment's budget as it stands, in cents and shots.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        row = await self._store.fetch_one("budget_by_experiment", {"experiment_id": experiment_id})
        return None if row is None else budget_view(row)

    async def explain(self, guard: str, hold: Hold) -> tuple[Violation, ...]:
        """Every bound that stands in the way of ``hold``; empty if ``guard`` is not ours.

        The figures are of now: when another job ended meanwhile, the answer says to try again.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        if guard == EXPERIMENT:
            found = await self._explain_experiment(hold)
        elif guard == TOKEN:
            found = await self._explain_token(hold, hold.token_id, "this token has")
        elif guard == PARENT:
            found = ()
            for token_id in hold.ancestors:
                found += await self._explain_token(
                    hold, token_id, "the token that this one was delegated from has"
                )
        elif guard == SESSION:
            found = await self._explain_session(hold)
        elif guard == HOLD:
            return (Violation("hold", "held", "settled or released", "this job has ended"),)
        else:
            return ()
        return found or (Violation(guard, None, None, "there is room again; try once more"),)

    async def _explain_experiment(self, hold: Hold) -> tuple[Violation, ...]:
        view = await self.view(hold.experiment_id)
        if view is None:
            return (Violation("budget", "a budget", None, "ask an operator to set a budget"),)
        cost, shots = hold.cost, hold.shots
        if view.currency != cost.currency:
            hint = f"choose a backend that is priced in {view.currency}"
            return (Violation("budget_currency", view.currency, cost.currency, hint),)
        found = []
        if cost.cents > view.left_cents:
            hint = "lower shots or gates, or ask an operator to raise the experiment's budget"
            found.append(Violation("budget_cents", view.left_cents, cost.cents, hint))
        if shots > view.left_shots:
            hint = f"the experiment has {view.left_shots} shots left"
            found.append(Violation("budget_shots", view.left_shots, shots, hint))
        return tuple(found)

    async def _explain_token(self, hold: Hold, token_id: str, who: str) -> tuple[Violation, ...]:
        row = await self._store.fetch_one("token_allowance", {"token_id": token_id})
        if row is None or row["experiment_id"] != hold.experiment_id:
            return (Violation("token", hold.experiment_id, None, "ask for a new token"),)
        found = []
        for limit, used, more in (
            ("max_jobs", "used_jobs", 1),
            ("max_total_shots", "used_shots", hold.shots),
            ("max_cost_cents", "used_cents", hold.cost.cents),
        ):
            allowed, wanted = number(row, limit), number(row, used) + more
            if wanted > allowed:
                left = max(0, allowed - wanted + more)
                hint = f"{who} {left} left of {allowed}; ask for less or for a new token"
                found.append(Violation(limit, allowed, wanted, hint))
        return tuple(found)

    async def _explain_session(self, hold: Hold) -> tuple[Violation, ...]:
        row = await self._store.fetch_one("session_allowance", {"session_id": hold.session_id})
        if (
            row is None
            or row["token_id"] != hold.token_id
            or row["experiment_id"] != hold.experiment_id
        ):
            return (Violation("session", "an own session", None, "open a session"),)
        allowed, used = number(row, "max_jobs"), number(row, "used_jobs")
        if used >= allowed:
            return (Violation("session_max_jobs", allowed, used + 1, "open another session"),)
        return (Violation("session", "open", "closed or expired", "open a new session"),)
