"""Vendors' own estimates: the adapter's answer, asked for with a lease of the experiment."""

from __future__ import annotations

from cryogate.domain.money import Money
from cryogate.ports.credentials import LeaseIssuer
from cryogate.ports.pricing import Estimator, Wanted
from cryogate.ports.provider import Provider

_LEASE_S = 60


class VendorEstimates(Estimator):
    """Asks one provider."""

    def __init__(self, provider: Provider, leases: LeaseIssuer) -> None:
        self._provider = provider
        self._leases = leases

    async def estimate(self, wanted: Wanted) -> Money:
        """See `Estimator.estimate`."""
        scheme = self._provider.scheme
        lease = await self._leases.lease(scheme, wanted.experiment_id, _LEASE_S)
        return await self._provider.estimate(wanted.backend, wanted.program, wanted.shots, lease)
