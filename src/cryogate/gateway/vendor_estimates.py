"""Vendors' own estimates: the adapter's answer, asked for with a lease of the experiment."""

from __future__ import annotations

from cryogate.domain.money import Money
from cryogate.gateway.leases import Leases
from cryogate.ports.clock import Clock
from cryogate.ports.credentials import LeaseIssuer, LeaseTerms
from cryogate.ports.pricing import Estimator, Wanted
from cryogate.ports.provider import Provider

_LEASE_S = 300


class VendorEstimates(Estimator):
    """Asks one provider. Nobody's agent is named in its leases: they can belong to several."""

    def __init__(self, provider: Provider, leases: LeaseIssuer, clock: Clock) -> None:
        self._provider = provider
        self._leases = Leases(leases, clock, _LEASE_S)

    async def estimate(self, wanted: Wanted) -> Money:
        """See `Estimator.estimate`."""
        terms = LeaseTerms(self._provider.scheme, wanted.backend, wanted.experiment_id)
        lease = await self._leases.get(terms)
        return await self._provider.estimate(wanted.backend, wanted.program, wanted.shots, lease)
