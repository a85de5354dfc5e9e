"""The jobs in hand: one task each, and how many of them are still being sent."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator

from cryogate.domain.errors import Unavailable
from cryogate.gateway.dispatch_desk import Desk, Hand, Lost, log
from cryogate.gateway.dispatch_job import Job
from cryogate.gateway.dispatch_watch import carry
from cryogate.ports.provider import Submission


class Hands:
    """Carries claimed jobs, each in a task of its own. ``freed`` is told when one is put down."""

    def __init__(self, desk: Desk, freed: Callable[[], None]) -> None:
        self._desk, self._freed = desk, freed
        self._hands: dict[str, Hand] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._sending: Counter[str] = Counter()
        self._promised = 0

    def __len__(self) -> int:
        return len(self._hands)

    def __iter__(self) -> Iterator[Hand]:
        return iter(self._hands.values())

    def get(self, job_id: str) -> Hand | None:
        """The job, if it is in hand."""
        return self._hands.get(job_id)

    def ids(self) -> list[str]:
        """The jobs in hand."""
        return sorted(self._hands)

    def tasks(self, *, sending: bool = False) -> set[asyncio.Task[None]]:
        """The tasks; with ``sending`` only those whose job is not at its vendor yet."""
        return {
            self._tasks[job_id]
            for job_id, hand in self._hands.items()
            if not (sending and hand.at_vendor)
        }

    # -- room ----------------------------------------------------------------------------------

    def busy(self) -> list[str]:
        """Schemes of which as many jobs are being sent as may be at a time."""
        most = self._desk.limits.per_scheme
        return [scheme for scheme, count in self._sending.items() if count >= most]

    def room(self) -> int:
        """How many more jobs may be taken, whichever providers they are for."""
        limits = self._desk.limits
        counts = [n for n in self._sending.values() if n < limits.per_scheme]
        fewest = limits.per_scheme - max(counts, default=0)
        return min(limits.in_hand - len(self._hands) - self._promised, fewest)

    def promise(self, scheme: str) -> bool:
        """Keep room for one job of a provider, if there is any; `keep` or `begin` ends that."""
        limits = self._desk.limits
        if (
            self._sending[scheme] >= limits.per_scheme
            or len(self._hands) + self._promised >= limits.in_hand
        ):
            return False
        self._sending[scheme] += 1
        self._promised += 1
        return True

    def break_promise(self, scheme: str) -> None:
        """Nobody needs the room that was promised."""
        self._promised -= 1
        self._sent(scheme)

    # -- jobs ----------------------------------------------------------------------------------

    async def replace(self, job: Job) -> None:
        """Begin a job that was claimed again: two tasks must never carry the same job."""
        earlier = self._tasks.get(job.job_id)
        if earlier is not None:
            # Our own claim had run out.
            earlier.cancel()
            await asyncio.gather(earlier, return_exceptions=True)
        self.begin(job)

    def begin(self, job: Job, ready: Submission | None = None, *, promised: bool = False) -> None:
        """Carry a claimed job. ``ready`` is its submission if its intent is on disk already."""
        scheme = job.scheme
        if promised:
            self._promised -= 1
        else:
            self._sending[scheme] += 1
        hand = Hand(job, asyncio.get_running_loop().create_future(), ready)
        hand.on_arrival = lambda: self._sent(scheme)
        task = asyncio.create_task(self._carry(hand), name=job.job_id)
        self._hands[job.job_id], self._tasks[job.job_id] = hand, task
        task.add_done_callback(lambda _: self._put_down(job.job_id, hand))

    def _sent(self, scheme: str) -> None:
        self._sending[scheme] -= 1
        if not self._sending[scheme]:
            del self._sending[scheme]

    async def _carry(self, hand: Hand) -> None:
        job_id = hand.job.job_id
        try:
            with self._desk.spans.job(job_id, hand.job.backend):
                await carry(self._desk, hand)
        except Lost:
            log.info("%s: not ours any more", job_id)
        except Unavailable as error:
            log.warning("%s: put down until its claim ends: %s", job_id, error)
        except Exception:
            log.exception("%s: put down until its claim ends", job_id)

    def _put_down(self, job_id: str, hand: Hand) -> None:
        hand.arrive()  # wherever it is now, it is not being sent
        if self._hands.get(job_id) is hand:
            del self._hands[job_id], self._tasks[job_id]
            self._desk.places.drop(job_id)
        self._freed()
