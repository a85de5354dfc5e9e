"""A circuit breaker for each provider: who does not answer is left alone, and tried now and then.

closed -> open after some failed submissions in a row, or when nothing is heard any more of some
different jobs at the vendor -> half open when its time is over: one job tries -> closed when it was
answered, open for twice as long when it was not. Jobs of an open provider stay queued and use up
no attempt; those of other providers are not touched (`Dispatcher` claims around it). It saves
calls and attempts, and decides nothing about what may run.

Questions about jobs count apart from submissions: a vendor that answers them may still take no
jobs. They count by job, since one job that a vendor cannot speak of is no outage; any answer about
any job begins the count anew, and closes what silence alone has opened.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

_FAILURES = 5
_SILENT_JOBS = 5
_FIRST_MS, _LONGEST_MS = 5_000, 300_000


class BreakerState(StrEnum):
    """Whether a provider is sent jobs."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerView(msgspec.Struct, frozen=True, kw_only=True):
    """A provider as this process finds it: failed submissions in a row, jobs not heard of."""

    provider: str
    state: BreakerState
    failures: int
    silent_jobs: int
    retry_in_ms: int


@dataclass(slots=True)
class _Breaker:
    failures: int = 0
    silent: set[str] = field(default_factory=set)
    opened: int = 0
    by_silence: bool = False
    until_ms: int = 0
    trial_ms: int | None = None


class Breakers:
    """By scheme. ``opened`` hears of each opening; ``trial_ms`` is after how long a trial counts
    as lost.
    """

    def __init__(
        self,
        now_ms: Callable[[], int],
        opened: Callable[[BreakerView], None] = lambda view: None,
        *,
        trial_ms: int = 60_000,
    ) -> None:
        self._now_ms, self._opened, self._trial_ms = now_ms, opened, trial_ms
        self._all: dict[str, _Breaker] = {}
        self._random = random.SystemRandom()

    def shut_out(self) -> list[str]:
        """Schemes of which no job should be claimed now."""
        return [scheme for scheme in self._all if not self._may(self._all[scheme])]

    def admit(self, scheme: str) -> bool:
        """Whether a job may be sent now. While half open, the one that asks first tries."""
        if self.closed(scheme):
            return True
        breaker = self._all[scheme]
        if not self._may(breaker):
            return False
        breaker.trial_ms = self._now_ms()
        return True

    def closed(self, scheme: str) -> bool:
        """Whether jobs may be sent freely."""
        breaker = self._all.get(scheme)
        return breaker is None or not breaker.opened

    def answered(self, scheme: str) -> None:
        """The provider answered a submission, if only to refuse."""
        self._all.pop(scheme, None)

    def failed(self, scheme: str) -> None:
        """A submission got no answer, or "not now"."""
        breaker = self._all.setdefault(scheme, _Breaker())
        breaker.failures += 1
        if breaker.opened:
            # calls that were under way when it opened say nothing new
            if breaker.trial_ms is not None:
                self._open(scheme, breaker, by_silence=False)
        elif breaker.failures >= _FAILURES:
            self._open(scheme, breaker, by_silence=False)

    def heard(self, scheme: str) -> None:
        """The provider answered a question about a job."""
        breaker = self._all.get(scheme)
        if breaker is None or not breaker.silent:
            return
        if breaker.by_silence or not breaker.failures:
            del self._all[scheme]
        else:
            breaker.silent.clear()

    def unheard(self, scheme: str, job_id: str) -> None:
        """A question about a job got no answer."""
        breaker = self._all.setdefault(scheme, _Breaker())
        if len(breaker.silent) < _SILENT_JOBS:
            breaker.silent.add(job_id)
            if len(breaker.silent) == _SILENT_JOBS and not breaker.opened:
                self._open(scheme, breaker, by_silence=True)

    def _open(self, scheme: str, breaker: _Breaker, *, by_silence: bool) -> None:
        wait_ms = min(_LONGEST_MS, _FIRST_MS << min(breaker.opened, 16))
        breaker.until_ms = self._now_ms() + int(wait_ms * self._random.uniform(0.75, 1.25))
        breaker.opened, breaker.trial_ms = breaker.opened + 1, None
        breaker.by_silence = by_silence
        self._opened(self.view(scheme))

    def view(self, scheme: str) -> BreakerView:
        """For people."""
        breaker = self._all.get(scheme, _Breaker())
        left_ms = max(0, breaker.until_ms - self._now_ms()) if breaker.opened else 0
        state = BreakerState.CLOSED
        if breaker.opened:
            state = BreakerState.OPEN if left_ms else BreakerState.HALF_OPEN
        return BreakerView(
            provider=scheme,
            state=state,
            failures=breaker.failures,
            silent_jobs=len(breaker.silent),
            retry_in_ms=left_ms,
        )

    def degraded(self) -> bool:
        """Whether any provider is not sent all its jobs."""
        return any(breaker.opened for breaker in self._all.values())

    def _may(self, breaker: _Breaker) -> bool:
        if not breaker.opened:
            return True
        now_ms = self._now_ms()
        trying = breaker.trial_ms is not None and now_ms - breaker.trial_ms < self._trial_ms
        return now_ms >= breaker.until_ms and not trying
