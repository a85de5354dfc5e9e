"""Questions to vendors about jobs they have: bounded in time, number and rate, and counted.

(1) A question has a lease and a time limit. Without an answer it counts for the provider's breaker;
    an answer that cannot be true, or a refusal, is an answer.
(2) So many are under way at once that submissions and cancels always find a connection.
(3) The more jobs are watched, the rarer each is asked for: a provider hears so many questions a
    second at most, however many jobs it has.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, TypeVar

from cryogate.gateway.breaker import Breakers
from cryogate.gateway.dispatch_job import Job
from cryogate.gateway.leases import Leases
from cryogate.ports.credentials import Lease
from cryogate.ports.provider import ProviderError, VendorLied

if TYPE_CHECKING:
    from cryogate.gateway.dispatch_desk import DispatchLimits

T = TypeVar("T")


class VendorQuestions:
    """``questions_at_once`` and ``questions_per_s`` are for each provider."""

    def __init__(self, leases: Leases, breakers: Breakers, limits: DispatchLimits) -> None:
        self._leases, self._breakers = leases, breakers
        self._timeout_s = limits.call_timeout_ms / 1000
        self._at_once, self._per_s = limits.questions_at_once, limits.questions_per_s
        self._room: dict[str, asyncio.Semaphore] = {}
        self._watched: Counter[str] = Counter()

    async def ask(
        self, job: Job, verb: Callable[[Lease], Awaitable[T]], *, at_once: bool = False
    ) -> T:
        """What ``verb`` gives. ``at_once``: it does not stand in line behind other questions.

        Raises:
            ProviderError: the vendor refuses, lies or cannot say.
            LeaseUnavailable: there is no credential to ask with.
            TimeoutError: no answer in time.
        """
        scheme = job.scheme
        async with AsyncExitStack() as stack:
            if not at_once:
                room = self._room.setdefault(scheme, asyncio.Semaphore(self._at_once))
                await stack.enter_async_context(room)
            lease = await self._leases.get(job.lease_terms(), job.subject())
            try:
                async with asyncio.timeout(self._timeout_s):
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
        return self._watched[scheme] * 1000 // self._per_s
