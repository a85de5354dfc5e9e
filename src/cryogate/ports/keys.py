"""Signing keys, as signers and verifiers need them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping


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
