"""Every attribute that policy may look at: one example each, the same in both engines."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.opa import opa_answers
from tests.support.policy import AGENT, CIRCUIT, EXPERIMENT, ISSUE, JOB, NOW_MS

from cryogate.domain.decisions import Allow
from cryogate.policies import Bundle, RegorusEngine, shipped_bundle
from cryogate.ports.policy import BackendFacts, HistoryFacts, Question

replace = msgspec.structs.replace
DAY_MS = 86_400_000
HARDWARE = BackendFacts(name="ionq:forte-1", scheme="ionq", simulator=False, qubits=36)
PROMOTED = replace(AGENT, tier="trusted", stage="hardware")
ON_HARDWARE = replace(JOB, agent=PROMOTED, backend=HARDWARE)


def attributed(question: Question = JOB, **attributes: Any) -> Question:
    return replace(question, agent=replace(question.agent, attributes=attributes))


def denials(count: int) -> Question:
    return replace(JOB, history=HistoryFacts(recent_denials=count))


def with_left(cents: int, shots: int) -> Question:
    return replace(
        JOB, experiment=replace(EXPERIMENT, budget_left_cents=cents, budget_left_shots=shots)
    )


def calibrated(age_s: int | None) -> Question:
    return replace(ON_HARDWARE, backend=replace(HARDWARE, calibration_age_s=age_s))


def simulated(known: bool | None) -> Question:
    return replace(ON_HARDWARE, circuit=replace(CIRCUIT, simulated=known))


def at(ms: int) -> Question:
    return replace(JOB, now_ms=ms, experiment=replace(EXPERIMENT, closes_ms=2**52))


def classified(name: str) -> Question:
    return replace(JOB, experiment=replace(EXPERIMENT, classification=name))


# condition → (its value, questions it lets pass, questions it does not)
EXAMPLES: dict[str, tuple[Any, list[Question], list[Question]]] = {
    "Models": (
        ["gpt-*", "claude-4"],
        [attributed(model="gpt-6"), attributed(model="claude-4")],
        [JOB, attributed(model="claude-4x"), attributed(model=7), attributed(model=None)],
    ),
    "MinModelConfidence": (
        80,
        [attributed(model_confidence=80), attributed(model_confidence=100)],
        [JOB, attributed(model_confidence=79), attributed(model_confidence="99")],
    ),
    "RequireSandbox": (
        True,
        [attributed(sandboxed=True)],
        [JOB, attributed(sandboxed=False), attributed(sandboxed="true")],
    ),
    "Classification": (["poc"], [classified("poc")], [classified("sensitive")]),
    "Stage": (["hardware"], [replace(JOB, agent=replace(AGENT, stage="hardware"))], [JOB]),
    # 2026-11-18 10:40 UTC is a Wednesday
    "DaysUtc": (["wed", "fri"], [at(NOW_MS), at(NOW_MS + 2 * DAY_MS)], [at(NOW_MS + DAY_MS)]),
    "HoursUtc": (
        {"from": 22, "to": 6},
        [at(NOW_MS - NOW_MS % DAY_MS), at(NOW_MS - NOW_MS % DAY_MS + 23 * 3_600_000)],
        [at(NOW_MS - NOW_MS % DAY_MS + 6 * 3_600_000)],
    ),
    "NotAfter": ("2026-11-19T00:00:00Z", [at(NOW_MS)], [at(NOW_MS + DAY_MS)]),
    "MinBudgetLeftCents": (500, [with_left(500, 0)], [with_left(499, 10**6)]),
    "MinBudgetLeftShots": (500, [with_left(0, 500)], [with_left(10**6, 499)]),
    "MaxRecentDenials": (5, [JOB, denials(5)], [denials(6)]),
    "MaxCalibrationAgeS": (
        3600,
        [JOB, ISSUE, calibrated(0), calibrated(3600)],
        [calibrated(3601), calibrated(None)],
    ),
    "RequireSimulatedFirst": (
        True,
        [JOB, ISSUE, simulated(True)],
        [simulated(False), simulated(None)],
    ),
}


@pytest.mark.parametrize("effect", ["allow", "deny"])
@pytest.mark.parametrize("condition", EXAMPLES)
async def test_a_condition_holds_for_its_examples(
    condition: str, effect: str, tmp_path: Path
) -> None:
    """In an allow it lets its examples pass; in a deny a limit denies all others and a selector
    denies exactly its examples."""
    want, inside, outside = EXAMPLES[condition]
    every = {"principal": "*", "effect": "allow", "actions": ["*"], "resources": ["*"]}
    statements: dict[str, Any] = {
        "it": {**every, "effect": effect, "conditions": {condition: want}}
    }
    if effect == "deny":
        statements["all"] = every
    room = tmp_path / "bundle"
    shutil.copytree(shipped_bundle(), room)
    (room / "cryogate_data" / "statements" / "data.json").write_text(json.dumps(statements))
    bundle = Bundle.load(room)
    selector = condition in {
        "Models", "Classification", "Stage", "DaysUtc", "HoursUtc", "NotAfter"
    }  # fmt: skip
    flipped = effect == "deny" and selector
    questions = [*inside, *outside]
    expected = [(n < len(inside)) is not flipped for n in range(len(questions))]
    engine = RegorusEngine(bundle)
    embedded = [await engine.decide(question) for question in questions]
    server = [decision for decision, _ in opa_answers(room, questions, bundle.digest)]
    assert [isinstance(d, Allow) for d in embedded] == expected
    assert [isinstance(d, Allow) for d in server] == expected
