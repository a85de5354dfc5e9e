"""Days and months as numbers: 20261125, 202611; ``TOTAL`` is the one period without an end.

All of them are UTC. A number orders like the time it names, in every database alike.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache

TOTAL = 0
DAY_MS = 86_400_000
_EPOCH = date(1970, 1, 1)
_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])", re.ASCII)


class Span(StrEnum):
    """How long a limit runs before it starts anew."""

    DAY = "day"
    MONTH = "month"
    TOTAL = "total"


@lru_cache(maxsize=8)
def _date(day: int) -> date:
    return _EPOCH + timedelta(days=day)


def day_of(at_ms: int) -> int:
    """The UTC day of a time: 20261125."""
    found = _date(at_ms // DAY_MS)
    return found.year * 10_000 + found.month * 100 + found.day


def month_of(at_ms: int) -> int:
    """The UTC month of a time: 202611."""
    found = _date(at_ms // DAY_MS)
    return found.year * 100 + found.month


def period_of(span: Span, at_ms: int) -> int:
    """The period of ``span`` that a time is in."""
    if span is Span.DAY:
        return day_of(at_ms)
    return month_of(at_ms) if span is Span.MONTH else TOTAL


def next_month(month: int) -> int:
    """The month after 202611 is 202612; after 202612 it is 202701."""
    return month + 1 if month % 100 < 12 else month + 89


def bounds(period: int) -> tuple[int, int]:
    """First millisecond of a day or month, and the first one after it."""
    if period == TOTAL:
        return 0, 2**53 - 1
    if period > 999_999:
        first = datetime(period // 10_000, period // 100 % 100, period % 100, tzinfo=UTC)
        after = first + timedelta(days=1)
    else:
        first = datetime(period // 100, period % 100, 1, tzinfo=UTC)
        later = next_month(period)
        after = datetime(later // 100, later % 100, 1, tzinfo=UTC)
    return _ms(first), _ms(after)


def _ms(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def parse_month(text: str) -> int:
    """202611 of ``2026-11``.

    Raises:
        ValueError: another spelling, or a year that no calendar here has.
    """
    found = _MONTH.fullmatch(text)
    if found is None or not 1970 <= int(found[1]) <= 9000:
        raise ValueError("a month is written 2026-11")
    return int(found[1]) * 100 + int(found[2])


def show(period: int) -> str:
    """``2026-11-25``, ``2026-11`` or ``total``."""
    if period == TOTAL:
        return "total"
    if period > 999_999:
        return f"{period // 10_000:04d}-{period // 100 % 100:02d}-{period % 100:02d}"
    return f"{period // 100:04d}-{period % 100:02d}"
