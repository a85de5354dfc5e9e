"""Time, as something that is handed in."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod


class Clock(ABC):
    """UTC wall-clock time in whole milliseconds since the epoch."""

    @abstractmethod
    def now_ms(self) -> int:
        """The present moment."""


class SystemClock(Clock):
    """The machine's clock, never stepping back while the process lives (T12).

    A clock set back would bring expired tokens to life; this one stands still instead.
    """

    def __init__(self) -> None:
        self._highest = 0

    def now_ms(self) -> int:
        """The machine's time, or the latest one given out if that is later."""
        now = time.time_ns() // 1_000_000
        if now > self._highest:
            self._highest = now
        return self._highest


def monotonic_ms() -> int:
    """Milliseconds of a clock that nobody can set, for waiting and ageing within a process."""
    return time.monotonic_ns() // 1_000_000
