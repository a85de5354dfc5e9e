"""CUSUM: is this agent suddenly asking for more than it ever does?

A series of one agent (shots, or cents, of its jobs, as logarithms) is compared with its own past.

 (1) Warm-up: the first `WARM_UP` values give median and spread (from the quartiles, so that a few
     odd jobs in it do not matter). Until then nothing is said: hard limits stand before this.
 (2) Each later value adds the logarithm of how much likelier it is under "everything times
     `FACTOR`" than under "as always". The sum never falls below zero; above `ALARM` it is a surge.
 (3) One value adds at most `MOST`: a single large job is no surge, however large.
 (4) The level follows slow drift, and only while nothing is suspected: a surge does not teach the
     detector that surges are usual.
 (5) After an alarm the sum begins again. A person who finds the new level right says so, and the
     level moves to where the agent is now (`Series.accept`).

Why a ratio of likelihoods and not a count of deviations: it is the fastest test for a change of
this size at a given rate of false alarms (Lorden 1971, Moustakides 1986), and one threshold serves
agents that always ask for the same and agents that vary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp, log
from typing import Final

FACTOR: Final = 4.0
WARM_UP: Final = 300
ALARM: Final = 10.0
MOST: Final = 3.0
LEAST_SPREAD: Final = 0.30
_DRIFT: Final = 1 / 500
_FAST: Final = 0.2
_SUSPECT: Final = 2.0
_QUARTILES: Final = 1.349  # of a normal distribution, in standard deviations
_SHIFT: Final = log(FACTOR)


@dataclass(slots=True)
class Series:
    """What is known of one series. Plain numbers, so that it can be stored and taken up again."""

    seen: int = 0
    level: float = 0.0
    spread: float = 0.0
    total: float = 0.0
    recent: float = 0.0
    since: int = 0
    first: list[float] = field(default_factory=list)

    @property
    def warm(self) -> bool:
        """Whether (1) is over."""
        return self.spread > 0.0

    def add(self, value: float, *, alarm: float = ALARM) -> bool:
        """One more job's shots or cents; True when it is a surge."""
        x = log(max(value, 0.0) + 1.0)
        self.seen += 1
        self.recent = x if self.seen == 1 else self.recent + _FAST * (x - self.recent)
        if not self.warm:
            self._learn(x)
            return False
        shift, spread = _SHIFT, self.spread
        gain = shift * (x - self.level - shift / 2) / (spread * spread)
        before = self.total
        self.total = max(0.0, before + min(gain, MOST))
        self.since = self.since + 1 if self.total > 0.0 else 0
        if self.total > alarm:
            self.total = 0.0
            return True
        if self.total < _SUSPECT:
            self.level += _DRIFT * max(-spread, min(spread, x - self.level))
        return False

    def accept(self) -> None:
        """What the agent asks for now is its new level (5)."""
        if self.warm:
            self.level, self.total, self.since = self.recent, 0.0, 0

    @property
    def usual(self) -> int:
        """The level as a number of shots or cents."""
        return round(exp(self.level) - 1)

    @property
    def lately(self) -> int:
        """The level of the latest handful of jobs."""
        return round(exp(self.recent) - 1)

    def _learn(self, x: float) -> None:
        self.first.append(x)
        if len(self.first) < WARM_UP:
            return
        ordered = sorted(self.first)
        quarter = len(ordered) // 4
        self.level = ordered[2 * quarter]
        spread = (ordered[3 * quarter] - ordered[quarter]) / _QUARTILES
        self.spread = max(LEAST_SPREAD, spread)
        self.first = []
