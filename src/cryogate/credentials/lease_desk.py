"""The books of leases: who holds which credential for what, and that each of them ends.

(1) A lease is on record before its back end is asked, so that no credential exists unrecorded. A
    crash in between leaves a record that lapses.
(2) To end a lease, the wish is on record before the vendor is told. A failure is tried again with
    growing waits until it succeeds or the credential has lapsed; meanwhile an alert is open and
    the agent is suspended: `holds_in_force` reads the failed attempts themselves, so the hold
    lifts by itself and cannot be forgotten (R6).
(3) What a crashed process held is ended when its successor starts, where it can be known; on
    several replicas it lapses.
(4) A source that fails, lies about the time or has no answer gives no lease: nothing is sent, and
    an alert tells.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from cryogate.domain.decisions import Scalar
from cryogate.domain.errors import NotFound, Unavailable
from cryogate.domain.events import Event, Outcome
from cryogate.domain.ids import is_minted, new_id
from cryogate.ports.alerts import Alerts, Severity
from cryogate.ports.clock import Clock
from cryogate.ports.credentials import (
    Lease,
    LeaseBook,
    LeaseIssuer,
    LeaseNotRevoked,
    LeaseRecord,
    LeaseSource,
    LeaseTerms,
    LeaseUnavailable,
    Minted,
)
from cryogate.ports.store import GuardFailed, Row, SqlValue, Statement, Store, UnitOfWork

log = logging.getLogger("cryogate.leases")

LEASE: Final = "lea"
STATES: Final = ("active", "revoking", "revoked", "expired", "failed")
_RETRY_MS: Final = 1_000
_MAX_RETRY_MS: Final = 60_000
_MINT_S: Final = 15.0
#: A credential longer than this is refused: the books would believe in it for too long.
_MAX_LIFE_MS: Final = 12 * 3_600_000
_MAX_HANDLE: Final = 512
_BATCH: Final = 64
_REMEMBERED: Final = 10_000


async def _nothing() -> None:
    return


class LeaseDesk(LeaseIssuer, LeaseBook):
    """See the module. ``local`` serves what needs no vendor; ``held_changed`` re-reads holds."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        sources: Mapping[str, LeaseSource],
        local: LeaseIssuer,
        alerts: Alerts,
        holder: str,
        held_changed: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        self._store, self._clock = store, clock
        self._sources, self._local, self._alerts = sources, local, alerts
        self._holder, self._held_changed = holder, held_changed
        self._ended: dict[str, None] = {}

    # -- for the gateway ---------------------------------------------------------------------

    async def _issue(self, terms: LeaseTerms, ttl_s: int) -> Lease:
        if terms.scheme == "local":
            return await self._local.lease(terms, ttl_s)
        source = self._sources.get(terms.scheme)
        if source is None:
            raise LeaseUnavailable(f"no credential is configured for {terms.scheme}")
        terms = await self._with_cost_center(terms)
        lease_id = new_id(LEASE)
        await self._record(lease_id, terms, ttl_s)  # (1)
        try:
            async with asyncio.timeout(_MINT_S):
                minted = await source.mint(lease_id, terms, ttl_s)
            self._plausible(minted)
        except Exception as error:  # (4)
            await self._failed(lease_id, terms, error)
            raise LeaseUnavailable(f"no credential for {terms.scheme}") from error
        params: dict[str, SqlValue] = {
            "lease_id": lease_id,
            "handle": minted.handle,
            "expires_ms": minted.expires_ms,
        }
        await self._store.commit(UnitOfWork((Statement("lease_minted", params),)))
        return Lease(lease_id, terms.scheme, minted.expires_ms, minted.secret, terms)

    async def _renew(self, lease: Lease, ttl_s: int) -> Lease:
        source = self._sources.get(lease.scheme)
        if source is None or self.ended(lease.lease_id):
            return await self._issue(lease.terms, ttl_s)
        row = await self._store.fetch_one("lease_by_id", {"lease_id": lease.lease_id})
        if row is None or row["state"] != "active":
            return await self._issue(lease.terms, ttl_s)
        async with asyncio.timeout(_MINT_S):
            until_ms = await source.prolong(str(row["handle"]), ttl_s)
        if until_ms is None:
            made = await self._issue(lease.terms, ttl_s)
            try:
                await self.revoke(lease.lease_id)
            except Unavailable:
                log.warning("lease %s was replaced, but still works", lease.lease_id)
            return made
        self._plausible(Minted(lease.secret, until_ms))
        params: dict[str, SqlValue] = {
            "lease_id": lease.lease_id,
            "handle": str(row["handle"]),
            "expires_ms": until_ms,
        }
        event = self._event("lease.renewed", Outcome.SUCCESS, lease.lease_id, lease.terms)
        await self._store.commit(UnitOfWork((Statement("lease_minted", params),), (event,)))
        return Lease(lease.lease_id, lease.scheme, until_ms, lease.secret, lease.terms)

    def ended(self, lease_id: str) -> bool:
        """See `LeaseIssuer.ended`."""
        return lease_id in self._ended

    async def revoke(self, lease_id: str) -> None:
        """See `LeaseIssuer.revoke`. Leases of other kinds than ours have nothing to undo."""
        if is_minted(lease_id, LEASE):
            await self._end(lease_id, None)

    async def revoke_all(self, scheme: str, experiment_id: str) -> None:
        """End every lease of a secret that is not in force any more."""
        params = {"scheme": scheme, "experiment_id": experiment_id}
        for row in await self._store.fetch("leases_of_secret", params):
            try:
                await self._end(str(row["lease_id"]), None)
            except LeaseNotRevoked:
                log.warning("lease %s still works", row["lease_id"])

    # -- for operators -----------------------------------------------------------------------

    async def list(self, state: str | None, limit: int) -> Sequence[LeaseRecord]:
        """See `LeaseBook.list`."""
        rows = await self._store.fetch("leases_page", {"state": state, "limit": limit})
        return [_record_of(row) for row in rows]

    async def revoke_by(self, lease_id: str, actor: str) -> LeaseRecord:
        """See `LeaseBook.revoke_by`."""
        row = None
        if is_minted(lease_id, LEASE):
            row = await self._store.fetch_one("lease_by_id", {"lease_id": lease_id})
        if row is None:
            raise NotFound("no_such_lease", "there is no such lease")
        try:
            await self._end(lease_id, actor)
        except LeaseNotRevoked:
            log.warning("lease %s still works", lease_id)
        found = await self._store.fetch_one("lease_by_id", {"lease_id": lease_id})
        return _record_of(found or row)

    # -- in the background -------------------------------------------------------------------

    async def start(self) -> None:
        """(3): end what this process's predecessor held.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        for row in await self._store.fetch("leases_of_holder", {"holder": self._holder}):
            try:
                await self._end(str(row["lease_id"]), None)
            except LeaseNotRevoked:
                log.warning("lease %s of an earlier process still works", row["lease_id"])

    async def run(self, interval_s: float = 1.0) -> None:
        """`sweep` until cancelled."""
        while True:
            await asyncio.sleep(interval_s)
            try:
                await self.sweep()
            except Unavailable:
                log.warning("leases cannot be looked after now", exc_info=True)
            except Exception:
                log.exception("leases could not be looked after")

    async def sweep(self) -> None:
        """Close the record of what has lapsed, and try again what could not be ended.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        now_ms = self._clock.now_ms()
        rows = await self._store.fetch("leases_due", {"now_ms": now_ms, "most": _BATCH})
        for row in rows:
            record = _record_of(row)
            if record.expires_ms <= now_ms:
                await self._lapse(record, now_ms)
            else:
                try:
                    await self._tell_vendor(record, str(row["handle"]), None)
                except LeaseNotRevoked:
                    continue

    async def close(self) -> None:
        """Close the sources."""
        for source in self._sources.values():
            await source.close()

    # -- steps -------------------------------------------------------------------------------

    async def _with_cost_center(self, terms: LeaseTerms) -> LeaseTerms:
        if terms.cost_center or not terms.experiment_id:
            return terms
        params = {"experiment_id": terms.experiment_id}
        row = await self._store.fetch_one("lease_cost_center", params)
        found = None if row is None else row["cost_center"]
        return LeaseTerms(
            terms.scheme, terms.backend, terms.experiment_id, terms.agent_id, terms.session_id,
            found if isinstance(found, str) else "",
        )  # fmt: skip

    async def _record(self, lease_id: str, terms: LeaseTerms, ttl_s: int) -> None:
        now_ms = self._clock.now_ms()
        params: dict[str, SqlValue] = {
            "lease_id": lease_id,
            "scheme": terms.scheme,
            "backend": terms.backend,
            "experiment_id": terms.experiment_id,
            "agent_id": terms.agent_id,
            "session_id": terms.session_id,
            "holder": self._holder,
            "now_ms": now_ms,
            "expires_ms": now_ms + ttl_s * 1000,
        }
        event = self._event("lease.issued", Outcome.INTENT, lease_id, terms)
        await self._store.commit(UnitOfWork((Statement("lease_add", params),), (event,)))

    def _plausible(self, minted: Minted) -> None:
        now_ms = self._clock.now_ms()
        if not now_ms < minted.expires_ms <= now_ms + _MAX_LIFE_MS:
            raise LeaseUnavailable("the back end gave a credential that ends at no sensible time")
        if len(minted.handle) > _MAX_HANDLE:
            raise LeaseUnavailable("the back end gave a name that is too long")

    async def _failed(self, lease_id: str, terms: LeaseTerms, error: Exception) -> None:
        # our own words are safe to show; anybody else's may hold what must not be
        why = str(error) if isinstance(error, LeaseUnavailable) else type(error).__name__
        log.warning("no credential for %s: %s", terms.scheme, why)
        evidence = {"scheme": terms.scheme, "error": why}
        self._alerts.tell("no_credential", terms.scheme, Severity.HIGH, evidence)
        event = self._event("lease.failed", Outcome.FAILURE, lease_id, terms)
        statement = Statement("lease_failed", {"lease_id": lease_id}, rows=None)
        await self._store.commit(UnitOfWork((statement,), (event,)))

    async def _end(self, lease_id: str, actor: str | None) -> None:
        self._forget(lease_id)
        row = await self._store.fetch_one("lease_by_id", {"lease_id": lease_id})
        if row is None or row["state"] not in ("active", "revoking"):
            return
        record = _record_of(row)
        if record.state == "active":
            params: dict[str, SqlValue] = {
                "lease_id": lease_id,
                "next_ms": self._clock.now_ms() + _RETRY_MS,
            }
            try:  # (2)
                await self._store.commit(UnitOfWork((Statement("lease_revoking", params),)))
            except GuardFailed:
                return  # it has ended meanwhile, or another process is about to end it
        await self._tell_vendor(record, str(row["handle"]), actor)

    async def _tell_vendor(self, record: LeaseRecord, handle: str, actor: str | None) -> None:
        lease_id, terms = record.lease_id, record.terms
        try:
            source = self._sources[terms.scheme]
            async with asyncio.timeout(_MINT_S):
                await source.end(handle)
        except Exception as error:
            await self._not_ended(record, error)
            raise LeaseNotRevoked(f"{lease_id} may still work") from error
        event = self._event("lease.revoked", Outcome.SUCCESS, lease_id, terms, actor)
        await self._commit("lease_revoked", {"lease_id": lease_id}, event)
        if record.attempts:
            await self._held_changed()

    async def _not_ended(self, record: LeaseRecord, error: Exception) -> None:
        attempts, terms = record.attempts + 1, record.terms
        log.error("lease %s could not be revoked: %s", record.lease_id, type(error).__name__)
        wait_ms = min(_RETRY_MS << min(attempts, 16), _MAX_RETRY_MS)
        params: dict[str, SqlValue] = {
            "lease_id": record.lease_id,
            "next_ms": self._clock.now_ms() + wait_ms,
        }
        event = self._event("lease.not_revoked", Outcome.FAILURE, record.lease_id, terms)
        await self._commit("lease_not_revoked", params, event)
        evidence: dict[str, Scalar] = {
            "lease_id": record.lease_id,
            "scheme": terms.scheme,
            "attempts": attempts,
            "error": type(error).__name__,
        }
        subject = terms.agent_id or terms.scheme
        self._alerts.tell("lease_not_revoked", subject, Severity.CRITICAL, evidence)
        await self._held_changed()

    async def _lapse(self, record: LeaseRecord, now_ms: int) -> None:
        self._forget(record.lease_id)
        event = self._event("lease.expired", Outcome.SUCCESS, record.lease_id, record.terms)
        params: dict[str, SqlValue] = {"lease_id": record.lease_id, "now_ms": now_ms}
        await self._commit("lease_expired", params, event)
        if record.attempts:
            await self._held_changed()

    async def _commit(self, name: str, params: Mapping[str, SqlValue], event: Event) -> None:
        try:
            await self._store.commit(UnitOfWork((Statement(name, params),), (event,)))
        except GuardFailed:
            log.info("%s: another process was first", name)

    def _forget(self, lease_id: str) -> None:
        self._ended[lease_id] = None
        while len(self._ended) > _REMEMBERED:
            del self._ended[next(iter(self._ended))]

    def _event(
        self, action: str, outcome: Outcome, lease_id: str, terms: LeaseTerms,
        actor: str | None = None,
    ) -> Event:  # fmt: skip
        return Event(
            timestamp_ms=self._clock.now_ms(),
            action=action,
            outcome=outcome,
            agent_id=terms.agent_id or None,
            experiment_id=terms.experiment_id or None,
            qpu=terms.backend or None,
            session_id=terms.session_id or None,
            decision_reasons=(f"lease {lease_id}", f"scheme {terms.scheme}"),
            actor_chain=None if actor is None else (actor,),
        )


def _record_of(row: Row) -> LeaseRecord:
    terms = LeaseTerms(
        str(row["scheme"]), str(row["backend"]), str(row["experiment_id"]), str(row["agent_id"]),
        str(row["session_id"]),
    )  # fmt: skip
    return LeaseRecord(
        str(row["lease_id"]),
        terms,
        str(row["state"]),
        int(row["issued_ms"] or 0),
        int(row["expires_ms"] or 0),
        int(row["attempts"] or 0),
    )
