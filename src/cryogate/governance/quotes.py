"""Quotes: a price of the book or of the vendor, its age, and the budget's currency.

(1) The book names the price, or there is none. It may say that the vendor has to be asked; no
    answer, another currency or a figure above the entry's ceiling is no price.
(2) A price that is older than allowed is refused, or needs a person's yes, as configured. A price
    of our own (`Nominal`) bills nobody and does not age.
(3) A bound in another currency than the budget's is converted at a rate of the book, upwards.
    There is no rate that nobody entered: none is inverted, none is chained.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cryogate.domain.money import SAME, Money
from cryogate.domain.periods import DAY_MS
from cryogate.governance.pricing import DataPriceBook, Priced
from cryogate.ports.credentials import LeaseUnavailable
from cryogate.ports.pricing import Estimator, Prices, Quote, Unpriced, Wanted

log = logging.getLogger("cryogate.prices")
MAX_CENTS = 2**53 - 1
_VENDOR_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class AgeLimit:
    """From which age, in days, a price is stale (0: never), and what follows."""

    max_days: int = 365
    stale: Literal["refuse", "approve"] = "approve"


class Quotes(Prices):
    """Quotes from a price book; ``estimators`` by scheme, where a vendor can be asked."""

    def __init__(
        self,
        book: DataPriceBook,
        *,
        age: AgeLimit | None = None,
        estimators: Mapping[str, Estimator] | None = None,
    ) -> None:
        self.book = book
        self._age = age or AgeLimit()
        self._estimators = estimators or {}

    async def quote(self, wanted: Wanted) -> Quote:
        """See `Prices.quote`."""
        priced = self.book.find(wanted.backend)
        # (1)
        if priced.formula is None:
            price = await self._ask(wanted, priced)
        else:
            price = self.book.bound(priced, wanted.backend, wanted.facts, wanted.shots)
        # (3) before (2): a rate ages as a price does
        bound, rate, conversion, oldest = price, SAME, "", priced.day
        if price.currency != wanted.currency:
            found = self.book.conversions.get((price.currency, wanted.currency))
            if found is None:
                raise Unpriced(
                    "no_rate", f"no rate from {price.currency} to {wanted.currency} is known"
                )
            rate = found.rate
            bound = Money(rate.up(price.cents), wanted.currency)
            if bound.cents > MAX_CENTS:
                raise Unpriced("unpriced", "the cost is beyond anything that can be held")
            conversion = (
                f"{found.figure} {wanted.currency}/{price.currency}, {found.source}, "
                f"as of {found.as_of}"
            )
            oldest = found.day if oldest is None else min(oldest, found.day)
        # (2)
        age_days = 0 if oldest is None else max(0, wanted.now_ms // DAY_MS - oldest)
        stale = 0 < self._age.max_days < age_days
        if stale and self._age.stale == "refuse":
            raise Unpriced(
                "price_stale", f"the price is {age_days} days old; {self._age.max_days} are allowed"
            )
        return Quote(
            bound,
            priced.text,
            priced.source,
            priced.as_of,
            age_days,
            stale,
            price,
            rate,
            conversion,
        )

    async def _ask(self, wanted: Wanted, priced: Priced) -> Money:
        estimator = self._estimators.get(wanted.backend.partition(":")[0])
        if estimator is None:
            raise Unpriced("no_estimator", "this backend's price is its vendor's to say")
        try:
            async with asyncio.timeout(_VENDOR_TIMEOUT_S):
                answer = await estimator.estimate(wanted)
        except LeaseUnavailable as error:
            raise Unpriced("no_credential", "the vendor cannot be asked what this costs") from error
        except Exception as error:
            log.warning("no estimate from the vendor of %s", wanted.backend, exc_info=error)
            raise Unpriced("no_estimate", "the vendor did not say what this costs") from error
        if (
            type(answer) is not Money
            or answer.currency != priced.currency
            or not 0 <= answer.cents <= MAX_CENTS // 200
        ):
            raise Unpriced("no_estimate", "the vendor's answer is no price")
        cents = -(-answer.cents * (100 + priced.headroom_percent) // 100)
        if cents > priced.ceiling_cents:
            raise Unpriced("above_ceiling", "the vendor's price is above what the book allows")
        return Money(cents, priced.currency)
