"""Token status lists (draft-ietf-oauth-status-list): revocation for verifiers that are offline.

Every access token names a list and a place in it. The list, signed by the keys that sign tokens,
has one bit a token: 1 is revoked. Who verifies offline fetches it every `TTL_S` seconds.

 (1) a process opens a list of its own and gives its places out once each: no question to the
     database for a token, and no two tokens ever share a place
 (2) places come in an order that only this process knows, so a place says nothing of its neighbours
 (3) a bit is what the database says of the token now; a list is made again only when this process
     has heard of a revocation, or when it is half its `TTL_S` old, whoever asks how often
"""

from __future__ import annotations

import asyncio
import secrets
import zlib
from dataclasses import dataclass
from typing import Final

import msgspec

from cryogate.broker.replicas import monotonic_ms
from cryogate.broker.revocation_view import FollowedRevocations
from cryogate.broker.rows import number
from cryogate.ports.clock import Clock
from cryogate.ports.keys import TokenSigner
from cryogate.ports.store import ReadStore, Statement, Store, UnitOfWork
from cryogate.tokens.claims import Status, StatusPlace
from cryogate.tokens.encoding import b64

PATH: Final = "/oauth2/status"
TYPE: Final = "statuslist+jwt"
MEDIA_TYPE: Final = "application/statuslist+jwt"
PLACES: Final = 1 << 16
TTL_S: Final = 15
_LIFE_S: Final = 60
_AGAIN_MS: Final = 1000
_MAX_KEPT: Final = 64


class StatusPlaces:
    """Steps (1) and (2): places for new tokens."""

    def __init__(self, store: Store, clock: Clock, issuer: str) -> None:
        self._store, self._clock, self._issuer = store, clock, issuer
        self._list_id, self._given = 0, PLACES
        self._factor = self._offset = 0
        self._opening = asyncio.Lock()

    async def next(self) -> tuple[int, int]:
        """A list and a place in it that no other token has.

        Raises:
            StoreUnavailable: a new list is needed and cannot be opened.
        """
        async with self._opening:
            if self._given == PLACES:
                params = {"created_ms": self._clock.now_ms()}
                rows = await self._store.commit(
                    UnitOfWork((Statement("status_list_open", params),))
                )
                self._list_id = number(rows[0][0], "list_id")
                # An odd factor makes a permutation of the places.
                self._factor = secrets.randbelow(PLACES // 2) * 2 + 1
                self._offset = secrets.randbelow(PLACES)
                self._given = 0
            place = (self._given * self._factor + self._offset) % PLACES
            self._given += 1
            return self._list_id, place

    def claim(self, list_id: int, place: int) -> Status:
        """The ``status`` claim of a token at a place."""
        return Status(StatusPlace(place, uri(self._issuer, list_id)))


def uri(issuer: str, list_id: int) -> str:
    """Where a list is served."""
    return f"{issuer}{PATH}/{list_id}"


@dataclass(frozen=True, slots=True)
class _Made:
    version: int
    made_ms: int
    token: str


class StatusLists:
    """Step (3): the lists as signed tokens, kept until something more is revoked."""

    def __init__(
        self,
        store: ReadStore,
        signer: TokenSigner,
        view: FollowedRevocations,
        clock: Clock,
        issuer: str,
    ) -> None:
        self._store, self._signer, self._view = store, signer, view
        self._clock, self._issuer = clock, issuer
        self._kept: dict[int, _Made] = {}
        self._making = asyncio.Lock()

    async def token(self, list_id: int) -> str | None:
        """The status list token, or None if there is no such list.

        Raises:
            Unavailable: nobody can say now what is revoked.
        """
        # One at a time: however many ask, a list is made once.
        async with self._making:
            now_ms, version = monotonic_ms(), self._view.version
            kept = self._kept.get(list_id)
            if kept is not None:
                age_ms = now_ms - kept.made_ms
                if age_ms < _AGAIN_MS or (kept.version == version and age_ms < TTL_S * 500):
                    return kept.token
            found = await self._store.fetch_one("status_list", {"list_id": list_id})
            if found is None:
                return None
            token = await self._make(list_id)
            if len(self._kept) >= _MAX_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[list_id] = _Made(version, now_ms, token)
            return token

    async def lists(self) -> tuple[str, ...]:
        """Where lists with tokens that still live are served."""
        rows = await self._store.fetch("status_lists", {"now_ms": self._clock.now_ms()})
        return tuple(uri(self._issuer, number(row, "list_id")) for row in rows)

    async def _make(self, list_id: int) -> str:
        now_ms = self._clock.now_ms()
        bits = bytearray(PLACES // 8)
        rows = await self._store.fetch("status_revoked", {"list_id": list_id, "now_ms": now_ms})
        for row in rows:
            place = number(row, "status_place")
            bits[place // 8] |= 1 << place % 8
        claims = {
            "sub": uri(self._issuer, list_id),
            "iss": self._issuer,
            "iat": now_ms // 1000,
            "exp": now_ms // 1000 + _LIFE_S,
            "ttl": TTL_S,
            "status_list": {"bits": 1, "lst": b64(zlib.compress(bytes(bits), 9))},
        }
        return await self._signer.sign({"typ": TYPE}, msgspec.json.encode(claims))
