"""A back end of credentials that fails when it is told to, and remembers what it gave out."""

from __future__ import annotations

import asyncio

from cryogate.domain.secrets import Secret
from cryogate.ports.clock import Clock
from cryogate.ports.credentials import LeaseSource, LeaseTerms, Minted


class FakeSource(LeaseSource):
    """``down``: mints nothing. ``stuck``: ends nothing. ``breaks``: prolongs nothing.

    Each counts what was tried. With a ``gate``, a credential is handed out when that opens.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.down = self.stuck = False
        self.prolongs = False
        self.live: dict[str, LeaseTerms] = {}
        self.minted: list[LeaseTerms] = []
        self.tried: list[str] = []
        self.life_ms: int | None = None
        self.breaks = self.hangs = False
        self.asked_for: list[LeaseTerms] = []
        self.asked = asyncio.Event()
        self.gate: asyncio.Event | None = None

    async def mint(self, lease_id: str, terms: LeaseTerms, ttl_s: int) -> Minted:
        self.asked_for.append(terms)
        if self.down:
            raise ConnectionError("the canary-key back end is down")
        self.live[lease_id] = terms
        self.minted.append(terms)
        life_ms = ttl_s * 1000 if self.life_ms is None else self.life_ms
        self.asked.set()
        if self.gate is not None:
            await self.gate.wait()
        return Minted(Secret(b"canary-key"), self._clock.now_ms() + life_ms, lease_id)

    async def prolong(self, handle: str, ttl_s: int) -> int | None:
        if self.breaks:
            raise ConnectionError("canary-key cannot be prolonged")
        return self._clock.now_ms() + ttl_s * 1000 if self.prolongs else None

    async def end(self, handle: str) -> None:
        self.tried.append(handle)
        if self.hangs:
            await asyncio.Event().wait()
        if self.stuck:
            raise ConnectionError("canary-key cannot be ended")
        self.live.pop(handle, None)
