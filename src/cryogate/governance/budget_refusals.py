"""What a failed guard of the ledger means, said so that the caller knows what to change."""

from __future__ import annotations

from cryogate.domain.decisions import Violation
from cryogate.domain.money import Money
from cryogate.domain.periods import bounds, show
from cryogate.governance.book import Charge
from cryogate.governance.rows import number, text
from cryogate.ports.audit import rfc3339
from cryogate.ports.budgets import BudgetView, Hold
from cryogate.ports.store import ReadStore, Row

BLOCKED_HINT = "a bill came out above its bound; an operator must look and unblock this budget"


def of_experiment(view: BudgetView | None, hold: Hold) -> tuple[Violation, ...]:
    """Every bound of an experiment's total in the way of ``hold``."""
    if view is None:
        return (Violation("budget", "a budget", None, "ask an operator to set a budget"),)
    cost, shots = hold.cost, hold.shots
    if view.currency != cost.currency:
        hint = f"choose a backend that is priced in {view.currency}"
        return (Violation("budget_currency", view.currency, cost.currency, hint),)
    found = []
    if view.blocked:
        found.append(Violation("budget_blocked", None, view.blocked, BLOCKED_HINT))
    if cost.cents > view.left_cents:
        hint = "lower shots or gates, or ask an operator to raise the experiment's budget"
        found.append(Violation("budget_cents", view.left_cents, cost.cents, hint))
    if shots > view.left_shots:
        hint = f"the experiment has {view.left_shots} shots left"
        found.append(Violation("budget_shots", view.left_shots, shots, hint))
    return tuple(found)


def of_token(row: Row | None, hold: Hold, who: str) -> tuple[Violation, ...]:
    """Every bound of a token in the way of ``hold``; ``who`` begins the hints."""
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


def of_session(row: Row | None, hold: Hold) -> tuple[Violation, ...]:
    """Why a session cannot take ``hold``."""
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


async def of_windows(
    store: ReadStore, charges: tuple[Charge, ...], shots: int
) -> tuple[Violation, ...]:
    """Every scoped limit in the way: which scope, which limit, which period, what is left.

    Raises:
        StoreUnavailable: the database did not answer.
    """
    found: list[Violation] = []
    for charge in charges:
        row = await store.fetch_one(
            "window",
            {
                "budget_id": charge.budget.budget_id,
                "subject": charge.subject,
                "period": charge.period,
            },
        )
        if row is not None:
            found += _of_window(charge, row, shots)
    return tuple(found)


def _of_window(charge: Charge, row: Row, shots: int) -> list[Violation]:
    budget = charge.budget
    name, period = f"budget.{budget.scope}", show(charge.period)
    whose = f"{budget.scope.replace('_', ' ')} {charge.subject}"
    if blocked := text(row, "blocked"):
        return [Violation(f"{name}.blocked", None, blocked, BLOCKED_HINT)]
    used_cents = number(row, "held_cents") + number(row, "spent_cents")
    used_shots = number(row, "held_shots") + number(row, "spent_shots")
    until = ""
    if charge.period:
        until = f", or wait until {rfc3339(bounds(charge.period)[1])}"
    found = []
    if budget.limit_cents is not None and used_cents + charge.cents > budget.limit_cents:
        limit = Money(budget.limit_cents, budget.currency)
        used = Money(used_cents, budget.currency)
        hint = f"{whose} may spend {limit} in {period} and {used} are used; ask for less{until}"
        left = max(0, budget.limit_cents - used_cents)
        found.append(Violation(f"{name}.{budget.span}.cents", left, charge.cents, hint))
    if budget.limit_shots is not None and used_shots + shots > budget.limit_shots:
        hint = (
            f"{whose} may run {budget.limit_shots} shots in {period} and {used_shots} are used; "
            f"ask for less{until}"
        )
        left = max(0, budget.limit_shots - used_shots)
        found.append(Violation(f"{name}.{budget.span}.shots", left, shots, hint))
    return found
