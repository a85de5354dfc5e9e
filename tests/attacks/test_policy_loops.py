"""A rule that loops on what an agent sends is stopped, denied and told of (A3)."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from tests.integration.test_opa import comparable, generated
from tests.support.policy import JOB

from cryogate.domain.decisions import Allow, Deny
from cryogate.policies import Bundle, RegorusEngine, shipped_bundle
from cryogate.policies.bundle_files import read_files
from cryogate.policies.guarded import GuardedEngine

replace = msgspec.structs.replace
# Quick on every trial with few shots; for ever with many.
LURKING = """package cryogate

import rego.v1

violations contains found("loop", null, null, "loop") if {
	input.shots > 1000
	seen := [c | some a in numbers.range(1, 30000); some b in numbers.range(1, 30000); c := a * b]
	count(seen) == 0
}
"""


def lurking() -> Bundle:
    files = read_files(shipped_bundle())
    return Bundle.of({**files, "cryogate/lurking.rego": LURKING.encode()})


@pytest.mark.attack("A3")
@pytest.mark.slow
async def test_a_loop_that_waits_for_its_input_is_stopped_and_denied() -> None:
    engine = GuardedEngine(lurking(), timeout_ms=1500, workers=1)
    try:
        assert isinstance(await engine.decide(JOB), Allow)
        # while it loops, this process goes on
        asked = asyncio.create_task(engine.decide(replace(JOB, shots=1001)))
        turns = 0
        while not asked.done():
            turns += 1
            await asyncio.wait([asked], timeout=0.01)
        denied = await asked
        assert isinstance(denied, Deny)
        assert denied.reasons == ("policy_unavailable", "policy_too_slow")
        assert turns > 5
        assert isinstance(await engine.decide(JOB), Allow)
    finally:
        await engine.close()


async def test_the_guarded_engine_decides_as_the_embedded_one_does() -> None:
    bundle = Bundle.load(shipped_bundle())
    embedded, guarded = RegorusEngine(bundle), GuardedEngine(bundle, timeout_ms=5000)
    try:
        for number in range(60):
            question = generated(number)
            mine, theirs = await embedded.decide(question), await guarded.decide(question)
            assert comparable(mine) == comparable(theirs), question
            assert await embedded.caps(question) == await guarded.caps(question)
        several = await asyncio.gather(*(guarded.decide(JOB) for _ in range(20)))
        assert all(isinstance(decision, Allow) for decision in several)
    finally:
        await guarded.close()


@pytest.mark.attack("A3")
async def test_an_error_is_denied_with_the_reason() -> None:
    shipped = Bundle.load(shipped_bundle())
    text = "package cryogate\n\nimport rego.v1\n\ndecision := 1 / 0\n"
    decision = await RegorusEngine(Bundle((("a.rego", text),), shipped.data, "d")).decide(JOB)
    assert isinstance(decision, Deny)
    assert decision.reasons == ("policy_unavailable", "policy_failed")
