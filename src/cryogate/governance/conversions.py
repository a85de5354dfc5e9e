"""Rates between currencies: entries of the price book, each with its source and date."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Annotated

import msgspec

from cryogate.domain.errors import CryogateError
from cryogate.domain.money import Rate
from cryogate.governance.price_models import Figure

_EPOCH = date(1970, 1, 1)
_MAX_CONVERSIONS = 1000
Code = Annotated[str, msgspec.Meta(pattern=r"\A[A-Z]{3}\Z")]


class PriceBookInvalid(CryogateError):
    """A price book that cannot be used; says which entry and key, and why."""


class _Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    one: Code = msgspec.field(name="from")
    other: Code = msgspec.field(name="to")
    rate: Figure
    source: Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
    as_of: date


@dataclass(frozen=True, slots=True)
class Conversion:
    """How many units of one currency one unit of another is, who says so, and since when."""

    rate: Rate
    figure: str
    source: str
    as_of: str
    day: int


def days_since_epoch(day: date) -> int:
    """The number of a day, as times in milliseconds count it."""
    return (day - _EPOCH).days


def load_conversions(listed: object, name: str) -> dict[tuple[str, str], Conversion]:
    """The conversions of a price book's file; ``name`` is for messages.

    Raises:
        PriceBookInvalid: not a list of the known form, a pair twice, or a rate that is none.
    """
    if not isinstance(listed, list) or len(listed) > _MAX_CONVERSIONS:
        raise PriceBookInvalid(f"{name}: conversions must be a list of at most {_MAX_CONVERSIONS}")
    found: dict[tuple[str, str], Conversion] = {}
    for place, item in enumerate(listed):
        where = f"{name}: conversion {place}"
        try:
            written = msgspec.convert(item, _Written)
            exact = Fraction(written.rate)
            rate = Rate(exact.numerator, exact.denominator)
        except (msgspec.ValidationError, ZeroDivisionError, ValueError) as error:
            raise PriceBookInvalid(f"{where}: {error}") from error
        pair = written.one, written.other
        if pair in found or written.one == written.other:
            raise PriceBookInvalid(f"{where}: {pair[0]} to {pair[1]} is there twice, or is no pair")
        found[pair] = Conversion(
            rate, written.rate, written.source, written.as_of.isoformat(),
            days_since_epoch(written.as_of),
        )  # fmt: skip
    return found
