"""What of an event is unlike its agent."""

from __future__ import annotations

from typing import Any

import msgspec

from cryogate.governance.profiles import (
    DENIALS,
    DENIALS_MS,
    KNOWN_JOBS,
    Profile,
)
from cryogate.ports.audit import rfc3339

HOUR, DAY = 3_600_000, 86_400_000
START = 1_800_000_000_000 // DAY * DAY


def job(at_ms: int, **fields: Any) -> dict[str, Any]:
    return {
        "action": "job.accepted", "timestamp": rfc3339(at_ms), "agent_id": "a", "qpu": "local:aer",
        "shots": 100, "cost_estimate_cents": 1, "seq": 7, "job_id": "job_1", **fields,
    }  # fmt: skip


def refused(at_ms: int, *reasons: str) -> dict[str, Any]:
    return {
        "action": "job.refused", "timestamp": rfc3339(at_ms), "seq": 8, "decision_reasons": reasons,
    }  # fmt: skip


def worker(days: int = 20, hours: tuple[int, ...] = (8, 9, 10, 11, 13, 14, 15)) -> Profile:
    """Works by day, three jobs an hour."""
    profile = Profile()
    for day in range(days):
        for hour in hours:
            for n in range(3):
                assert not profile.see(job(START + day * DAY + hour * HOUR + n * 60_000))
    return profile


def test_a_known_agent_on_a_new_backend_is_told_once() -> None:
    profile = Profile()
    for n in range(KNOWN_JOBS):
        backend = "local:aer" if n % 2 else "local:null"
        assert not profile.see(job(START + n, qpu=backend))
    [found] = profile.see(job(START + DAY, qpu="ibm:torino"))
    assert (found.kind, found.evidence["backend"], found.evidence["seq"]) == (
        "new_backend", "ibm:torino", 7,
    )  # fmt: skip
    assert not profile.see(job(START + DAY, qpu="ibm:torino"))


def test_a_job_at_night_is_told_once_a_night() -> None:
    profile = worker()
    night = START + 20 * DAY + 3 * HOUR
    [found] = profile.see(job(night))
    assert (found.kind, found.evidence["hour_utc"]) == ("unusual_hour", 3)
    assert not profile.see(job(night + 60_000))
    assert not profile.see(job(START + 20 * DAY + 12 * HOUR))  # between two usual hours


def test_somebody_who_always_works_has_no_unusual_hour() -> None:
    profile = worker(15, tuple(range(24)))
    assert not profile.see(job(START + 16 * DAY + 3 * HOUR))


def test_a_burst_of_refusals_is_told_and_a_trickle_is_not() -> None:
    profile = Profile()
    for n in range(200):
        assert not profile.see(refused(START + n * DENIALS_MS // (DENIALS - 2)))
    profile = Profile()
    found = [f for n in range(DENIALS) for f in profile.see(refused(START + n * 1000, "max_shots"))]
    assert [f.kind for f in found] == ["denial_burst"]
    assert (found[0].evidence["within_s"], found[0].evidence["latest_reasons"]) == (
        DENIALS - 1, "max_shots",
    )  # fmt: skip


def test_what_is_kept_is_bounded_and_survives_being_stored() -> None:
    profile = Profile()
    for n in range(2000):
        profile.see(job(START + n * HOUR, qpu=f"local:b{n}", shots=n + 1))
        profile.see(refused(START + n))
    text = msgspec.json.encode(profile)
    assert len(text) < 4096
    assert msgspec.json.decode(text, type=Profile) == profile
