"""Tokens, revocations and leases past their life are deleted, a few at a time.

(1) Nothing is deleted before it has been over for ``keep_ms``, and nothing that still decides
    anything: see the statements. What happened is in the audit log, which is not touched here.
(2) Small units of work with pauses, so that no request waits for a large one. Each process sweeps;
    what another has deleted already is simply not there any more.
(3) The walk through a client's tokens goes on where it was, and begins anew once a day: what was
    kept then for a child of its own may go now.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import msgspec

from cryogate.domain.errors import Unavailable
from cryogate.ports.clock import Clock
from cryogate.ports.store import Row, SqlValue, Statement, Store, UnitOfWork

log = logging.getLogger("cryogate.sweeping")
MOST: Final = 200
_EVERY_S: Final = 600.0
_PAUSE_S: Final = 0.05
_ANEW_MS: Final = 86_400_000


class Sweeper:
    """See the module."""

    def __init__(
        self, store: Store, clock: Clock, keep_ms: int, *, pause_s: float = _PAUSE_S
    ) -> None:
        self._store, self._clock, self._keep_ms, self._pause_s = store, clock, keep_ms, pause_s
        self._from_ms: dict[str, int] = {}
        self._anew_ms = 0

    async def run(self, interval_s: float = _EVERY_S) -> None:
        """`sweep` now and then until cancelled."""
        while True:
            await asyncio.sleep(interval_s)
            try:
                await self.sweep()
            except Unavailable:
                log.warning("rows past their life cannot be swept now", exc_info=True)
            except Exception:
                log.exception("rows past their life could not be swept")

    async def sweep(self) -> None:
        """Delete everything that may go now.

        Raises:
            StoreUnavailable: the database did not answer; the rest goes another time.
        """
        now_ms = self._clock.now_ms()
        before_ms = now_ms - self._keep_ms  # (1)
        if now_ms >= self._anew_ms:  # (3)
            self._from_ms.clear()
            self._anew_ms = now_ms + _ANEW_MS
        for row in await self._store.fetch("swept_clients", {}):
            await self._tokens(str(row["client_id"]), before_ms)
        for name in ("revocations_sweep", "leases_sweep"):
            params: dict[str, SqlValue] = {"before_ms": before_ms, "most": MOST}
            gone = MOST
            while gone == MOST:
                gone = len(await self._delete(name, params))
                await asyncio.sleep(self._pause_s)  # (2)

    async def _tokens(self, client_id: str, before_ms: int) -> None:
        while True:
            from_ms = self._from_ms.get(client_id, 0)
            rows = await self._store.fetch(
                "tokens_old",
                {"client_id": client_id, "from_ms": from_ms, "before_ms": before_ms, "most": MOST},
            )
            if not rows:
                return
            tokens = msgspec.json.encode([str(row["token_id"]) for row in rows]).decode()
            await self._delete("tokens_sweep", {"tokens": tokens, "before_ms": before_ms})
            last_ms = int(rows[-1]["issued_ms"] or 0)
            # those of the same millisecond are looked at again, unless they fill a batch alone
            self._from_ms[client_id] = last_ms if last_ms > from_ms else last_ms + 1
            if len(rows) < MOST:
                return
            await asyncio.sleep(self._pause_s)

    async def _delete(self, name: str, params: dict[str, SqlValue]) -> tuple[Row, ...]:
        work = UnitOfWork((Statement(name, params, rows=None),))
        return tuple((await self._store.commit(work))[0])
