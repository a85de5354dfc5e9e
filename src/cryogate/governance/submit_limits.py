"""How fast, and how many at a time: brakes per agent and backend, in memory.

 (1) A rate is a bucket: it holds a burst and refills evenly. A refused try takes nothing.
 (2) Jobs in flight are counted in the database once a second, off the request; between two counts
     every admission adds one. So the figure errs upwards, by what was refused later on.
 (3) Each process counts rates by itself: of N processes behind one address an agent may get N
     times the rate. Jobs in flight are those of the whole deployment.

They protect backends and people from an agent that runs wild. What may be spent at all is held by
budgets and tokens, which are exact.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Final

from cryogate.domain.decisions import Violation
from cryogate.domain.errors import Throttled, Unavailable
from cryogate.governance.rows import number, text
from cryogate.ports.holds import SubmitLimits
from cryogate.ports.store import ReadStore

log = logging.getLogger("cryogate.limits")
_MOST_BUCKETS: Final = 20_000
_COME_BACK_S: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Brakes:
    """0 is no limit. Rates are jobs a minute, each with its burst."""

    agent_per_min: int = 0
    agent_burst: int = 1
    backend_per_min: int = 0
    backend_burst: int = 1
    in_flight_per_agent: int = 0
    in_flight_per_backend: int = 0


class _Buckets:
    """(1), bounded: the bucket that was used longest ago is forgotten first, and is then full."""

    def __init__(self, per_min: int, burst: int, now_ms: Callable[[], int]) -> None:
        self._per_ms = per_min / 60_000
        self._burst = max(1, burst)
        self._now_ms = now_ms
        self._left: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def wait_ms(self, key: str) -> int:
        """0 when there is one, else how long until there is. Takes nothing."""
        if not self._per_ms:
            return 0
        left, _ = self._now(key)
        return 0 if left >= 1 else ceil((1 - left) / self._per_ms)

    def take(self, key: str) -> None:
        """Take one; call after `wait_ms` gave 0 for every limit."""
        if not self._per_ms:
            return
        left, now_ms = self._now(key)
        self._left[key] = (left - 1, now_ms)
        self._left.move_to_end(key)
        if len(self._left) > _MOST_BUCKETS:
            self._left.popitem(last=False)

    def _now(self, key: str) -> tuple[float, int]:
        now_ms = self._now_ms()
        left, at_ms = self._left.get(key, (float(self._burst), now_ms))
        return min(self._burst, left + max(0, now_ms - at_ms) * self._per_ms), now_ms


class MemoryLimits(SubmitLimits):
    """See the module. ``monotonic_ms`` never steps; ``told`` hears of every agent held back."""

    def __init__(
        self,
        store: ReadStore,
        brakes: Brakes,
        monotonic_ms: Callable[[], int],
        told: Callable[[str, str], None] = lambda agent_id, limit: None,
    ) -> None:
        self._store = store
        self._brakes = brakes
        self._told = told
        self._agents = _Buckets(brakes.agent_per_min, brakes.agent_burst, monotonic_ms)
        self._backends = _Buckets(brakes.backend_per_min, brakes.backend_burst, monotonic_ms)
        self._counted: Counter[tuple[str, str]] = Counter()
        self._since: Counter[tuple[str, str]] = Counter()
        self._per_backend: Counter[str] = Counter()
        self._asked = True  # what was there before this process is counted once

    def admit(self, agent_id: str, backend: str) -> None:
        """See `SubmitLimits.admit`."""
        brakes, key = self._brakes, (agent_id, backend)
        self._asked = True
        mine = self._counted[key] + self._since[key]
        most = brakes.in_flight_per_agent
        if most and mine >= most:
            hint = "wait until some of your jobs on this backend have ended"
            raise self._held(agent_id, "agent_jobs_in_flight", most, mine + 1, hint, _COME_BACK_S)
        most, all_ = brakes.in_flight_per_backend, self._per_backend[backend]
        if most and all_ >= most:
            hint = "the backend has enough to do; try another, or later"
            raise self._held(agent_id, "backend_jobs_in_flight", most, all_ + 1, hint, _COME_BACK_S)
        for limit, buckets, name, rate in (
            ("agent_jobs_per_min", self._agents, agent_id, brakes.agent_per_min),
            ("backend_jobs_per_min", self._backends, backend, brakes.backend_per_min),
        ):
            wait_ms = buckets.wait_ms(name)
            if wait_ms:
                hint = "submit more slowly, or larger jobs"
                raise self._held(agent_id, limit, rate, None, hint, ceil(wait_ms / 1000))
        self._agents.take(agent_id)
        self._backends.take(backend)
        self._since[key] += 1
        self._per_backend[backend] += 1

    @property
    def counts(self) -> bool:
        """Whether (2) is needed at all."""
        return bool(self._brakes.in_flight_per_agent or self._brakes.in_flight_per_backend)

    async def count(self) -> None:
        """(2) Count jobs in flight.

        Raises:
            StoreUnavailable: the counts stay as they were, and only grow.
        """
        before = self._since
        self._since = Counter()  # what is admitted from here on may not be in the answer
        try:
            rows = await self._store.fetch("jobs_in_flight", {})
        except Unavailable:
            self._since += before
            raise
        counted: Counter[tuple[str, str]] = Counter()
        for row in rows:
            counted[(text(row, "agent_id"), text(row, "backend"))] = number(row, "jobs")
        self._counted = counted
        self._per_backend = Counter()
        for (_, backend), jobs in (*counted.items(), *self._since.items()):
            self._per_backend[backend] += jobs

    async def run(self, interval_s: float = 1.0) -> None:
        """Count until cancelled; ends at once where nothing needs it.

        Where nobody has asked since the last count, there is nobody to answer with a new one.
        """
        while self.counts:
            if self._asked:
                self._asked = False
                try:
                    await self.count()
                except Unavailable:
                    log.warning("jobs in flight cannot be counted", exc_info=True)
            await asyncio.sleep(interval_s)

    def _held(
        self, agent_id: str, limit: str, most: int, found: int | None, hint: str, after_s: int
    ) -> Throttled:
        self._told(agent_id, limit)
        violation = Violation(limit, most, found, hint)
        detail = f"{limit} is {most}; come back after Retry-After seconds"
        return Throttled("throttled", detail, (violation,), retry_after_s=after_s)
