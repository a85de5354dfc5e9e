"""What every job in hand shares: store, providers, leases, limits; and how waits grow."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cryogate.circuits import Program
from cryogate.domain.events import Event
from cryogate.domain.jobs import JobState
from cryogate.gateway.breaker import Breakers
from cryogate.gateway.changes import JobChanges
from cryogate.gateway.dispatch_batch import Batcher
from cryogate.gateway.dispatch_job import Job
from cryogate.gateway.leases import Leases
from cryogate.gateway.places import Places
from cryogate.gateway.second_reading import SecondReader
from cryogate.gateway.vendor_questions import VendorQuestions
from cryogate.ports.budgets import Ledger
from cryogate.ports.clock import Clock
from cryogate.ports.credentials import Lease
from cryogate.ports.provider import Backend, Provider, Submission
from cryogate.ports.revocations import RevocationView
from cryogate.ports.store import Statement, Store, StoreUnavailable, UnitOfWork
from cryogate.ports.tracing import NO_SPANS, Spans

log = logging.getLogger("cryogate.dispatch")


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchLimits:
    """Times in milliseconds.

    ``claim_ms`` must be several times ``submit_timeout_ms``: a claimant whose claim has run out
    must be past its vendor call, or its successor could ask the vendor too early.
    """

    claim_ms: int = 60_000
    claim_grace_ms: int = 5_000
    silent_ms: int = 10_000
    renew_ms: int = 5_000
    sweep_ms: int = 2_000
    full_sweep_ms: int = 30_000
    idle_ms: int = 500
    submit_timeout_ms: int = 20_000
    call_timeout_ms: int = 20_000
    find_timeout_ms: int = 120_000
    quiet_ms: int = 2_000
    drain_ms: int = 5_000
    retry_min_ms: int = 500
    retry_max_ms: int = 60_000
    poll_min_ms: int = 250
    poll_max_ms: int = 15_000
    questions_at_once: int = 32
    questions_per_s: int = 100
    max_attempts: int = 6
    lease_ttl_s: int = 300
    batch: int = 128
    per_scheme: int = 256
    in_hand: int = 10_000
    inline_program: int = 65_536

    def __post_init__(self) -> None:
        if self.claim_ms < 2 * self.submit_timeout_ms or self.claim_ms < 2 * self.renew_ms:
            raise ValueError("claim_ms must be at least twice submit_timeout_ms and renew_ms")
        least = min(
            self.batch, self.per_scheme, self.in_hand, self.max_attempts,
            self.questions_at_once, self.questions_per_s,
        )  # fmt: skip
        if least < 1:
            raise ValueError("a number of jobs, attempts or questions must be at least 1")


async def first_of(*waits: asyncio.Future[Any]) -> None:
    """Return when one of them is done; the others go on."""
    await asyncio.wait(set(waits), return_when=asyncio.FIRST_COMPLETED)


class Stop(NamedTuple):
    """Why a job in hand must end: the state it ends in, the reason, who asked."""

    state: JobState
    failure: str
    actor: str | None = None


class Lost(Exception):
    """The claim is another replica's now, or the job has ended: put it down, write nothing."""


@dataclass(slots=True, eq=False)
class Hand:
    """A claimed job in this process. ``at_vendor``: it is not, or no longer, being sent.

    ``ready`` is what to submit, of a job whose intent was recorded when it was accepted.
    """

    job: Job
    stop: asyncio.Future[Stop]
    ready: Submission | None = None
    at_vendor: bool = False
    on_arrival: Callable[[], None] | None = None
    clbits: int | None = None
    alarmed: bool = False
    lies: int = 0

    def arrive(self) -> None:
        """The job is at its vendor: it needs a watcher now, and no place among those sent."""
        self.at_vendor = True
        arrived, self.on_arrival = self.on_arrival, None
        if arrived is not None:
            arrived()

    def ask(self, stop: Stop) -> None:
        """Ask the job to end; the first asker is heard."""
        if not self.stop.done():
            self.stop.set_result(stop)

    @property
    def asked(self) -> Stop | None:
        """The stop that was asked for, if any."""
        return self.stop.result() if self.stop.done() else None


@dataclass(slots=True, kw_only=True)
class Desk:
    """Shared by all jobs in hand. ``owner`` names this process in claims.

    ``alone``: there is no other replica, so whoever claimed before is dead.
    """

    store: Store
    clock: Clock
    providers: Mapping[str, Provider]
    leases: Leases
    ledger: Ledger
    revocations: RevocationView
    changes: JobChanges
    devices: Callable[[], Mapping[str, Backend]]
    reader: SecondReader
    limits: DispatchLimits
    owner: str
    batcher: Batcher
    sleep: Callable[[float], Awaitable[None]]
    wake_in: Callable[[int], None]
    told: Callable[[Event], None] = lambda event: None
    places: Places = field(default_factory=Places)
    breakers: Breakers
    questions: VendorQuestions
    alone: bool = True
    spans: Spans = NO_SPANS
    random: random.Random = field(default_factory=random.SystemRandom)
    programs: dict[str, Program] = field(default_factory=dict)

    async def lease(self, job: Job) -> Lease:
        """The credential for calls about a job.

        Raises:
            LeaseUnavailable: there is none to be had.
        """
        return await self.leases.get(job.lease_terms(), job.subject())

    def retry_ms(self, attempt: int) -> int:
        """How long to wait before attempt ``attempt + 1``: doubling, with jitter, bounded."""
        return self._grow(self.limits.retry_min_ms, self.limits.retry_max_ms, attempt)

    def poll_ms(self, polls: int, scheme: str) -> int:
        """How long to wait before asking a vendor again: the longer, the more jobs it has."""
        grown = self._grow(self.limits.poll_min_ms, self.limits.poll_max_ms, polls)
        pace_ms = self.questions.pace_ms(scheme)
        return max(grown, int(pace_ms * self.random.uniform(0.75, 1.25)))

    def _grow(self, low: int, high: int, step: int) -> int:
        top = min(high, low << min(max(step - 1, 0), 16))
        return int(top * self.random.uniform(0.5, 1.0))

    async def pause(self, ms: int, hand: Hand | None = None) -> None:
        """Wait, at most until the job is asked to stop."""
        if hand is None:
            await self.sleep(ms / 1000)
            return
        timer = asyncio.ensure_future(self.sleep(ms / 1000))
        try:
            await first_of(timer, hand.stop)
        finally:
            timer.cancel()

    async def commit(self, work: UnitOfWork, order: str | None) -> None:
        """Make a move that has already happened outside durable, however long the store is away.

        Raises:
            GuardFailed: the move is not ours to make.
        """
        attempt = 0
        while True:
            try:
                await self.batcher.commit(work, order)
            except StoreUnavailable:
                attempt += 1
                log.warning("the store is away; a finished move waits", exc_info=attempt == 1)
                await self.pause(self.retry_ms(attempt))
            else:
                for event in work.events[1:]:  # what a move adds to its own event: money to look at
                    self.told(event)
                return

    def fenced(self, job: Job, name: str, guard: str, **params: str | int | None) -> Statement:
        """A statement on a job that this process claims, under the claim's fence."""
        return Statement(
            name,
            {"job_id": job.job_id, "owner": self.owner, "fence": job.claim_fence, **params},
            guard=guard,
        )

    async def alarm(self, *events: Event) -> None:
        """Record events that change no row, and tell somebody."""
        await self.commit(UnitOfWork((), events), None)
        for event in events[:1]:  # `commit` tells the others
            self.told(event)
