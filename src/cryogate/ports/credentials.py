"""Vendor credentials, leased for minutes and never shown to an agent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from cryogate.domain.errors import Unavailable
from cryogate.domain.secrets import Secret


class LeaseUnavailable(Unavailable):
    """No credential could be had, so nothing is sent."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A short-lived credential for one provider scheme."""

    lease_id: str
    scheme: str
    expires_ms: int
    secret: Secret


class LeaseIssuer(ABC):
    """Where leases come from. Adapters may raise anything; `lease` wraps it."""

    @abstractmethod
    async def _issue(self, scheme: str, experiment_id: str, ttl_s: int) -> Lease:
        """A fresh lease."""

    @abstractmethod
    async def revoke(self, lease_id: str) -> None:
        """End a lease now."""

    async def lease(self, scheme: str, experiment_id: str, ttl_s: int) -> Lease:
        """A lease for ``scheme``, good for at most ``ttl_s`` seconds.

        Raises:
            LeaseUnavailable: whatever went wrong.
        """
        try:
            return await self._issue(scheme, experiment_id, ttl_s)
        except LeaseUnavailable:
            raise
        except Exception as error:
            raise LeaseUnavailable(f"no credential for {scheme}") from error


class Sealer(ABC):
    """Encrypts what must rest on disk. ``context`` is authenticated, not stored."""

    @abstractmethod
    def seal(self, value: Secret, context: str) -> str:
        """Printable ciphertext."""

    @abstractmethod
    def open(self, sealed: str, context: str) -> Secret:
        """The value.

        Raises:
            ValueError: another key, another context, or altered.
        """
