"""Signing keys, as signers, verifiers and operators need them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# A key that signs no more is served for the longest token life, and slack for clocks.
OVERLAP_MS: Final = 3_600_000 + 60_000


class TokenSigner(ABC):
    """Signs access tokens. The private key may live elsewhere (KMS, transit)."""

    @abstractmethod
    async def sign(self, header: Mapping[str, str], payload: bytes) -> str:
        """Compact JWS of ``payload``; adds ``alg`` and ``kid``.

        Raises:
            Unavailable: the key cannot be used now.
        """


class TokenKeys(ABC):
    """Public keys that verify access tokens."""

    @abstractmethod
    def public_jwks(self) -> Mapping[str, Mapping[str, str]]:
        """``kid → public JWK`` of every key that is accepted now."""

    @abstractmethod
    def generation(self) -> int:
        """Changes whenever the set changes; caches of verified tokens flush on it."""


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A signing key as operators see it. Times are epoch milliseconds."""

    kid: str
    created_ms: int
    retired_ms: int | None
    signs: bool


class SigningKeys(TokenSigner, TokenKeys):
    """A set of keys that are rotated: sealed in the store, or kept by a service elsewhere.

    What every kind promises: a new key is published before it signs, one that signs no more is
    served until its last token has expired, and a distrusted one is not served at all.
    """

    @abstractmethod
    async def start(self) -> None:
        """Load the keys; make the first if there is none.

        Raises:
            Unavailable: they cannot be had.
        """

    @abstractmethod
    async def refresh(self) -> None:
        """Load keys that other processes made or retired.

        Raises:
            Unavailable: as `start`; the keys known so far go on.
        """

    @abstractmethod
    async def rotate(self, actor: str, *, distrust_old: bool = False) -> KeyInfo:
        """A new key. The old ones are served on, or with ``distrust_old`` end at once, and every
        token that they signed with them.

        Raises:
            Unavailable: the old keys go on.
        """

    @abstractmethod
    def keys(self) -> tuple[KeyInfo, ...]:
        """All keys that are served now, oldest first."""
