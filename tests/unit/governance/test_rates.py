"""Rates: right for one key, bounded for any number, and never more lenient for sharing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryogate.governance.rates import RateLimiter


class Seconds:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_then_the_rate() -> None:
    clock = Seconds()
    limiter = RateLimiter(10, 5, monotonic_s=clock)
    assert [limiter.take("a") > 0 for _ in range(7)] == [False] * 5 + [True] * 2
    assert limiter.take("a") == pytest.approx(0.1)
    assert limiter.take("b") == 0.0
    clock.now += 0.1
    assert limiter.take("a") == 0.0
    assert limiter.take("a") > 0
    clock.now += 60
    assert [limiter.take("a") > 0 for _ in range(6)] == [False] * 5 + [True]


def test_refusals_do_not_count() -> None:
    clock = Seconds()
    limiter = RateLimiter(1, 1, monotonic_s=clock)
    assert limiter.take("a") == 0.0
    for _ in range(1000):
        assert limiter.take("a") == pytest.approx(1.0)
    clock.now += 1.0
    assert limiter.take("a") == 0.0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from("abcdefghijkl"), min_size=1, max_size=200))
def test_sharing_places_never_lets_more_through(keys: list[str]) -> None:
    """Eight places for twelve keys: somebody may wait too long, nobody gets too much."""
    clock = Seconds()
    limiter = RateLimiter(2, 3, slots=8, monotonic_s=clock)
    passed: dict[str, int] = {}
    for key in keys:
        clock.now += 0.01
        if limiter.take(key) == 0.0:
            passed[key] = passed.get(key, 0) + 1
    most = 3 + 2 * 0.01 * len(keys) + 1
    assert all(count <= most for count in passed.values())


def test_a_flood_of_keys_makes_nobody_forgotten() -> None:
    clock = Seconds()
    limiter = RateLimiter(1, 1, slots=256, monotonic_s=clock)
    assert limiter.take("victim") == 0.0
    for n in range(20_000):
        limiter.take(f"flood-{n}")
    assert limiter.take("victim") > 0


@pytest.mark.parametrize(("per_s", "burst", "slots"), [(0, 1, 8), (-1, 1, 8), (1, 0, 8), (1, 1, 7)])
def test_what_is_no_rate(per_s: float, burst: int, slots: int) -> None:
    with pytest.raises(ValueError, match="a rate is positive"):
        RateLimiter(per_s, burst, slots=slots)
