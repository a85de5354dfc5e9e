"""Server-chosen nonces for DPoP proofs (RFC 9449 sections 8 and 9).

A nonce is a second, a *place*, and an HMAC of both. It shows that the proof was made after the
nonce was, and for that place, without anything being stored. Where several processes answer under
one address they share the HMAC's key, so each knows the others' nonces when it sees them:

| place | who takes the proof | where replays are seen |
|---|---|---|
| this process | this process | in its memory |
| the shared store | any process | in the store |
| another process, or a store that forgot | nobody: a nonce for the shared store is the answer | |

So no proof is ever good in two memories.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from enum import Enum
from typing import Final

from cryogate.tokens.encoding import b64, unb64
from cryogate.tokens.errors import MalformedToken

PLACE_BYTES: Final = 8
# Replicas' clocks differ: a nonce may have been made a little in our future.
_MAX_AHEAD_S: Final = 5


class Place(Enum):
    """Whose nonce it is."""

    HERE = "here"
    SHARED = "shared"
    ELSEWHERE = "elsewhere"
    UNKNOWN = "unknown"


class NonceSource:
    """Makes and recognises nonces, good for ``life_s`` seconds.

    Alone until `share` tells the key and the place that all processes of a deployment have.
    """

    def __init__(self, *, life_s: int = 60) -> None:
        self.life_s = life_s
        self._key = secrets.token_bytes(32)
        self._here = secrets.token_bytes(PLACE_BYTES)
        self._shared: bytes | None = None

    def share(self, key: bytes, place: bytes) -> None:
        """Use the deployment's key, and ``place`` for its shared store.

        Raises:
            ValueError: not a key and a place.
        """
        if len(key) < 32 or len(place) != PLACE_BYTES:
            raise ValueError("not a key and a place")
        self._key, self._shared = key, place

    def fresh(self, now_s: int, *, shared: bool = False) -> str:
        """A nonce made at ``now_s`` (epoch seconds), for here or for the shared store."""
        place = self._shared if shared and self._shared is not None else self._here
        return self._make(now_s.to_bytes(8) + place)

    def place(self, nonce: str, now_s: int) -> Place:
        """Whose nonce it is; `Place.ELSEWHERE` also for one of ours whose time is over."""
        try:
            stamp = unb64(nonce)[: 8 + PLACE_BYTES]
        except MalformedToken:
            return Place.UNKNOWN
        if len(stamp) != 8 + PLACE_BYTES:
            return Place.UNKNOWN
        if not hmac.compare_digest(nonce.encode(), self._make(stamp).encode()):
            return Place.UNKNOWN
        made_s, place = int.from_bytes(stamp[:8]), stamp[8:]
        if place == self._here:
            # our own clock made it, and never steps back
            return Place.HERE if made_s <= now_s < made_s + self.life_s else Place.UNKNOWN
        if place == self._shared and made_s - _MAX_AHEAD_S <= now_s < made_s + self.life_s:
            return Place.SHARED
        return Place.ELSEWHERE

    def accepts(self, nonce: str, now_s: int) -> bool:
        """Whether this process made ``nonce`` and its time is not over."""
        return self.place(nonce, now_s) is Place.HERE

    def _make(self, stamp: bytes) -> str:
        return b64(stamp + hmac.digest(self._key, stamp, hashlib.sha256)[:16])
