"""(4) An upper bound of the price is known, and fits what the token may still spend."""

from __future__ import annotations

from collections.abc import Sequence

from cryogate.domain.decisions import Violation
from cryogate.gateway.case import Case
from cryogate.gateway.pipeline import Check
from cryogate.ports.pricing import PriceBook, Unpriced


class PriceCheck(Check):
    """Quotes from the price book. An unknown price is a violation, never zero."""

    step = "4"

    def __init__(self, prices: PriceBook) -> None:
        self._prices = prices

    async def __call__(self, case: Case) -> Sequence[Violation]:
        """Fill in the quote."""
        if case.backend is None or case.facts is None:
            return ()
        try:
            case.quote = self._prices.quote(case.backend.name, case.facts, case.request.shots)
        except Unpriced:
            return (Violation("price.known", True, False, "ask an operator to price this backend"),)
        bound, budget = case.quote.bound, case.standing.budget
        if bound.currency != budget.currency:
            return (
                Violation(
                    "budget.currency", budget.currency, bound.currency, "use another experiment"
                ),
            )
        found = []
        left = case.caller.grant.max_cost_cents - case.standing.used_cents
        if bound.cents > left:
            found.append(
                Violation(
                    "max_cost_cents",
                    max(left, 0),
                    bound.cents,
                    "use fewer shots or gates, or request a token with a higher cost limit",
                )
            )
        if bound.cents > budget.left_cents:
            found.append(
                Violation(
                    "budget.cents",
                    budget.left_cents,
                    bound.cents,
                    "ask the experiment's owner to raise its budget",
                )
            )
        if case.request.shots > budget.left_shots:
            found.append(
                Violation(
                    "budget.shots",
                    budget.left_shots,
                    case.request.shots,
                    "ask the experiment's owner to raise its shot budget",
                )
            )
        return found
