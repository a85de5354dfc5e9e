"""(4) An upper bound of the price is known, and fits what may still be spent."""

from __future__ import annotations

from collections.abc import Sequence

from cryogate.domain.decisions import Obligation, ObligationKind, Violation
from cryogate.gateway.case import Case, payer_of
from cryogate.gateway.pipeline import Check
from cryogate.ports.budgets import Hold, Ledger
from cryogate.ports.pricing import Prices, Quote, Unpriced, Wanted

_HINTS = {
    "price_stale": "ask an operator to bring the price book up to date",
    "no_rate": "use an experiment whose budget is in the currency of the price",
    "no_credential": "there is no credential for this vendor now; operators know; try again later",
    "no_estimate": "the vendor gave no price; try again later",
    "above_ceiling": "use fewer shots or gates",
}


class PriceCheck(Check):
    """Quotes from the price book. An unknown price is a violation, never zero."""

    step = "4"

    def __init__(self, prices: Prices, ledger: Ledger) -> None:
        self._prices = prices
        self._ledger = ledger

    async def __call__(self, case: Case) -> Sequence[Violation]:
        """Fill in the quote; a price that is too old adds the need for a person's yes."""
        if case.backend is None or case.facts is None or case.program is None:
            return ()
        caller, budget, shots = case.caller, case.standing.budget, case.request.shots
        wanted = Wanted(
            case.backend.name, case.program, case.facts, shots,
            caller.grant.experiment_id, budget.currency, case.now_ms,
        )  # fmt: skip
        try:
            quote = case.quote = await self._prices.quote(wanted)
        except Unpriced as refusal:
            hint = _HINTS.get(refusal.code, "ask an operator to price this backend")
            name = "price.known" if refusal.code == "unpriced" else f"price.{refusal.code}"
            return (Violation(name, True, False, f"{refusal.detail}; {hint}"),)
        if quote.stale:
            reason = f"the price is {quote.age_days} days old"
            case.obligations.append(Obligation(ObligationKind.APPROVAL, reason))
        hold = Hold(
            "", caller.grant.experiment_id, caller.token_id, case.request.session_id,
            quote.bound, shots,
        )  # fmt: skip
        scoped = await self._ledger.review(hold, payer_of(case), case.now_ms)
        return (*_totals(case, quote), *scoped)


def _totals(case: Case, quote: Quote) -> Sequence[Violation]:
    bound, budget = quote.bound, case.standing.budget
    found = []
    left = case.caller.grant.max_cost_cents - case.standing.used_cents
    if bound.cents > left:
        hint = "use fewer shots or gates, or request a token with a higher cost limit"
        found.append(Violation("max_cost_cents", max(left, 0), bound.cents, hint))
    if budget.blocked:
        hint = "a bill came out above its bound; an operator must look and unblock the budget"
        found.append(Violation("budget.blocked", None, budget.blocked, hint))
    if bound.cents > budget.left_cents:
        hint = "ask the experiment's owner to raise its budget"
        found.append(Violation("budget.cents", budget.left_cents, bound.cents, hint))
    if case.request.shots > budget.left_shots:
        hint = "ask the experiment's owner to raise its shot budget"
        found.append(Violation("budget.shots", budget.left_shots, case.request.shots, hint))
    return found
