"""Money is an integer number of minor units and a currency. There are no floats here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=False)
class Money:
    """``cents`` minor units of ``currency`` (ISO 4217, three upper-case letters).

    Raises:
        ValueError: not an int (a bool is not an int here), or not a currency code.
    """

    cents: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.cents) is not int:
            raise ValueError("money is a whole number of cents")
        code = self.currency
        if len(code) != 3 or not (code.isascii() and code.isalpha() and code.isupper()):
            raise ValueError("currency is three upper-case letters (ISO 4217)")

    def __add__(self, other: Money) -> Money:
        return Money(self.cents + self._same(other), self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.cents - self._same(other), self.currency)

    def __le__(self, other: Money) -> bool:
        return self.cents <= self._same(other)

    def __lt__(self, other: Money) -> bool:
        return self.cents < self._same(other)

    def _same(self, other: Money) -> int:
        if other.currency != self.currency:
            raise ValueError(f"cannot mix {self.currency} and {other.currency}")
        return other.cents

    def __str__(self) -> str:
        sign, cents = ("-", -self.cents) if self.cents < 0 else ("", self.cents)
        return f"{sign}{cents // 100}.{cents % 100:02d} {self.currency}"


@dataclass(frozen=True, slots=True)
class Rate:
    """How many minor units of one currency one minor unit of another is: ``num / den``.

    Raises:
        ValueError: not a fraction of two whole numbers from 1 to `MAX_RATE_PART`.
    """

    num: int = 1
    den: int = 1

    def __post_init__(self) -> None:
        for part in (self.num, self.den):
            if type(part) is not int or not 1 <= part <= MAX_RATE_PART:
                raise ValueError(f"a rate is a fraction of numbers from 1 to {MAX_RATE_PART}")

    def up(self, cents: int) -> int:
        """``cents`` converted and rounded up: a bound must never come out too small."""
        return -(-cents * self.num // self.den)

    def __str__(self) -> str:
        return str(self.num) if self.den == 1 else f"{self.num}/{self.den}"


#: So that a remainder times a numerator fits 64 bits, wherever it is computed.
MAX_RATE_PART = 10**9
SAME = Rate()
