"""The circuit breaker of a provider."""

from __future__ import annotations

from cryogate.gateway.breaker import Breakers, BreakerState
from cryogate.testing.clock import FakeClock


def test_it_opens_tries_one_and_closes() -> None:
    clock = FakeClock()
    breakers = Breakers(clock.now_ms)
    assert [breakers.failed("a") for _ in range(5)] == [False] * 4 + [True]
    assert not breakers.failed("a")  # a call that was still under way
    assert breakers.shut_out() == ["a"]
    assert not breakers.admit("a")
    assert breakers.admit("b")  # others are not blocked
    first_ms = breakers.view("a").retry_in_ms
    clock.advance(s=10)
    assert breakers.view("a").state is BreakerState.HALF_OPEN
    assert breakers.shut_out() == []
    assert [breakers.admit("a") for _ in range(3)] == [True, False, False]
    assert breakers.shut_out() == ["a"]
    assert breakers.failed("a")
    assert breakers.view("a").retry_in_ms > first_ms
    clock.advance(s=20)
    assert breakers.admit("a")
    breakers.answered("a")
    assert breakers.view("a").state is BreakerState.CLOSED
    assert not breakers.degraded()


def test_a_trial_that_is_lost_does_not_shut_a_provider_out_for_ever() -> None:
    clock = FakeClock()
    breakers = Breakers(clock.now_ms)
    for _ in range(5):
        breakers.failed("a")
    clock.advance(s=10)
    assert breakers.admit("a")
    assert not breakers.admit("a")
    clock.advance(s=60)
    assert breakers.admit("a")
