"""(7) One transaction for reservation, job row and events; waiting ones share it where that pays.

A job is accepted whole or not at all, and each caller gets its own yes or no. Where every commit
is a round trip and a lock on the same budget row (PostgreSQL), jobs of one experiment that arrive
while a commit is under way wait for it and are then committed together, each shared row touched
once. When the common transaction fails, nothing of it happened, and each job is committed alone.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from cryogate.domain.events import Event
from cryogate.ports.budgets import Hold, Ledger, Payer
from cryogate.ports.store import GuardFailed, SqlValue, Statement, Store, UnitOfWork

#: Bytes of programs in one transaction: bounds what a round trip carries.
_MAX_BYTES = 1 << 20
_TRIES = 3


class Acceptance(msgspec.Struct, frozen=True):
    """A job about to be accepted. ``extra`` are its approval's statements, if it needs one."""

    job: Statement
    hold: Hold
    payer: Payer
    now_ms: int
    events: tuple[Event, ...]
    extra: tuple[Statement, ...] = ()


@dataclass(slots=True)
class _Waiting:
    acceptance: Acceptance
    reservation: tuple[Statement, ...]
    done: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def unit(self) -> UnitOfWork:
        found = self.acceptance
        return UnitOfWork((found.job, *self.reservation, *found.extra), found.events)

    @property
    def size(self) -> int:
        return len(str(self.acceptance.job.params["program"]))


class Acceptor:
    """Commits acceptances. ``most`` is how many may share a transaction; 1 shares none."""

    def __init__(self, store: Store, ledger: Ledger, *, most: int = 1) -> None:
        self._store = store
        self._ledger = ledger
        self._most = most
        self._waiting: dict[str, list[_Waiting]] = {}
        self._flushers: set[asyncio.Task[None]] = set()

    async def commit(self, acceptance: Acceptance) -> None:
        """Make ``acceptance`` durable.

        Raises:
            GuardFailed: something it needs did not hold; nothing of it happened.
            StoreUnavailable: see `Store.commit`.
        """
        for _ in range(_TRIES):
            epoch = self._ledger.epoch
            try:
                await self._once(acceptance)
            except GuardFailed as failed:
                # A limit that was set meanwhile has to be part of the reservation.
                if not await self._ledger.outdated(failed.guard, epoch):
                    raise
            else:
                return
        await self._once(acceptance)

    async def _once(self, acceptance: Acceptance) -> None:
        reservation = self._ledger.reserve(acceptance.hold, acceptance.payer, acceptance.now_ms)
        if self._most == 1 or acceptance.extra:
            await self._store.commit(
                UnitOfWork((acceptance.job, *reservation, *acceptance.extra), acceptance.events)
            )
            return
        waiting = _Waiting(acceptance, reservation)
        experiment = acceptance.hold.experiment_id
        queue = self._waiting.get(experiment)
        if queue is not None:
            queue.append(waiting)
        else:
            self._waiting[experiment] = [waiting]
            flusher = asyncio.get_running_loop().create_task(self._flush(experiment))
            # the loop keeps only weak references to tasks
            self._flushers.add(flusher)
            flusher.add_done_callback(self._flushers.discard)
        await waiting.done

    async def _flush(self, experiment: str) -> None:
        queue, batch = self._waiting[experiment], list[_Waiting]()
        try:
            while queue:
                batch = _take(queue, self._most)
                await self._together(batch)
        finally:
            # After the last batch nobody is left; when this was stopped, nobody may wait for ever.
            del self._waiting[experiment]
            for left in (*batch, *queue):
                left.done.cancel()

    async def _together(self, batch: list[_Waiting]) -> None:
        merged = self._merged(batch) if len(batch) > 1 else None
        if merged is not None:
            try:
                await self._store.commit(merged)
            except (GuardFailed, ValueError):
                pass  # one of them cannot be accepted; nothing of any of them happened
            except Exception as error:
                for waiting in batch:
                    _fail(waiting, error)
                return
            else:
                for waiting in batch:
                    if not waiting.done.done():
                        waiting.done.set_result(None)
                return
        for waiting in batch:
            await self._alone(waiting)

    def _merged(self, batch: Sequence[_Waiting]) -> UnitOfWork | None:
        shared = self._ledger.merged([waiting.reservation for waiting in batch])
        if shared is None:
            return None
        # Without row counts, so that a driver may send them all at once; then all are counted.
        jobs = [waiting.acceptance.job._replace(rows=None) for waiting in batch]
        ids = json.dumps([waiting.acceptance.hold.job_id for waiting in batch])
        count: dict[str, SqlValue] = {"jobs": ids, "number": len(batch)}
        check = Statement("jobs_accepted", count, guard=jobs[0].guard)
        events = tuple(event for waiting in batch for event in waiting.acceptance.events)
        return UnitOfWork((*jobs, check, *shared), events)

    async def _alone(self, waiting: _Waiting) -> None:
        if waiting.done.done():
            return  # its caller gave up, and nothing of it happened
        try:
            await self._store.commit(waiting.unit())
        except Exception as error:
            _fail(waiting, error)
        else:
            if not waiting.done.done():
                waiting.done.set_result(None)


def _take(queue: list[_Waiting], most: int) -> list[_Waiting]:
    taken: list[_Waiting] = []
    size = 0
    while queue and len(taken) < most:
        if queue[0].done.done():
            queue.pop(0)
            continue
        size += queue[0].size
        if taken and size > _MAX_BYTES:
            break
        taken.append(queue.pop(0))
    return taken


def _fail(waiting: _Waiting, error: Exception) -> None:
    if not waiting.done.done():  # a caller that gave up has cancelled it
        waiting.done.set_exception(error)
