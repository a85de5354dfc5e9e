"""What an agent usually does, and what of an event is unlike it. Values in, findings out, no I/O.

| kind | told when | severity |
|---|---|---|
| ``shots_surge``, ``spend_surge`` | its jobs are suddenly several times as large | high |
| ``denial_burst`` | `DENIALS` refusals within `DENIALS_MS` | medium |
| ``new_backend`` | a job on a backend it never used, after `KNOWN_JOBS` jobs | low |
| ``unusual_hour`` | a job at an hour when it hardly ever works, known for `KNOWN_MS` | low |

An event is counted once, in the order of the log. What a profile keeps is bounded, whatever an
agent does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from cryogate.domain.decisions import Scalar
from cryogate.governance.surge import WARM_UP, Series
from cryogate.ports.alerts import Severity

DENIALS: Final = 20
DENIALS_MS: Final = 600_000
KNOWN_JOBS: Final = 50
KNOWN_MS: Final = 14 * 86_400_000
RARE: Final = 1 / 1000
_DAY_MS: Final = 86_400_000
_MOST_BACKENDS: Final = 64
_MOST_HOURS: Final = 20_000

JOBS: Final = frozenset({"job.accepted", "job.parked"})
REFUSALS: Final = frozenset({"job.refused", "token.refused", "session.refused"})


@dataclass(frozen=True, slots=True)
class Finding:
    """Something unlike this agent."""

    kind: str
    severity: Severity
    evidence: Mapping[str, Scalar]


@dataclass(slots=True)
class Profile:
    """One agent. Plain numbers and texts, so that it can be stored and taken up again."""

    jobs: int = 0
    first_ms: int = 0
    shots: Series = field(default_factory=Series)
    cents: Series = field(default_factory=Series)
    backends: list[str] = field(default_factory=list)
    hours: list[int] = field(default_factory=lambda: [0] * 24)
    hour_told_ms: int = 0
    denials: list[int] = field(default_factory=list)

    def see(self, event: Mapping[str, Any]) -> Sequence[Finding]:
        """One event of this agent's, as it stands in the log."""
        action = event.get("action")
        if action in REFUSALS:
            return self._refused(event)
        if action in JOBS:
            return self._job(event)
        return ()

    def accept(self, kind: str) -> None:
        """A person has closed an alert of this kind: what is now is usual."""
        if kind == "shots_surge":
            self.shots.accept()
        elif kind == "spend_surge":
            self.cents.accept()
        elif kind == "denial_burst":
            self.denials = []

    def _job(self, event: Mapping[str, Any]) -> Sequence[Finding]:
        at_ms = instant_ms(event)
        self.jobs += 1
        self.first_ms = self.first_ms or at_ms
        found = [
            self._surge("shots_surge", self.shots, event.get("shots"), event),
            self._surge("spend_surge", self.cents, event.get("cost_estimate_cents"), event),
            self._backend(event),
            self._hour(at_ms, event),
        ]
        return [finding for finding in found if finding is not None]

    def _surge(
        self, kind: str, series: Series, value: object, event: Mapping[str, Any]
    ) -> Finding | None:
        if not isinstance(value, int) or not series.add(value):
            return None
        evidence = {
            "usually": series.usual,
            "lately": series.lately,
            "latest": value,
            "jobs_known": series.seen,
            **_where(event),
        }
        return Finding(kind, Severity.HIGH, evidence)

    def _backend(self, event: Mapping[str, Any]) -> Finding | None:
        backend = event.get("qpu")
        if not isinstance(backend, str) or backend in self.backends:
            return None
        if len(self.backends) < _MOST_BACKENDS:
            self.backends.append(backend)
        if self.jobs <= KNOWN_JOBS:
            return None
        return Finding("new_backend", Severity.LOW, {"backend": backend, **_where(event)})

    def _hour(self, at_ms: int, event: Mapping[str, Any]) -> Finding | None:
        hour = at_ms // 3_600_000 % 24
        near = sum(self.hours[(hour + step) % 24] for step in (-1, 0, 1))
        total = sum(self.hours)
        self.hours[hour] += 1
        if total >= _MOST_HOURS:  # what was long ago counts half
            self.hours = [count // 2 for count in self.hours]
        known = total >= WARM_UP and at_ms - self.first_ms >= KNOWN_MS
        if not known or near > total * RARE or at_ms - self.hour_told_ms < _DAY_MS:
            return None
        self.hour_told_ms = at_ms
        evidence: dict[str, Scalar] = {"hour_utc": hour, "jobs_near_it": near, "jobs_known": total}
        return Finding("unusual_hour", Severity.LOW, {**evidence, **_where(event)})

    def _refused(self, event: Mapping[str, Any]) -> Sequence[Finding]:
        at_ms = instant_ms(event)
        self.denials = [ms for ms in self.denials if ms > at_ms - DENIALS_MS][1 - DENIALS :]
        self.denials.append(at_ms)
        if len(self.denials) < DENIALS:
            return ()
        took_s = (at_ms - self.denials[0]) // 1000
        self.denials = []
        reasons = event.get("decision_reasons") or ()
        evidence: dict[str, Scalar] = {
            "refusals": DENIALS,
            "within_s": took_s,
            "latest_reasons": ", ".join(map(str, reasons[:4])),
        }
        return (Finding("denial_burst", Severity.MEDIUM, {**evidence, **_where(event)}),)


def instant_ms(event: Mapping[str, Any]) -> int:
    """When the event happened, in epoch milliseconds."""
    return round(datetime.fromisoformat(str(event["timestamp"])).timestamp() * 1000)


def _where(event: Mapping[str, Any]) -> dict[str, Scalar]:
    """The entry of the log in which it showed, and the job."""
    named = (("seq", "seq"), ("job_id", "job_id"), ("experiment_id", "experiment_id"))
    return {name: event[key] for name, key in named if event.get(key) is not None}
