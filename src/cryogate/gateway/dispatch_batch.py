"""Many small units of work, committed as few large ones.

A unit is never split and its statements keep their order. When a merged unit fails a guard,
nothing of it happened, and each of its units is committed alone: one job's failed guard never
fails another's.

Which units may be merged: those that lock only rows of their own job, the one budget row of their
experiment, and after it the windows of limits that the job was charged to. Merged units are sorted
by experiment, so that two replicas take budget rows in the same order and cannot deadlock; should
they meet in a window that several experiments share, the database undoes one of them and the store
runs it again. Everything else is committed alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple

from cryogate.ports.store import GuardFailed, Store, UnitOfWork


class _Waiting(NamedTuple):
    order: str
    unit: UnitOfWork
    done: asyncio.Future[None]


class Batcher:
    """Commits units of work; while one commit is under way, the next batch gathers.

    ``most`` is how many are merged; 1 merges none, for a store that groups commits itself.
    """

    def __init__(self, store: Store, *, most: int = 128) -> None:
        self._store = store
        self._most = most
        self._waiting: deque[_Waiting] = deque()
        self._flusher: asyncio.Task[None] | None = None

    async def commit(self, unit: UnitOfWork, order: str | None) -> None:
        """Make ``unit`` durable. ``order`` is its experiment, or None to commit it alone.

        Raises:
            GuardFailed: one of the unit's own guards did not hold.
            StoreUnavailable: see `Store.commit`.
        """
        if order is None or self._most == 1:
            await self._store.commit(unit)
            return
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(order, unit, done))
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush())
        await done

    async def _flush(self) -> None:
        try:
            while self._waiting:
                batch = [
                    self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))
                ]
                await self._commit(batch)
        finally:
            self._flusher = None

    async def _commit(self, batch: list[_Waiting]) -> None:
        if len(batch) == 1:
            await self._alone(batch[0])
            return
        batch.sort(key=lambda waiting: waiting.order)
        merged = UnitOfWork(
            tuple(statement for waiting in batch for statement in waiting.unit.statements),
            tuple(event for waiting in batch for event in waiting.unit.events),
        )
        try:
            await self._store.commit(merged)
        except GuardFailed:
            for waiting in batch:
                await self._alone(waiting)
        except Exception as error:
            for waiting in batch:
                _fail(waiting.done, error)
        else:
            for waiting in batch:
                _succeed(waiting.done)

    async def _alone(self, waiting: _Waiting) -> None:
        try:
            await self._store.commit(waiting.unit)
        except Exception as error:
            _fail(waiting.done, error)
        else:
            _succeed(waiting.done)


def _succeed(done: asyncio.Future[None]) -> None:
    if not done.done():  # a caller that gave up has cancelled it
        done.set_result(None)


def _fail(done: asyncio.Future[None], error: Exception) -> None:
    if not done.done():
        done.set_exception(error)
