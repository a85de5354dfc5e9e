"""Vendor credentials, leased for minutes and never shown to an agent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from cryogate.domain.errors import Unavailable
from cryogate.domain.secrets import Secret


class LeaseUnavailable(Unavailable):
    """No credential could be had, so nothing is sent."""


class LeaseNotRevoked(Unavailable):
    """The credential may still work. It is tried again until it does not."""


class LeaseTerms(msgspec.Struct, frozen=True):
    """What a lease is for: nothing else may be done with it, where the vendor can enforce that.

    ``agent_id`` is empty for what is asked on nobody's behalf, such as a list of devices.
    """

    scheme: str
    backend: str = ""
    experiment_id: str = ""
    agent_id: str = ""
    session_id: str = ""
    cost_center: str = ""


@dataclass(frozen=True, slots=True)
class Lease:
    """A short-lived credential for one provider scheme, and what it is for."""

    lease_id: str
    scheme: str
    expires_ms: int
    secret: Secret
    terms: LeaseTerms = field(default_factory=lambda: LeaseTerms(""))


class LeaseIssuer(ABC):
    """Where leases come from. Adapters may raise anything; `lease` and `renew` wrap it."""

    @abstractmethod
    async def _issue(self, terms: LeaseTerms, ttl_s: int) -> Lease:
        """A fresh lease."""

    async def _renew(self, lease: Lease, ttl_s: int) -> Lease:
        """The same lease for longer, or another one in its place."""
        return await self._issue(lease.terms, ttl_s)

    @abstractmethod
    async def revoke(self, lease_id: str) -> None:
        """End a lease now; one that has ended stays ended.

        Raises:
            LeaseNotRevoked: it may still work; it is tried again without being asked.
        """

    def ended(self, lease_id: str) -> bool:
        """Whether this process knows that the lease must not be used any more. Never waits."""
        return False

    async def lease(self, terms: LeaseTerms, ttl_s: int) -> Lease:
        """A lease for ``terms``, good for about ``ttl_s`` seconds.

        Raises:
            LeaseUnavailable: whatever went wrong.
        """
        try:
            return await self._issue(terms, ttl_s)
        except LeaseUnavailable:
            raise
        except Exception as error:
            raise LeaseUnavailable(f"no credential for {terms.scheme}") from error

    async def renew(self, lease: Lease, ttl_s: int) -> Lease:
        """``lease`` for another ``ttl_s`` seconds, under its id or a new one.

        Raises:
            LeaseUnavailable: whatever went wrong.
        """
        try:
            return await self._renew(lease, ttl_s)
        except LeaseUnavailable:
            raise
        except Exception as error:
            raise LeaseUnavailable(f"no credential for {lease.scheme}") from error


@dataclass(frozen=True, slots=True)
class Minted:
    """What a back end gave out. ``handle`` names it there for renewal and revocation; no secret."""

    secret: Secret
    expires_ms: int
    handle: str = ""


class LeaseSource(ABC):
    """One kind of back end: it mints, prolongs and ends credentials, and keeps no books."""

    @abstractmethod
    async def mint(self, lease_id: str, terms: LeaseTerms, ttl_s: int) -> Minted:
        """A credential that can do what ``terms`` say and, where possible, nothing else."""

    async def prolong(self, handle: str, ttl_s: int) -> int | None:
        """When it ends now (epoch milliseconds); None: it cannot be prolonged, mint another."""
        return None

    @abstractmethod
    async def end(self, handle: str) -> None:
        """Make it useless. Returns only if it is; raises anything otherwise."""

    async def close(self) -> None:
        """Close connections."""
        return


class RootSecrets(ABC):
    """Where the vendors' long-lived secrets are, for those who make leases of them."""

    @abstractmethod
    async def value(self, scheme: str, experiment_id: str) -> Secret:
        """The secret in force for an experiment: its own, else the scheme's.

        Raises:
            LeaseUnavailable: there is none to be had.
        """


@dataclass(frozen=True, slots=True)
class SecretRecord:
    """What may be told of a vendor's secret: everything but its value."""

    scheme: str
    experiment_id: str
    version: int
    created_ms: int
    changed_ms: int
    changed_by: str


class VendorSecrets(ABC):
    """The vendors' long-lived secrets. Values go in; only lease sources see them come out."""

    @abstractmethod
    async def add(self, scheme: str, experiment_id: str, value: Secret, actor: str) -> SecretRecord:
        """Keep a secret for ``scheme``, for one experiment or (empty) for all others.

        Raises:
            Conflict: there is one.
        """

    @abstractmethod
    async def rotate(
        self, scheme: str, experiment_id: str, value: Secret, actor: str
    ) -> SecretRecord:
        """Replace a secret; leases of the one before are revoked.

        Raises:
            NotFound: there is none.
        """

    @abstractmethod
    async def remove(self, scheme: str, experiment_id: str, actor: str) -> None:
        """Forget a secret; its leases are revoked.

        Raises:
            NotFound: there is none.
        """

    @abstractmethod
    async def list(self) -> Sequence[SecretRecord]:
        """All of them, without values."""


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """What may be told of a lease: everything but its credential."""

    lease_id: str
    terms: LeaseTerms
    state: str
    issued_ms: int
    expires_ms: int
    attempts: int


class LeaseBook(ABC):
    """The leases of a deployment, as operators see them."""

    @abstractmethod
    async def list(self, state: str | None, limit: int) -> Sequence[LeaseRecord]:
        """The newest, those of one state if asked."""

    @abstractmethod
    async def revoke_by(self, lease_id: str, actor: str) -> LeaseRecord:
        """End a lease for an operator.

        Raises:
            NotFound: there is none of this id.
        """


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
