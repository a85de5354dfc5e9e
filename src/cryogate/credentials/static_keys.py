"""Leases of a key that its vendor cannot mint: the stored secret itself, lent for minutes.

The vendor knows nothing of such a lease. What it bounds is ours: how long this process may use the
key for one agent and experiment before it must ask again, and so how soon a rotation or removal of
the secret is felt. Ending it is complete when the process has dropped it.
"""

from __future__ import annotations

from cryogate.ports.clock import Clock
from cryogate.ports.credentials import LeaseSource, LeaseTerms, Minted, RootSecrets


class StaticKeys(LeaseSource):
    """Lends what `RootSecrets` keeps for the scheme."""

    def __init__(self, secrets: RootSecrets, clock: Clock) -> None:
        self._secrets, self._clock = secrets, clock

    async def mint(self, lease_id: str, terms: LeaseTerms, ttl_s: int) -> Minted:
        """The experiment's own secret if it has one, else the scheme's."""
        secret = await self._secrets.value(terms.scheme, terms.experiment_id)
        return Minted(secret, self._clock.now_ms() + ttl_s * 1000, lease_id)

    async def end(self, handle: str) -> None:
        """Nothing is known of it elsewhere."""
