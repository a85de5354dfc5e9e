"""The books of leases: who holds which credential for what, and that each of them ends.

(1) A lease is on record before its back end is asked, so that no credential exists unrecorded. A
    crash in between leaves a record that lapses. A credential that comes after its lease was ended,
    or cannot be put on record, is ended at once and used by nobody.
(2) To end a lease, the wish is on record before the vendor is told. A failure is tried again with
    growing waits until it succeeds or the credential has lapsed; meanwhile an alert is open and
    the agent is suspended: `holds_in_force` reads the failed attempts themselves, so the hold
    lifts by itself and cannot be forgotten (R6).
(3) What a process holds is ended when it stops. What a crashed one held is ended when its
    successor starts, where it can be known, or lapses. What another replica has ended, this one
    stops using at its next sweep.
(4) A source that fails, lies about the time or has no answer gives no lease: nothing is sent, and
    an alert tells.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import msgspec

from cryogate.credentials.lease_rows import added, event_of, record_of
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
_ASKED: Final = 500
_CLOSE_S: Final = 5.0
#: Longer than a call to a vendor: who ends a lease has it to himself for so long.
_CALL_MS: Final = 20_000


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
        self._live: dict[str, None] = {}

    # -- for the gateway ---------------------------------------------------------------------

    async def _issue(self, terms: LeaseTerms, ttl_s: int) -> Lease:
        if terms.scheme == "local":
            return await self._local.lease(terms, ttl_s)
        source = self._sources.get(terms.scheme)
        if source is None:
            why = f"no credential is configured for {terms.scheme}"
            self._tell(terms.scheme, why)
            raise LeaseUnavailable(why)
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
            "lease_id": lease_id, "handle": minted.handle, "expires_ms": minted.expires_ms,
        }  # fmt: skip
        try:
            await self._store.commit(UnitOfWork((Statement("lease_minted", params),)))
        except (GuardFailed, Unavailable) as error:  # (1)
            await self._unwanted(lease_id, source, params)
            raise LeaseUnavailable(f"the lease of {terms.scheme} ended meanwhile") from error
        self._live[lease_id] = None
        return Lease(lease_id, terms.scheme, minted.expires_ms, minted.secret, terms)

    async def _renew(self, lease: Lease, ttl_s: int) -> Lease:
        source = self._sources.get(lease.scheme)
        if source is None or self.ended(lease.lease_id):
            return await self._issue(lease.terms, ttl_s)
        row = await self._store.fetch_one("lease_by_id", {"lease_id": lease.lease_id})
        if row is None or row["state"] != "active":
            return await self._issue(lease.terms, ttl_s)
        until_ms = None
        try:
            async with asyncio.timeout(_MINT_S):
                until_ms = await source.prolong(str(row["handle"]), ttl_s)
            if until_ms is not None:
                self._plausible(Minted(lease.secret, until_ms))
        except Exception as error:
            until_ms = None
            log.warning("lease %s is not prolonged: %s", lease.lease_id, type(error).__name__)
        if until_ms is None:
            made = await self._issue(lease.terms, ttl_s)
            try:
                await self.revoke(lease.lease_id)
            except Unavailable:
                log.warning("lease %s was replaced, but still works", lease.lease_id)
            return made
        params: dict[str, SqlValue] = {
            "lease_id": lease.lease_id, "handle": str(row["handle"]), "expires_ms": until_ms,
        }  # fmt: skip
        event = self._event("lease.renewed", Outcome.SUCCESS, lease.lease_id, lease.terms)
        try:
            await self._store.commit(UnitOfWork((Statement("lease_minted", params),), (event,)))
        except GuardFailed as error:
            self._forget(lease.lease_id)
            raise LeaseUnavailable(f"the lease of {lease.scheme} ended meanwhile") from error
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
        return [record_of(row) for row in rows]

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
        return record_of(found or row)

    # -- in the background -------------------------------------------------------------------

    async def start(self) -> None:
        """(3): what this process's predecessor held is to be ended; the sweep does it.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        params: dict[str, SqlValue] = {"holder": self._holder, "now_ms": self._clock.now_ms()}
        await self._store.commit(UnitOfWork((Statement("leases_disown", params, rows=None),)))

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
        await self._hear()
        rows = await self._store.fetch("leases_due", {"now_ms": now_ms, "most": _BATCH})
        for row in rows:
            record = record_of(row)
            if record.expires_ms <= now_ms:
                await self._lapse(record, now_ms)
            elif await self._try_again(row, now_ms):
                try:
                    await self._tell_vendor(record, str(row["handle"]), None)
                except LeaseNotRevoked:
                    continue

    async def _hear(self) -> None:
        live = list(self._live)
        for start in range(0, len(live), _ASKED):
            params = {"leases": msgspec.json.encode(live[start : start + _ASKED]).decode()}
            for row in await self._store.fetch("leases_over", params):
                self._forget(str(row["lease_id"]))

    async def _try_again(self, row: Row, now_ms: int) -> bool:
        """Whether this try is ours: of several replicas, one asks the vendor."""
        params: dict[str, SqlValue] = {
            "lease_id": str(row["lease_id"]),
            "seen_ms": int(row["next_ms"] or 0),
            "next_ms": now_ms + _CALL_MS,
        }
        try:
            await self._store.commit(UnitOfWork((Statement("lease_try", params),)))
        except GuardFailed:
            return False
        return True

    async def close(self) -> None:
        """(3), then close the sources. What cannot be ended soon is left to others' sweeps."""
        try:
            await self.start()
            async with asyncio.timeout(_CLOSE_S):
                await self.sweep()
        except (Unavailable, TimeoutError):
            log.warning("leases were not all ended; they are tried again, or lapse", exc_info=True)
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
        statement = added(lease_id, terms, self._holder, self._clock.now_ms(), ttl_s)
        event = self._event("lease.issued", Outcome.INTENT, lease_id, terms)
        await self._store.commit(UnitOfWork((statement,), (event,)))

    def _plausible(self, minted: Minted) -> None:
        now_ms = self._clock.now_ms()
        if not now_ms < minted.expires_ms <= now_ms + _MAX_LIFE_MS:
            raise LeaseUnavailable("the back end gave a credential that ends at no sensible time")
        if len(minted.handle) > _MAX_HANDLE:
            raise LeaseUnavailable("the back end gave a name that is too long")

    async def _unwanted(
        self, lease_id: str, source: LeaseSource, params: Mapping[str, SqlValue]
    ) -> None:
        self._forget(lease_id)
        params = {**params, "next_ms": self._clock.now_ms()}
        statement = Statement("lease_came_late", params, rows=None)
        try:  # the sweep ends it then, and says so if it cannot
            await self._store.commit(UnitOfWork((statement,)))
        except Unavailable:
            log.warning("lease %s is not on record as it is", lease_id, exc_info=True)
        try:
            async with asyncio.timeout(_MINT_S):
                await source.end(str(params["handle"]))
        except Exception as error:
            log.error("lease %s came late and may still work: %s", lease_id, type(error).__name__)

    def _tell(self, scheme: str, why: str) -> None:
        log.warning("no credential for %s: %s", scheme, why)
        evidence: dict[str, Scalar] = {"scheme": scheme, "error": why}
        self._alerts.tell("no_credential", scheme, Severity.HIGH, evidence)

    async def _failed(self, lease_id: str, terms: LeaseTerms, error: Exception) -> None:
        # our own words are safe to show; anybody else's may hold what must not be
        why = str(error) if isinstance(error, LeaseUnavailable) else type(error).__name__
        self._tell(terms.scheme, why)
        event = self._event("lease.failed", Outcome.FAILURE, lease_id, terms)
        statement = Statement("lease_failed", {"lease_id": lease_id}, rows=None)
        await self._store.commit(UnitOfWork((statement,), (event,)))

    async def _end(self, lease_id: str, actor: str | None) -> None:
        self._forget(lease_id)
        row = await self._store.fetch_one("lease_by_id", {"lease_id": lease_id})
        if row is None or row["state"] not in ("active", "revoking"):
            return
        record = record_of(row)
        if record.state == "active":
            params: dict[str, SqlValue] = {
                "lease_id": lease_id,
                "next_ms": self._clock.now_ms() + _CALL_MS,
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
        self._live.pop(lease_id, None)
        self._ended[lease_id] = None
        while len(self._ended) > _REMEMBERED:
            del self._ended[next(iter(self._ended))]

    def _event(
        self, action: str, outcome: Outcome, lease_id: str, terms: LeaseTerms,
        actor: str | None = None,
    ) -> Event:  # fmt: skip
        return event_of(action, outcome, lease_id, terms, self._clock.now_ms(), actor)
