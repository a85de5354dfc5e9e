"""Leases for what runs in this process."""

from __future__ import annotations

import secrets
from typing import Final

from cryogate.domain.secrets import Secret
from cryogate.ports.clock import Clock
from cryogate.ports.credentials import Lease, LeaseIssuer, LeaseTerms, LeaseUnavailable

_LOCAL: Final = "local"


class EmbeddedLeases(LeaseIssuer):
    """Random leases for the local simulators, which need no vendor's key.

    Local adapters check nothing, so ending such a lease has nothing to undo, and none is recorded:
    they cost a job no write.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def _issue(self, terms: LeaseTerms, ttl_s: int) -> Lease:
        if terms.scheme != _LOCAL:
            raise LeaseUnavailable(f"no credential is configured for {terms.scheme}")
        if ttl_s < 1:
            raise LeaseUnavailable("a lease lasts at least one second")
        return Lease(
            lease_id=f"lease_{secrets.token_hex(16)}",
            scheme=terms.scheme,
            expires_ms=self._clock.now_ms() + ttl_s * 1000,
            secret=Secret(secrets.token_bytes(32)),
            terms=terms,
        )

    async def revoke(self, lease_id: str) -> None:
        """End a lease now; a local one has no other side to tell."""
