"""What a job can cost at most."""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction

import msgspec

from cryogate.circuits import Facts, Program
from cryogate.domain.errors import Refused
from cryogate.domain.money import SAME, Money, Rate


class Unpriced(Refused):
    """No price is known for this backend. An unknown price is a refusal, never zero."""


class Quote(msgspec.Struct, frozen=True):
    """An upper bound, the formula that gave it, and where the price comes from.

    ``bound`` is in the budget's currency. ``price`` is the bound before it was converted at
    ``rate``, whose origin ``conversion`` tells. ``age_days`` is that of the older of price and
    rate; ``stale`` says that it is above what is allowed without a person's yes.
    """

    bound: Money
    formula: str
    source: str
    as_of: str
    age_days: int = 0
    stale: bool = False
    price: Money | None = None
    rate: Rate = SAME
    conversion: str = ""


class PriceBook(ABC):
    """Prices as versioned data."""

    @abstractmethod
    def quote(self, backend: str, facts: Facts, shots: int) -> Quote:
        """The upper bound as the book has it: its own currency, whatever its age.

        Raises:
            Unpriced: no entry for ``backend``, or one that only its vendor can price.
        """

    @abstractmethod
    def per_second(self, backend: str) -> Fraction | None:
        """What a second costs, in cents, where ``backend`` is priced by the time it may run."""


class Prices(ABC):
    """Where the bounds that are held come from."""

    @abstractmethod
    async def quote(self, wanted: Wanted) -> Quote:
        """The upper bound for what is ``wanted``.

        Raises:
            Unpriced: no price, no rate, one that is too old, or a vendor that does not answer.
        """


class Wanted(msgspec.Struct, frozen=True):
    """What is to be priced, for whom, in which currency, and now."""

    backend: str
    program: Program
    facts: Facts
    shots: int
    experiment_id: str
    currency: str
    now_ms: int


class Estimator(ABC):
    """A vendor's own estimate, where its adapter can ask for one."""

    @abstractmethod
    async def estimate(self, wanted: Wanted) -> Money:
        """What the vendor says that ``wanted`` costs. May raise anything: that is no price."""
