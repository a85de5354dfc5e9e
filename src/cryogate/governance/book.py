"""The book of limits in memory: which windows a job must fit, beside its experiment's total.

A scope that has no limit costs nothing. The book has an epoch; every budget row carries the epoch
that it was last told of, and a reservation names the one it was made under. So a stale book can
refuse somebody, but it can never let anybody past a limit that is set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from cryogate.domain.decisions import Violation
from cryogate.domain.errors import Forbidden
from cryogate.domain.money import SAME, Rate
from cryogate.domain.periods import Span, period_of
from cryogate.governance.rows import maybe_number, number, text
from cryogate.ports.budgets import Hold, Payer
from cryogate.ports.store import Row

#: The subject that stands for every subject, each by itself. No id is spelled like it.
EACH = "*"


class Scope(StrEnum):
    """Whose spending a limit is about."""

    EXPERIMENT = "experiment"
    AGENT = "agent"
    OWNER = "owner"
    COST_CENTER = "cost_center"
    TOKEN = "token"  # noqa: S105 - a scope, not a secret
    SESSION = "session"


@dataclass(frozen=True, slots=True)
class ScopedBudget:
    """One limit that is set. None limits nothing."""

    budget_id: str
    scope: Scope
    subject: str
    span: Span
    currency: str
    limit_cents: int | None
    limit_shots: int | None
    soft_percent: int
    blocked: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class Charge:
    """What a job holds of one window, in the limit's currency."""

    budget: ScopedBudget
    subject: str
    period: int
    cents: int
    rate: Rate


class Rates:
    """Rates between currencies, as data. Two currencies without an entry have none."""

    def __init__(self, found: Mapping[tuple[str, str], Rate] | None = None) -> None:
        self._found = dict(found or {})

    def between(self, one: str, other: str) -> Rate | None:
        """The rate from ``one`` to ``other``, or None."""
        return SAME if one == other else self._found.get((one, other))


class Book:
    """The limits in force at one epoch. ``open_period`` is the first month not closed."""

    def __init__(self, epoch: int, open_period: int, budgets: Iterable[ScopedBudget]) -> None:
        self.epoch = epoch
        self.open_period = open_period
        self.budgets = tuple(budgets)
        self._by: dict[tuple[Scope, str], list[ScopedBudget]] = {}
        for budget in self.budgets:
            self._by.setdefault((budget.scope, budget.subject), []).append(budget)

    def named(self, scope: Scope, subject: str, span: Span) -> ScopedBudget | None:
        """The one limit of this name, or None."""
        found = [b for b in self._by.get((scope, subject), ()) if b.span is span]
        return found[0] if found else None

    def charges(self, hold: Hold, payer: Payer, rates: Rates, now_ms: int) -> tuple[Charge, ...]:
        """Every window that a job made now must fit, always in the same order.

        Raises:
            Forbidden: a limit is in another currency, and there is no rate.
        """
        if not self._by:
            return ()
        subjects = (
            (Scope.EXPERIMENT, hold.experiment_id),
            (Scope.AGENT, payer.agent_id),
            (Scope.OWNER, payer.owner),
            (Scope.COST_CENTER, payer.cost_center),
            *((Scope.TOKEN, token_id) for token_id in (hold.token_id, *hold.ancestors)),
            (Scope.SESSION, hold.session_id),
        )
        found = [
            _charge(budget, subject, hold, rates, now_ms)
            for scope, subject in subjects
            if subject
            for named in (subject, EACH)
            for budget in self._by.get((scope, named), ())
        ]
        # One order for everybody, so that two reservations cannot wait for each other.
        return tuple(sorted(found, key=lambda charge: (charge.budget.budget_id, charge.subject)))


def _charge(budget: ScopedBudget, subject: str, hold: Hold, rates: Rates, now_ms: int) -> Charge:
    rate = rates.between(hold.cost.currency, budget.currency)
    if rate is None:
        hint = f"an operator must enter a rate from {hold.cost.currency} to {budget.currency}"
        wrong = Violation(
            f"budget.{budget.scope}.currency", budget.currency, hold.cost.currency, hint
        )
        raise Forbidden("no_rate", "a limit is in a currency without a rate", (wrong,))
    period = period_of(budget.span, now_ms)
    return Charge(budget, subject, period, rate.up(hold.cost.cents), rate)


def scoped_budget(row: Row) -> ScopedBudget:
    """A row of ``active_scoped_budgets``."""
    return ScopedBudget(
        text(row, "budget_id"),
        Scope(text(row, "scope")),
        text(row, "subject"),
        Span(text(row, "span")),
        text(row, "currency"),
        maybe_number(row, "limit_cents"),
        maybe_number(row, "limit_shots"),
        number(row, "soft_percent"),
        text(row, "blocked"),
        number(row, "created_ms"),
    )
