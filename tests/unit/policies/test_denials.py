"""Recent denials are counted per agent, forgotten in time, and bounded in memory."""

from __future__ import annotations

from cryogate.governance.denials import RecentDenials


def test_denials_are_counted_per_agent_and_forgotten_after_the_window() -> None:
    denials = RecentDenials(window_ms=1000)
    assert denials.recent("a", 0) == 0
    for now_ms in (0, 1, 999):
        denials.record("a", now_ms)
    assert denials.recent("a", 999) == 3
    assert denials.recent("b", 999) == 0
    assert denials.recent("a", 1000) == 2
    assert denials.recent("a", 1999) == 0


def test_a_flood_is_bounded_in_memory() -> None:
    denials = RecentDenials()
    for n in range(3000):
        denials.record("a", n)
    assert denials.recent("a", 3000) == 1000
    for n in range(10_000):
        denials.record(f"agent-{n}", n)
    assert denials.recent("a", 3000) == 0  # refused longest ago: forgotten first
    assert denials.recent("agent-9999", 10_000) == 1
