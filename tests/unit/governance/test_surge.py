"""The surge detector: what it must find, what it must not, and its published numbers."""

from __future__ import annotations

import math
import random

import msgspec
import pytest
from bench.anomaly import MOST_FALSE, WITHIN, delays, false_alarms, part, replay
from hypothesis import given, settings
from hypothesis import strategies as st

from cryogate.governance.surge import ALARM, MOST, WARM_UP, Series


def warm(shots: int = 1000, spread: float = 0.0, seed: int = 1) -> tuple[Series, random.Random]:
    rng, series = random.Random(seed), Series()
    for _ in range(WARM_UP):
        assert not series.add(round(shots * math.exp(rng.gauss(0, spread))))
    return series, rng


def test_the_published_numbers_hold() -> None:
    """10,000 jobs: every surge within 15 jobs, nothing else; and few false alarms besides."""
    found, false = replay(2026)
    assert max(found) <= WITHIN
    assert false == 0
    assert false_alarms(ALARM, 60, seed=5) <= MOST_FALSE
    assert part(delays(ALARM, 40, seed=5), 0.9) <= WITHIN


def test_nothing_is_said_before_it_is_known() -> None:
    series = Series()
    assert not any(series.add(10 ** (n % 7)) for n in range(WARM_UP))
    assert series.warm


def test_one_large_job_is_no_surge_however_large() -> None:
    series, _ = warm()
    assert not series.add(10**15)
    assert series.total <= MOST
    for _ in range(20):
        assert not series.add(1000)
    assert series.total == 0


def test_a_surge_is_found_and_described() -> None:
    series, _ = warm()
    jobs = next(n for n in range(1, 100) if series.add(4000))
    assert jobs <= 5
    assert (series.usual, series.lately > 2000) == (1000, True)


def test_what_a_person_accepts_is_usual_from_then_on() -> None:
    series, rng = warm(spread=0.3)
    while not series.add(round(4000 * math.exp(rng.gauss(0, 0.3)))):
        pass
    for _ in range(20):
        series.add(round(4000 * math.exp(rng.gauss(0, 0.3))))
    series.accept()
    assert not any(series.add(round(4000 * math.exp(rng.gauss(0, 0.3)))) for _ in range(200))


def test_a_slow_drift_is_followed() -> None:
    series, rng = warm(spread=0.4)
    for n in range(6000):
        assert not series.add(round(1000 * 4 ** (n / 6000) * math.exp(rng.gauss(0, 0.4))))


def test_it_survives_being_stored() -> None:
    one, _ = warm(spread=0.5)
    other = msgspec.json.decode(msgspec.json.encode(one), type=Series)
    for n in range(50):
        assert one.add(2000 + n) is other.add(2000 + n)
    assert one == other


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=400))
def test_no_value_breaks_it(values: list[int]) -> None:
    series = Series()
    for value in values:
        series.add(value)
    assert math.isfinite(series.level + series.spread + series.total + series.recent)
    assert len(series.first) < WARM_UP


@pytest.mark.parametrize("spread", [0.0, 0.2, 0.5, 0.8])
def test_fewer_shots_are_never_a_surge(spread: float) -> None:
    series, rng = warm(spread=spread)
    assert not any(series.add(round(200 * math.exp(rng.gauss(0, spread)))) for _ in range(500))
