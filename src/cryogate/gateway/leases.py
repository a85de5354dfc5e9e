"""Leases in use: one for each agent, experiment and backend, had late and given back early.

A lease is obtained when the first vendor call needs it, prolonged shortly before it ends while jobs
wait, and given back when no job in hand has used it for a while: after a session or experiment has
closed, or everything of an agent was revoked, no job is left to use it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import Final

from cryogate.ports.clock import Clock
from cryogate.ports.credentials import Lease, LeaseIssuer, LeaseTerms

log = logging.getLogger("cryogate.dispatch")
#: What tells one lease from another: the backend, the experiment, the agent.
Key = tuple[str, str, str]


def key_of(terms: LeaseTerms) -> Key:
    """What ``terms`` share with every other job that may use the same lease."""
    return terms.backend or terms.scheme, terms.experiment_id, terms.agent_id


class Leases:
    """The leases of one process."""

    _MARGIN_MS: Final = 30_000

    def __init__(
        self, issuer: LeaseIssuer, clock: Clock, ttl_s: int, *, idle_ms: int = 60_000
    ) -> None:
        self._issuer = issuer
        self._clock = clock
        self._ttl_s = ttl_s
        self._idle_ms = idle_ms
        self._held: dict[Key, Lease] = {}
        self._used_ms: dict[Key, int] = {}
        self._locks: dict[Key, asyncio.Lock] = {}

    async def get(self, terms: LeaseTerms) -> Lease:
        """A lease that is good for at least one vendor call.

        Raises:
            LeaseUnavailable: there is none to be had.
        """
        key = key_of(terms)
        self._used_ms[key] = self._clock.now_ms()
        lease = self._fresh(key)
        if lease is not None:
            return lease
        async with self._locks.setdefault(key, asyncio.Lock()):
            lease = self._fresh(key)
            if lease is None:
                lease = self._held[key] = await self._another(key, terms)
            return lease

    async def _another(self, key: Key, terms: LeaseTerms) -> Lease:
        old = self._held.get(key)
        if old is None or self._issuer.ended(old.lease_id):
            return await self._issuer.lease(terms, self._ttl_s)
        if old.expires_ms <= self._clock.now_ms():
            return await self._issuer.lease(terms, self._ttl_s)
        return await self._issuer.renew(old, self._ttl_s)

    def _fresh(self, key: Key) -> Lease | None:
        lease = self._held.get(key)
        if lease is None or lease.expires_ms - self._MARGIN_MS <= self._clock.now_ms():
            return None
        return None if self._issuer.ended(lease.lease_id) else lease

    async def tidy(self, in_use: Collection[Key]) -> None:
        """Give back what nobody has used for a while. One that cannot be ended is logged."""
        idle_ms = self._clock.now_ms() - self._idle_ms
        for key, used_ms in list(self._used_ms.items()):
            if key not in in_use and used_ms <= idle_ms:
                await self._give_back(key)

    async def end(self) -> None:
        """Give everything back."""
        for key in list(self._held):
            await self._give_back(key)

    async def _give_back(self, key: Key) -> None:
        lease = self._held.pop(key, None)
        self._used_ms.pop(key, None)
        lock = self._locks.get(key)
        if lock is not None and not lock.locked():
            del self._locks[key]
        if lease is None:
            return
        try:
            await self._issuer.revoke(lease.lease_id)
        except Exception:
            log.exception("lease %s could not be revoked; it is tried again", lease.lease_id)
