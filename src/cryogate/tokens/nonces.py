"""Server-chosen nonces for DPoP proofs (RFC 9449 sections 8 and 9).

A nonce is a second and an HMAC of it under a key that only this process has. It shows that the
proof was made after the nonce was, and for this process, without anything being stored; so it
also serves where several processes answer under one address and each remembers its own proofs.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from cryogate.tokens.encoding import b64, unb64
from cryogate.tokens.errors import MalformedToken


class NonceSource:
    """Makes and recognises nonces of this process, good for ``life_s`` seconds."""

    def __init__(self, *, life_s: int = 60) -> None:
        self._life_s = life_s
        self._key = secrets.token_bytes(32)

    def fresh(self, now_s: int) -> str:
        """A nonce made at ``now_s`` (epoch seconds)."""
        return self._make(now_s)

    def accepts(self, nonce: str, now_s: int) -> bool:
        """Whether this process made ``nonce`` and its time is not over."""
        try:
            made_s = int.from_bytes(unb64(nonce)[:8])
        except MalformedToken:
            return False
        if not hmac.compare_digest(nonce.encode(), self._make(made_s).encode()):
            return False
        return made_s <= now_s < made_s + self._life_s

    def _make(self, second: int) -> str:
        stamp = second.to_bytes(8)
        return b64(stamp + hmac.digest(self._key, stamp, hashlib.sha256)[:16])
