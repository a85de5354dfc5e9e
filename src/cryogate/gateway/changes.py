"""Who waits for a job, and how they are told that it moved.

A long poll first watches, then reads the row, then waits: a move between the read and the wait is
never missed. The hub knows only moves made by this process; a reader that must see the moves of
other replicas bounds its wait and reads again.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class Watch:
    """One reader's interest in one job. Use as a context manager around read and wait."""

    __slots__ = ("_hub", "_job_id", "_moved")

    def __init__(self, hub: JobChanges, job_id: str) -> None:
        self._hub = hub
        self._job_id = job_id
        self._moved = asyncio.Event()

    def __enter__(self) -> Self:
        self._hub.add(self._job_id, self._moved)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hub.drop(self._job_id, self._moved)

    async def changed(self, timeout_s: float) -> bool:
        """Wait until the job moves; False when ``timeout_s`` passed first.

        Moves since the watch began, or since the last True, count.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._moved.wait()
        except TimeoutError:
            return False
        self._moved.clear()
        return True


class JobChanges:
    """The hub. Telling it of a job nobody watches costs one dictionary look-up."""

    def __init__(self) -> None:
        self._watched: dict[str, set[asyncio.Event]] = {}

    def watch(self, job_id: str) -> Watch:
        """Watch one job."""
        return Watch(self, job_id)

    def tell(self, job_id: str) -> None:
        """The job has moved and the move is durable."""
        for moved in self._watched.get(job_id, ()):
            moved.set()

    @property
    def watchers(self) -> int:
        """How many watches are open."""
        return sum(map(len, self._watched.values()))

    def add(self, job_id: str, moved: asyncio.Event) -> None:
        """Begin telling ``moved``; `Watch` calls this."""
        self._watched.setdefault(job_id, set()).add(moved)

    def drop(self, job_id: str, moved: asyncio.Event) -> None:
        """Stop telling ``moved``; `Watch` calls this."""
        watched = self._watched.get(job_id)
        if watched is not None:
            watched.discard(moved)
            if not watched:
                del self._watched[job_id]
