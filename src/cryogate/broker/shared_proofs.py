"""Used DPoP proofs of all processes, in the store (RFC 9449 section 11.1).

 (1) one row says which *place* the store is and holds the sealed key of its nonces; whoever finds
     no row makes one, and one of several wins
 (2) a use is one insert, which asks for that very row: the key of the digest tells a replay
 (3) PostgreSQL keeps both tables without writing them to its log, so that a use costs no disk
     write. It empties such tables after a crash and on a standby: then (2) fails, for the row is
     gone, and (1) makes a new place with a new key. What was used before carries a nonce of the
     old place, which nobody takes any more

So the store may forget everything at any time, and no proof is good twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from typing import Final

from cryogate.broker.rows import text
from cryogate.domain.errors import Unavailable
from cryogate.domain.secrets import Secret
from cryogate.ports.clock import Clock
from cryogate.ports.credentials import Sealer
from cryogate.ports.store import AlreadyExists, GuardFailed, SqlValue, Statement, Store, UnitOfWork
from cryogate.tokens.nonces import PLACE_BYTES, NonceSource
from cryogate.tokens.replay import SharedReplay

log = logging.getLogger("cryogate.broker")

_SWEEP_S: Final = 10.0
# Nonces are good for their life by any process's clock; uses are kept that much longer.
_SLACK_MS: Final = 60_000
_CONTEXT: Final = "dpop-nonces "


class SharedProofs(SharedReplay):
    """See the module. ``nonces`` is told the place and the key."""

    def __init__(self, store: Store, sealer: Sealer, clock: Clock, nonces: NonceSource) -> None:
        self._store, self._sealer, self._clock, self._nonces = store, sealer, clock, nonces
        self._place = ""

    async def start(self) -> None:
        """Step (1).

        Raises:
            Unavailable: the store did not answer, or the key cannot be opened with this master key.
        """
        place = secrets.token_bytes(PLACE_BYTES).hex()
        sealed = self._sealer.seal(Secret(secrets.token_bytes(32)), _CONTEXT + place)
        made: dict[str, SqlValue] = {
            "place": place,
            "sealed": sealed,
            "created_ms": self._clock.now_ms(),
        }
        await self._store.commit(UnitOfWork((Statement("proof_place_insert", made, rows=None),)))
        row = await self._store.fetch_one("proof_place", {})
        if row is None:
            raise Unavailable("the place of used proofs is gone again")
        place = text(row, "place")
        try:
            key = self._sealer.open(text(row, "sealed"), _CONTEXT + place)
        except ValueError as error:
            raise Unavailable("the nonces' key is sealed by another master key") from error
        self._nonces.share(key.reveal(), bytes.fromhex(place))
        self._place = place

    async def use(self, jkt: str, jti: str) -> bool | None:
        """See `SharedReplay.use`."""
        digest = hashlib.blake2b(f"{jkt}.{jti}".encode(), digest_size=20).hexdigest()
        until_ms = self._clock.now_ms() + 2 * self._nonces.life_s * 1000 + _SLACK_MS
        insert = Statement(  # (2)
            "proof_use", {"digest": digest, "place": self._place, "expires_ms": until_ms}
        )
        try:
            await self._store.commit(UnitOfWork((insert,)))
        except AlreadyExists:
            return False
        except GuardFailed:  # (3)
            log.warning("used proofs were forgotten by the store: every proof needs a new nonce")
            await self.start()
            return None
        return True

    async def sweep(self) -> None:
        """Forget uses whose nonces are dead, now and then, for ever."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            done = Statement("proof_sweep", {"before_ms": self._clock.now_ms()}, rows=None)
            try:
                await self._store.commit(UnitOfWork((done,)))
            except Unavailable:
                log.warning("used proofs cannot be swept", exc_info=True)
