"""Leases in use: one for an agent, experiment, session and backend, had late, given back early.

A lease is obtained when the first vendor call needs it and prolonged shortly before it ends while
jobs wait. It is given back when no job in hand uses it and either nobody could any more (its
session, experiment or agent is over: `lease_ends`) or nobody has for a while.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from typing import Final

from cryogate.ports.clock import Clock
from cryogate.ports.credentials import Lease, LeaseIssuer, LeaseTerms, LeaseUnavailable
from cryogate.ports.revocations import Subject

log = logging.getLogger("cryogate.dispatch")
#: What tells one lease from another: the backend, the experiment, the agent, the session.
Key = tuple[str, str, str, str]


def key_of(terms: LeaseTerms) -> Key:
    """What ``terms`` share with every other job that may use the same lease."""
    return terms.backend or terms.scheme, terms.experiment_id, terms.agent_id, terms.session_id


class Leases:
    """The leases of one process."""

    _MARGIN_MS: Final = 30_000
    #: After a back end has failed, it is left alone for so long, however many jobs wait.
    _AGAIN_MS: Final = 5_000
    _END_S: Final = 5.0

    def __init__(
        self, issuer: LeaseIssuer, clock: Clock, ttl_s: int, *, idle_ms: int = 60_000
    ) -> None:
        self._issuer = issuer
        self._clock = clock
        self._ttl_s = ttl_s
        self._idle_ms = idle_ms
        self._held: dict[Key, Lease] = {}
        self._users: dict[Key, Subject | None] = {}
        self._used_ms: dict[Key, int] = {}
        self._locks: dict[Key, asyncio.Lock] = {}
        self._barred: dict[Key, tuple[int, str]] = {}

    async def get(self, terms: LeaseTerms, user: Subject | None = None) -> Lease:
        """A lease that is good for at least one vendor call; ``user`` is who it is used for.

        Raises:
            LeaseUnavailable: there is none to be had.
        """
        key = key_of(terms)
        self._used_ms[key], self._users[key] = self._clock.now_ms(), user
        lease = self._fresh(key)
        if lease is not None:
            return lease
        async with self._locks.setdefault(key, asyncio.Lock()):
            return self._fresh(key) or await self._another(key, terms)

    async def _another(self, key: Key, terms: LeaseTerms) -> Lease:
        now_ms, old = self._clock.now_ms(), self._held.get(key)
        if old is not None and (old.expires_ms <= now_ms or self._issuer.ended(old.lease_id)):
            old = None
        again_ms, why = self._barred.get(key, (0, ""))
        if now_ms >= again_ms:
            try:
                if old is None:
                    lease = await self._issuer.lease(terms, self._ttl_s)
                else:
                    lease = await self._issuer.renew(old, self._ttl_s)
            except LeaseUnavailable as error:
                why = str(error)
                self._barred[key] = (now_ms + self._AGAIN_MS, why)
            else:
                self._barred.pop(key, None)
                self._held[key] = lease
                return lease
        # one that could not be prolonged is good to its end, unless it has been revoked meanwhile
        if old is not None and not self._issuer.ended(old.lease_id):
            return old
        raise LeaseUnavailable(why)

    def retry(self, scheme: str) -> None:
        """Ask again at once: the secret for ``scheme`` has changed."""
        for key in [key for key in self._barred if key[0].partition(":")[0] == scheme]:
            del self._barred[key]

    def _fresh(self, key: Key) -> Lease | None:
        lease = self._held.get(key)
        if lease is None or lease.expires_ms - self._MARGIN_MS <= self._clock.now_ms():
            return None
        return None if self._issuer.ended(lease.lease_id) else lease

    def idle(self, in_use: Collection[Key]) -> Mapping[Key, Subject | None]:
        """What is held and not in use, with whom it was used for last."""
        return {key: self._users.get(key) for key in self._held if key not in in_use}

    async def tidy(self, in_use: Collection[Key], over: Collection[Key] = ()) -> None:
        """Give back what nobody has used for a while, and what nobody may use again (``over``).

        One that cannot be ended is logged; the issuer tries it again.
        """
        idle_ms = self._clock.now_ms() - self._idle_ms
        for key, used_ms in list(self._used_ms.items()):
            if key not in in_use and (key in over or used_ms <= idle_ms):
                await self._give_back(key)

    async def end(self) -> None:
        """Give everything back, within a few seconds; what is left is tried again, or lapses."""
        try:
            async with asyncio.timeout(self._END_S):
                await asyncio.gather(*(self._give_back(key) for key in list(self._held)))
        except TimeoutError:
            log.warning("leases were not all given back in time")

    async def _give_back(self, key: Key) -> None:
        lock = self._locks.get(key)
        if lock is not None and lock.locked():
            return  # somebody asks for it this moment
        lease = self._held.pop(key, None)
        for kept in (self._used_ms, self._users, self._locks, self._barred):
            kept.pop(key, None)
        if lease is None:
            return
        try:
            await self._issuer.revoke(lease.lease_id)
        except Exception:
            log.exception("lease %s could not be revoked; it is tried again", lease.lease_id)
