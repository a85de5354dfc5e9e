"""Questions to vendors about jobs they have: bounded in time, number and rate, and counted.

(1) A question has a lease and a time limit. Without an answer it counts for the provider's breaker;
    an answer that cannot be true, or a refusal, is an answer.
(2) So many are under way at once that submissions and cancels always find a connection. Looking for
    a job may be a walk through all that the vendor has: it has a line of its own, and longer.
(3) A provider is asked where its jobs are so many times a second at most, however many it has: the
    more jobs are watched, the rarer each is asked for, and each question has a turn, so that those
    of a restart do not all come at once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

from cryogate.gateway.breaker import Breakers
from cryogate.gateway.dispatch_job import Job
from cryogate.gateway.leases import Leases
from cryogate.ports.clock import monotonic_ms
from cryogate.ports.credentials import Lease
from cryogate.ports.provider import ProviderError, VendorLied

if TYPE_CHECKING:
    from cryogate.gateway.dispatch_desk import DispatchLimits

T = TypeVar("T")


class Line(Enum):
    """Where a question stands. Asking to stop a job waits for nobody, and no more do those who
    look for jobs where one look serves all of them.
    """

    LOOK = "look"
    FIND = "find"
    FIND_TOGETHER = "find together"
    STOP = "stop"


_NO_LINE = (Line.STOP, Line.FIND_TOGETHER)
_LONG = (Line.FIND, Line.FIND_TOGETHER)


class VendorQuestions:
    """``questions_at_once`` and ``questions_per_s`` are for each provider."""

    def __init__(
        self,
        leases: Leases,
        breakers: Breakers,
        limits: DispatchLimits,
        now_ms: Callable[[], int] = monotonic_ms,
    ) -> None:
        self._leases, self._breakers = leases, breakers
        self._limits = limits
        self._lines: dict[tuple[str, Line], asyncio.Semaphore] = {}
        self._now_ms = now_ms
        self._free_ms: dict[str, float] = {}
        self._watched: Counter[str] = Counter()

    async def ask(
        self, job: Job, verb: Callable[[Lease], Awaitable[T]], line: Line = Line.LOOK
    ) -> T:
        """What ``verb`` gives, once its turn has come.

        Raises:
            ProviderError: the vendor refuses, lies or cannot say.
            LeaseUnavailable: there is no credential to ask with.
            TimeoutError: no answer in time.
        """
        limits, scheme = self._limits, job.scheme
        room = self._lines.get((scheme, line))
        if room is None:
            most = limits.in_hand if line in _NO_LINE else limits.questions_at_once
            room = self._lines[scheme, line] = asyncio.Semaphore(most)
        timeout_ms = limits.find_timeout_ms if line in _LONG else limits.call_timeout_ms
        async with room:
            lease = await self._leases.get(job.lease_terms(), job.subject())
            try:
                async with asyncio.timeout(timeout_ms / 1000):
                    answer = await verb(lease)
            except TimeoutError:
                self._breakers.unheard(scheme, job.job_id)
                raise
            except ProviderError as error:
                if error.retryable and not isinstance(error, VendorLied):
                    self._breakers.unheard(scheme, job.job_id)
                else:
                    self._breakers.heard(scheme)
                raise
            self._breakers.heard(scheme)
            return answer

    @contextmanager
    def watching(self, scheme: str) -> Iterator[None]:
        """While a job of ``scheme`` is watched at its vendor."""
        self._watched[scheme] += 1
        try:
            yield
        finally:
            self._watched[scheme] -= 1

    def pace_ms(self, scheme: str) -> int:
        """(3): the least time between two questions about one job."""
        return self._watched[scheme] * 1000 // self._limits.questions_per_s

    def turn_ms(self, scheme: str) -> int:
        """(3): take the next turn to ask where a job is; how long until it comes."""
        now, gap = float(self._now_ms()), 1000 / self._limits.questions_per_s
        # after a quiet time as many may ask at once as may be under way
        turn = max(self._free_ms.get(scheme, 0.0), now - gap * self._limits.questions_at_once)
        self._free_ms[scheme] = turn + gap
        return max(0, int(turn - now))
