"""Decisions that are asked for together are taken together."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.policy import JOB

from cryogate.policies import Bundle, RegorusEngine, shipped_bundle


async def test_requests_that_are_ready_decide_in_one_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, steps = RegorusEngine(Bundle.load(shipped_bundle())), list[str]()
    ask = engine._ask

    def asked(*args: object) -> str:
        steps.append("decides")
        return ask(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(engine, "_ask", asked)

    async def request() -> None:
        steps.append("comes")
        await engine.decide(JOB)
        steps.append("goes on")

    await asyncio.gather(*(request() for _ in range(3)))
    assert steps == ["comes"] * 3 + ["decides"] * 3 + ["goes on"] * 3
