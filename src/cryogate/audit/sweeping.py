"""Old heads go; those that tell something stay.

A head is signed every second while there are events, and has 4 kB with its ML-DSA signature.
Receipts, evidence and exports carry the head that they rest on; heads that were cosigned or
time-stamped are kept beside what was said of them; proofs are made from the tree. So none of them
needs the table of heads. What does is `audit verify`: each head is one more root that the entries
must have. There stay

(1) every head of the last day,
(2) of each hour of the last thirty days its last one,
(3) of each day before that its last one: the newest of all is always the last of its span.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from cryogate.domain.errors import Unavailable
from cryogate.ports.clock import Clock
from cryogate.ports.store import Statement, Store, UnitOfWork

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
_ALL_MS: Final = _DAY_MS
_HOURS_MS: Final = 30 * _DAY_MS
_AT_ONCE: Final = 24


class HeadSweeper:
    """See the module."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        # up to where the heads were swept, by the width of the span
        self._done: dict[int, int] = {_HOUR_MS: 0, _DAY_MS: 0}

    async def run(self, interval_s: float = 3600.0) -> None:
        """Sweep until cancelled."""
        while True:
            with contextlib.suppress(Unavailable):
                await self.sweep()
            await asyncio.sleep(interval_s)

    async def sweep(self) -> None:
        """(2) and (3), from where the last sweep ended.

        Raises:
            StoreUnavailable: the database did not answer; what was done stands.
        """
        now_ms = self._clock.now_ms()
        await self._spans(_HOUR_MS, now_ms - _ALL_MS)
        await self._spans(_DAY_MS, now_ms - _HOURS_MS)

    async def _spans(self, width: int, end_ms: int) -> None:
        """Every span of ``width`` that is over before ``end_ms``; empty ones are jumped over."""
        while True:
            statements: list[Statement] = []
            while len(statements) < _AT_ONCE:
                since = {"since_ms": self._done[width]}
                row = await self._store.fetch_one("heads_oldest", since)
                oldest = None if row is None else row["created_ms"]
                if not isinstance(oldest, int):
                    break
                first = oldest - oldest % width
                if first + width > end_ms:
                    break
                span = {"first_ms": first, "past_ms": first + width}
                statements.append(Statement("heads_sweep", span, rows=None))
                self._done[width] = first + width
            if not statements:
                return
            await self._store.commit(UnitOfWork(tuple(statements)))
            await asyncio.sleep(0)
