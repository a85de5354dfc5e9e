"""How often vendors are asked about the jobs they have."""

from __future__ import annotations

from cryogate.credentials import EmbeddedLeases
from cryogate.gateway.breaker import Breakers
from cryogate.gateway.dispatch_desk import DispatchLimits
from cryogate.gateway.leases import Leases
from cryogate.gateway.vendor_questions import VendorQuestions
from cryogate.testing.clock import FakeClock


def questions(clock: FakeClock, per_s: int, at_once: int) -> VendorQuestions:
    limits = DispatchLimits(questions_per_s=per_s, questions_at_once=at_once)
    leases = Leases(EmbeddedLeases(clock), clock, 300)
    return VendorQuestions(leases, Breakers(clock.now_ms), limits, clock.now_ms)


def test_after_a_restart_the_questions_about_a_thousand_jobs_take_turns() -> None:
    asked = questions(FakeClock(), per_s=100, at_once=32)
    turns = [asked.turn_ms("a") for _ in range(1000)]
    assert turns == sorted(turns)
    for second in range(9):
        heard = sum(second * 1000 <= turn < (second + 1) * 1000 for turn in turns)
        assert heard <= 100 + (33 if second == 0 else 0)
    assert turns[-1] < 10_000
    assert asked.turn_ms("b") == 0  # others have turns of their own


def test_a_quiet_time_saves_up_no_more_than_may_be_under_way() -> None:
    clock = FakeClock()
    asked = questions(clock, per_s=10, at_once=3)
    clock.advance(s=3600)
    assert [asked.turn_ms("a") for _ in range(6)] == [0, 0, 0, 0, 100, 200]
    clock.advance(s=1)
    assert asked.turn_ms("a") == 0
