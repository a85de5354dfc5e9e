"""What a job can cost at most."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from cryogate.circuits import Facts
from cryogate.domain.errors import Refused
from cryogate.domain.money import Money


class Unpriced(Refused):
    """No price is known for this backend. An unknown price is a refusal, never zero."""


@dataclass(frozen=True, slots=True)
class Quote:
    """An upper bound, the formula that gave it, and where the price comes from."""

    bound: Money
    formula: str
    source: str
    as_of: str


class PriceBook(ABC):
    """Prices as versioned data."""

    @abstractmethod
    def quote(self, backend: str, facts: Facts, shots: int) -> Quote:
        """The upper bound for ``shots`` executions.

        Raises:
            Unpriced: the book has no entry for ``backend``.
        """
