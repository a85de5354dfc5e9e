"""The circuit breaker of a provider."""

from __future__ import annotations

from cryogate.gateway.breaker import Breakers, BreakerState, BreakerView
from cryogate.testing.clock import FakeClock


def test_it_opens_tries_one_and_closes() -> None:
    clock, opened = FakeClock(), list[BreakerView]()
    breakers = Breakers(clock.now_ms, opened.append)
    for count in range(1, 6):
        assert not opened, count
        breakers.failed("a")
    breakers.failed("a")  # a call that was still under way
    assert [view.provider for view in opened] == ["a"]
    assert breakers.shut_out() == ["a"]
    assert not breakers.admit("a")
    assert breakers.admit("b")  # others are not blocked
    first_ms = breakers.view("a").retry_in_ms
    clock.advance(s=10)
    assert breakers.view("a").state is BreakerState.HALF_OPEN
    assert breakers.shut_out() == []
    assert [breakers.admit("a") for _ in range(3)] == [True, False, False]
    assert breakers.shut_out() == ["a"]
    breakers.failed("a")
    assert len(opened) == 2
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


def test_one_job_of_which_nothing_is_heard_is_no_outage() -> None:
    breakers = Breakers(FakeClock().now_ms)
    for _ in range(50):
        breakers.unheard("a", "j1")
    for n in range(4):
        breakers.unheard("a", f"j{n}")
    assert not breakers.degraded()
    breakers.heard("a")
    assert breakers.view("a").silent_jobs == 0


def test_silence_about_several_jobs_opens_it_and_any_answer_closes_it() -> None:
    clock, opened = FakeClock(), list[BreakerView]()
    breakers = Breakers(clock.now_ms, opened.append)
    for n in range(9):
        breakers.unheard("a", f"j{n}")
    assert [(view.provider, view.silent_jobs) for view in opened] == [("a", 5)]
    assert not breakers.admit("a")
    breakers.heard("a")
    assert breakers.admit("a")
    assert not breakers.degraded()


def test_an_answer_about_a_job_says_nothing_about_submissions() -> None:
    clock, opened = FakeClock(), list[BreakerView]()
    breakers = Breakers(clock.now_ms, opened.append)
    for _ in range(4):
        breakers.failed("a")
        breakers.unheard("a", "j1")
        breakers.heard("a")
    breakers.failed("a")
    assert len(opened) == 1
    breakers.unheard("a", "j1")
    breakers.heard("a")
    assert not breakers.admit("a")


def test_the_trial_after_silence_counts_though_it_is_the_first_submission_that_fails() -> None:
    clock, opened = FakeClock(), list[BreakerView]()
    breakers = Breakers(clock.now_ms, opened.append)
    for n in range(5):
        breakers.unheard("a", f"j{n}")
    clock.advance(s=10)
    assert breakers.admit("a")
    breakers.failed("a")
    assert len(opened) == 2
    breakers.heard("a")  # it answers questions, and takes no jobs
    assert not breakers.admit("a")
