"""Keeps signing keys fresh: hears of other processes' rotations, and rotates on schedule."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from cryogate.domain.errors import Unavailable
from cryogate.ports.clock import Clock
from cryogate.ports.keys import SigningKeys

log = logging.getLogger("cryogate.broker")

CHANNEL: Final = "cryogate_keys"


class KeyKeeper:
    """``rotate_after_ms`` is the age at which the newest key gets a successor; 0: never.

    Two processes that find it due at once make two keys. That is one more than needed and nothing
    worse: both are published, and the later one signs.
    """

    def __init__(self, keys: SigningKeys, clock: Clock, rotate_after_ms: int) -> None:
        self._keys, self._clock, self._rotate_after_ms = keys, clock, rotate_after_ms
        self._wake = asyncio.Event()

    def nudge(self, _notice: str = "") -> None:
        """Look at the keys now: another process changed them."""
        self._wake.set()

    async def run(self, interval_s: float) -> None:
        """`turn` every ``interval_s`` seconds, and at once on `nudge`, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(interval_s):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self.turn()
            except Unavailable:
                log.warning("signing keys cannot be looked at now", exc_info=True)

    async def turn(self) -> None:
        """Load what changed, and rotate when it is due.

        Raises:
            Unavailable: the keys known so far go on.
        """
        await self._keys.refresh()
        known = self._keys.keys()
        newest_ms = max((key.created_ms for key in known), default=None)
        if not self._rotate_after_ms or newest_ms is None:
            return
        if self._clock.now_ms() - newest_ms >= self._rotate_after_ms:
            await self._keys.rotate("schedule")
