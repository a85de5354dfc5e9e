"""The dispatcher: claims jobs in batches, keeps its claims, and sweeps what must end.

One turn of the loop:

 (1) sweep, when due: jobs that something revokes, parked jobs whose approval can no longer come,
     and jobs whose claimant is gone (P2)
 (2) claim queued jobs, oldest first, no more than there is room for
 (3) each claimed job is carried in a task of its own (`dispatch_watch.carry`)

Claims are renewed by a task of its own, so that a slow turn never lets one run out. A turn that
fails is logged and tried again: nothing here may stop the loop but `close`.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from cryogate.domain.errors import CryogateError, Unavailable
from cryogate.domain.events import Event
from cryogate.domain.jobs import JobState
from cryogate.gateway.breaker import Breakers, BreakerView
from cryogate.gateway.changes import JobChanges
from cryogate.gateway.dispatch_batch import Batcher
from cryogate.gateway.dispatch_claims import Claims
from cryogate.gateway.dispatch_desk import Desk, DispatchLimits, Stop, log
from cryogate.gateway.dispatch_hands import Hands
from cryogate.gateway.dispatch_job import CANCEL_MARK, REVOKE_MARK, job_of
from cryogate.gateway.dispatch_send import standing
from cryogate.gateway.dispatch_stop import cancel, expire_overdue, revoke_all
from cryogate.gateway.handover import Handover
from cryogate.gateway.lease_ends import give_back
from cryogate.gateway.leases import Leases, key_of
from cryogate.gateway.places import Places
from cryogate.gateway.second_reading import SecondReader
from cryogate.gateway.standing import number, text
from cryogate.gateway.vendor_questions import VendorQuestions
from cryogate.ports.budgets import Ledger
from cryogate.ports.clock import Clock
from cryogate.ports.credentials import LeaseIssuer
from cryogate.ports.provider import Backend, Provider
from cryogate.ports.revocations import RevocationView
from cryogate.ports.store import Row, Store
from cryogate.ports.tracing import NO_SPANS, Spans

__all__ = ["DispatchLimits", "Dispatcher"]

_MARKS = {
    CANCEL_MARK: Stop(JobState.CANCELLED, "cancelled"),
    REVOKE_MARK: Stop(JobState.REVOKED, "revoked"),
}


class Dispatcher:
    """Carries accepted jobs to their providers and to their end.

    ``replica_id`` names this replica in claims; a later process with the same id takes over the
    claims of its dead predecessor at once. ``heartbeats``: replicas tell that they live, and one
    that does not loses its claims. ``opened`` hears when a provider is left alone for a while.
    ``merge``: so many small moves may share a transaction.
    """

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        providers: Mapping[str, Provider],
        leases: LeaseIssuer,
        ledger: Ledger,
        revocations: RevocationView,
        changes: JobChanges,
        devices: Callable[[], Mapping[str, Backend]],
        reader: SecondReader,
        replica_id: str,
        limits: DispatchLimits | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        told: Callable[[Event], None] = lambda event: None,
        places: Places | None = None,
        heartbeats: bool = False,
        opened: Callable[[BreakerView], None] = lambda view: None,
        spans: Spans = NO_SPANS,
        merge: int = 128,
    ) -> None:
        self._limits = limits = limits or DispatchLimits()
        held = Leases(leases, clock, limits.lease_ttl_s)
        breakers = Breakers(clock.now_ms, opened)
        self._desk = desk = Desk(
            store=store,
            clock=clock,
            providers=providers,
            leases=held,
            ledger=ledger,
            revocations=revocations,
            changes=changes,
            devices=devices,
            reader=reader,
            limits=limits,
            owner=f"{replica_id}/{secrets.token_hex(8)}",
            batcher=Batcher(store, most=merge),
            sleep=sleep,
            wake_in=self._wake_in,
            told=told,
            places=Places() if places is None else places,
            breakers=breakers,
            questions=VendorQuestions(held, breakers, limits),
            alone=not heartbeats,
            spans=spans,
        )
        self._claims = Claims(desk, f"{replica_id}/")
        self._hands = Hands(desk, self._freed)
        #: Takes jobs straight from their acceptance, while none is waiting.
        self.handover = Handover(desk, self._hands)
        self._wake = asyncio.Event()
        self._closing = self._full = False
        self._swept_ms: int | None = None
        self._heeding: asyncio.TimerHandle | None = None
        self._heed_in_s = 0.0
        self._full_ms: int | None = None
        self._newest = -1

    # -- life --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Free the claims of this replica's earlier process.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        await self._claims.expire_predecessor()

    async def run(self) -> None:
        """Dispatch until `close`."""
        renewing = asyncio.create_task(self._keep_claims(), name="dispatch claims")
        failures = 0
        try:
            while not self._closing:
                self._wake.clear()
                try:
                    more = await self.turn()
                    failures = 0
                except Unavailable as error:
                    failures += 1
                    log.warning("dispatch waits: %s", error)
                    more = False
                except Exception:
                    failures += 1
                    log.exception("a turn of dispatch failed")
                    more = False
                if more and not self._closing:
                    continue
                wait_ms = self._desk.retry_ms(failures) if failures else self._limits.idle_ms
                await self._rest(wait_ms)
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    async def turn(self) -> bool:
        """Sweep if due and claim what there is room for. True when more may be waiting.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        await self._sweep_if_due()
        return await self._claim()

    async def settled(self) -> None:
        """Return when every job in hand has been put down."""
        while tasks := self._hands.tasks():
            await asyncio.wait(tasks)

    def providers(self) -> tuple[BreakerView, ...]:
        """Each provider, and whether it is sent jobs now."""
        return tuple(self._desk.breakers.view(scheme) for scheme in self._desk.providers)

    def degraded(self) -> bool:
        """Whether some provider is not sent all its jobs."""
        return self._desk.breakers.degraded()

    def poke(self) -> None:
        """Look for work now; cheap, and safe to call at any time."""
        self._wake.set()

    def heed(self) -> None:
        """Something was revoked: ask the jobs in hand to end at once, and sweep the rest next.

        Cheap, and safe to call at any time. In a storm of revocations one look at the jobs in hand
        serves many of them, and the looks take no more than a tenth of the time.
        """
        if self._heeding is None and not self._closing:
            self._heeding = asyncio.get_running_loop().call_later(self._heed_in_s, self._heed_now)
        self._swept_ms = None
        self._wake.set()

    def _heed_now(self) -> None:
        self._heeding, began = None, time.perf_counter()
        for hand in self._hands:
            if hand.asked is None and isinstance(standing(self._desk, hand), Stop):
                hand.ask(_MARKS[REVOKE_MARK])
        self._heed_in_s = 9 * (time.perf_counter() - began)

    async def cancel(self, job_id: str, actor: str) -> None:
        """End a waiting job now, or ask for the end of one at a vendor. Ended jobs stay ended.

        Raises:
            NotFound: no such job.
            StoreUnavailable: the database did not answer.
        """
        if await cancel(self._desk, job_id, actor):
            self._ask(job_id, Stop(JobState.CANCELLED, "cancelled", actor))

    async def close(self) -> None:
        """Claim nothing more, let calls under way end, give the rest back. May be called twice."""
        if self._closing:
            return
        self._closing = True
        self._wake.set()
        self.handover.open = False
        sending = self._hands.tasks(sending=True)
        if sending:
            await asyncio.wait(sending, timeout=self._limits.drain_ms / 1000)
        left, tasks = self._hands.ids(), self._hands.tasks()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            if left:
                await self._claims.let_go(left)
        except CryogateError as error:
            log.warning("claims were not given back, they run out: %s", error)
        await self._desk.leases.end()
        await self._desk.reader.close()

    # -- claims ------------------------------------------------------------------------------

    async def _claim(self) -> bool:
        now_ms, limits = self._desk.clock.now_ms(), self._limits
        busy, shut = self._hands.busy(), self._desk.breakers.shut_out()
        most = min(limits.batch, self._hands.room())
        self._full = bool(busy) or most < 1
        self.handover.open = False
        if self._closing or most < 1:
            return False
        if not await self._desk.store.fetch("dispatch_due", {"now_ms": now_ms}):
            self.handover.open = not (self._full or self._closing)
            return False
        rows = await self._claims.queued([*busy, *shut], now_ms, most)
        await self._take(rows)
        more = len(rows) == most
        self.handover.open = not (more or self._full or self._closing)
        return more

    async def _claim_orphans(self, now_ms: int) -> None:
        # All of them: after a crash thousands may wait, and their vendors may be done with them.
        while not self._closing:
            most = min(self._limits.batch, self._limits.in_hand - len(self._hands))
            if most < 1:
                return
            rows = await self._claims.orphans(now_ms, most)
            await self._take(rows)
            if len(rows) < most:
                return

    async def _take(self, rows: Sequence[Row]) -> None:
        for row in rows:
            try:
                job = job_of(row)
            except msgspec.ValidationError:
                log.critical("%s: its row cannot be read", row["job_id"], exc_info=True)
                continue
            await self._hands.replace(job)

    def _freed(self) -> None:
        if self._full:
            self._full = False
            self._wake.set()

    # -- keeping claims ----------------------------------------------------------------------

    async def _keep_claims(self) -> None:
        while True:
            await self._desk.pause(self._limits.renew_ms)
            try:
                await self.renew()
            except Unavailable as error:
                log.warning("claims not renewed: %s", error)
            except Exception:
                log.exception("claims not renewed")

    async def renew(self) -> None:
        """Renew every claim, and hear what other replicas ask of the jobs in hand.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        held = self._hands.ids()
        for start in range(0, len(held), self._limits.batch):
            for row in await self._claims.renew(held[start : start + self._limits.batch]):
                mark = _MARKS.get(str(row["failure"]))
                if mark is not None:
                    self._ask(text(row, "job_id"), mark)

    def _ask(self, job_id: str, stop: Stop) -> None:
        hand = self._hands.get(job_id)
        if hand is not None:
            hand.ask(stop)

    # -- sweeps ------------------------------------------------------------------------------

    async def _sweep_if_due(self) -> None:
        now_ms = self._desk.clock.now_ms()
        if self._swept_ms is not None and now_ms - self._swept_ms < self._limits.sweep_ms:
            return
        await self._sweep(now_ms)
        self._swept_ms = now_ms

    async def _sweep(self, now_ms: int) -> None:
        row = await self._desk.store.fetch_one("dispatch_newest_revocation", {})
        newest = 0 if row is None else number(row, "newest")
        full = self._full_ms is None or now_ms - self._full_ms >= self._limits.full_sweep_ms
        if full or newest != self._newest:
            for job_id in await revoke_all(self._desk):
                self._ask(job_id, _MARKS[REVOKE_MARK])
            self._newest, self._full_ms = newest, now_ms
        await expire_overdue(self._desk)
        if not self._desk.alone:
            await self._claims.free_the_dead(now_ms)
        await self._claim_orphans(now_ms)
        in_use = {key_of(hand.job.lease_terms()) for hand in self._hands}
        await give_back(self._desk, in_use)

    # -- waiting -----------------------------------------------------------------------------

    async def _rest(self, ms: int) -> None:
        try:
            async with asyncio.timeout(ms / 1000):
                await self._wake.wait()
        except TimeoutError:
            return

    def _wake_in(self, ms: int) -> None:
        if not self._closing:
            asyncio.get_running_loop().call_later(ms / 1000, self._wake.set)
