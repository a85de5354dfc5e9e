"""How often somebody may ask: in memory, constant time, bounded, and never too lenient.

Each key has a theoretical arrival time (GCRA): a request moves it one step ahead, and is refused
when it lies further ahead than a burst. Times are kept in two tables of a fixed size at places
that a keyed hash of the key names. Where keys share a place, the later time stands; a key is
judged by the earlier of its two. So nothing is ever evicted, which would let somebody flood the
tables to be forgotten: sharing can only make a key wait too long, and needs both places to.
"""

from __future__ import annotations

import secrets
import time
from array import array
from collections.abc import Callable
from typing import Final

_SLOTS: Final = 1 << 15


class RateLimiter:
    """``per_s`` requests a second for each key, and ``burst`` at once."""

    def __init__(
        self,
        per_s: float,
        burst: int,
        *,
        slots: int = _SLOTS,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        if per_s <= 0 or burst < 1 or slots & (slots - 1):
            raise ValueError("a rate is positive, a burst at least 1, slots a power of two")
        self._step = 1.0 / per_s
        self._ahead = (burst - 1) * self._step
        self._mask = slots - 1
        self._monotonic_s = monotonic_s
        self._one, self._two = (array("d", bytes(8 * slots)) for _ in range(2))
        self._salts = secrets.randbits(60), secrets.randbits(60)

    def take(self, key: str) -> float:
        """0.0 when the request may go on, else the seconds after which one may."""
        now = self._monotonic_s()
        one, two, (salt, pepper) = self._one, self._two, self._salts
        i, j = hash((salt, key)) & self._mask, hash((pepper, key)) & self._mask
        due = max(now, min(one[i], two[j]))
        wait = due - now - self._ahead
        if wait > 0:
            return wait
        due += self._step
        if one[i] < due:
            one[i] = due
        if two[j] < due:
            two[j] = due
        return 0.0
