"""A clock that moves when it is told to."""

from __future__ import annotations

from cryogate.ports.clock import Clock


class FakeClock(Clock):
    """Stands at ``now_ms`` until `advance` moves it; may be set back, to see what happens."""

    def __init__(self, now_ms: int = 1_800_000_000_000) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        """The present moment, as told."""
        return self._now_ms

    def advance(self, ms: int = 0, *, s: int = 0) -> None:
        """Move by milliseconds and seconds; negative moves back."""
        self._now_ms += ms + 1000 * s
