"""Who else must have heard: a row for every replica, and the wait for all of them.

What a replica promises, and why the wait may then end:

 (a) it accepts nothing before its row is there and it has read the feed *after* that
 (b) it accepts nothing when the last renewal of its row, or the last read of the feed, began
     longer ago than ``bound_ms`` on its monotonic clock
 (c) ``enforced_seq`` in its row is a revocation up to which it has read the feed

A waiter looks at the rows after its revocation ``n`` has committed. A replica without a row has
(a) still before it, so it will read ``n``. A row with ``enforced_seq >= n`` enforces it, by (c).
Any other replica has either read ``n`` without having told so, or read the feed last before ``n``
was there: then (b) makes it refuse once ``bound_ms`` has passed since. So the wait ends after
``bound_ms`` at the latest, and no replica accepts what was revoked (R1, R3).

A row that nobody renewed in all that time belongs to a process that is dead or cut off. It is
removed, so that it is waited for once; whoever comes back begins with (a).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryogate.broker.rows import number, text
from cryogate.domain.errors import Unavailable
from cryogate.ports.clock import Clock
from cryogate.ports.store import GuardFailed, Row, SqlValue, Statement, Store, UnitOfWork

# For clocks of different machines that do not run equally fast.
SLACK_MS: Final = 100
_FIRST_PAUSE_S: Final = 0.002
_LONGEST_PAUSE_S: Final = 0.02


def monotonic_ms() -> int:
    """Milliseconds of a clock that nobody can set."""
    return time.monotonic_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a revocation has come: who enforces it, and who refuses everything instead."""

    enforcing: tuple[str, ...]
    refusing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReplicaInfo:
    """A replica as operators see it. Times are epoch milliseconds of its own clock."""

    replica_id: str
    enforced_seq: int
    bound_ms: int
    started_ms: int
    seen_ms: int


class Replicas:
    """This process's row, and the others'. ``bound_ms`` is this process's promise (b)."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        replica_id: str,
        bound_ms: int,
        *,
        monotonic_ms: Callable[[], int] = monotonic_ms,
    ) -> None:
        self._store, self._clock, self._monotonic_ms = store, clock, monotonic_ms
        self.replica_id, self.bound_ms = replica_id, bound_ms

    async def beat(self, enforced_seq: int) -> None:
        """Renew the row, or make it. Only before a read of the feed, for (a).

        Raises:
            StoreUnavailable: nobody knows of this replica now.
        """
        params: dict[str, SqlValue] = {
            "replica_id": self.replica_id,
            "enforced_seq": enforced_seq,
            "bound_ms": self.bound_ms,
            "now_ms": self._clock.now_ms(),
        }
        await self._store.commit(UnitOfWork((Statement("replica_beat", params),)))

    async def confirm(self, enforced_seq: int) -> bool:
        """Tell that the feed is enforced up to here. False: the row is gone, begin with `beat`.

        Raises:
            StoreUnavailable: it could not be told.
        """
        params: dict[str, SqlValue] = {
            "replica_id": self.replica_id,
            "enforced_seq": enforced_seq,
            "now_ms": self._clock.now_ms(),
        }
        try:
            await self._store.commit(UnitOfWork((Statement("replica_confirm", params),)))
        except GuardFailed:
            return False
        return True

    async def leave(self) -> None:
        """Remove the row: this process accepts nothing any more.

        Raises:
            StoreUnavailable: the row stays, and others will wait for it once.
        """
        statement = Statement("replica_leave", {"replica_id": self.replica_id}, rows=None)
        await self._store.commit(UnitOfWork((statement,)))

    async def all(self) -> tuple[ReplicaInfo, ...]:
        """Every row."""
        rows = await self._store.fetch("replicas", {})
        return tuple(
            ReplicaInfo(
                text(row, "replica_id"),
                number(row, "enforced_seq"),
                number(row, "bound_ms"),
                number(row, "started_ms"),
                number(row, "seen_ms"),
            )
            for row in rows
        )

    async def reached(self, rev_seq: int) -> Reach:
        """Return when every replica enforces revocation ``rev_seq`` or refuses everything.

        ``rev_seq`` has been committed. Takes no longer than the longest bound, even when the
        database does not answer: then nobody can read the feed either.
        """
        began_ms, pause_s = self._monotonic_ms(), _FIRST_PAUSE_S
        first: dict[str, int] = {}
        rows: tuple[Row, ...] = ()
        while True:
            try:
                rows = tuple(await self._store.fetch("replicas", {}))
            except Unavailable:
                pass  # the rows seen last, or none, decide with the clock
            else:
                for row in rows:
                    first.setdefault(text(row, "replica_id"), number(row, "beats"))
                behind = [row for row in rows if number(row, "enforced_seq") < rev_seq]
                if not behind:
                    return Reach(tuple(text(row, "replica_id") for row in rows), ())
            waited_ms = self._monotonic_ms() - began_ms
            longest_ms = max((number(row, "bound_ms") for row in rows), default=0)
            if waited_ms > max(longest_ms, self.bound_ms) + SLACK_MS:
                break
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        enforcing, refusing = list[str](), list[str]()
        for row in rows:
            name = text(row, "replica_id")
            told = number(row, "enforced_seq") >= rev_seq
            (enforcing if told else refusing).append(name)
            if not told and number(row, "beats") == first.get(name):
                await self._forget(row)
        return Reach(tuple(enforcing), tuple(refusing))

    async def _forget(self, row: Row) -> None:
        params = {"replica_id": row["replica_id"], "beats": row["beats"]}
        try:
            await self._store.commit(UnitOfWork((Statement("replica_forget", params, rows=None),)))
        except Unavailable:
            return  # it is waited for once more
