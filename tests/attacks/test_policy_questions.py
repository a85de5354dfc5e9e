"""What is not a strict question never reaches a rule (A4); nothing is decided from memory (A2)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.support.policy import AGENT, CIRCUIT, EXPERIMENT, GRANT, JOB, PRICE

from cryogate.domain.decisions import Allow, Deny
from cryogate.policies import Bundle, RegorusEngine, shipped_bundle
from cryogate.policies.question import MAX_QUESTION_BYTES, MalformedQuestion, encode_question

replace = msgspec.structs.replace


def engine() -> RegorusEngine:
    return RegorusEngine(Bundle.load(shipped_bundle()))


NOT_COUNTS: list[Any] = ["100", "1e9", True, 1e3, 1.5, -1, 2**53, [100], {"n": 1}, float("inf")]


@pytest.mark.attack("A4")
@pytest.mark.parametrize("value", NOT_COUNTS, ids=repr)
async def test_what_is_no_count_is_refused_before_evaluation(value: Any) -> None:
    for bent in (
        replace(JOB, shots=value),
        replace(JOB, price=replace(PRICE, cents=value)),
        replace(JOB, circuit=replace(CIRCUIT, depth=value)),
        replace(JOB, grant=replace(GRANT, max_shots=value)),
    ):
        if value == float("inf") and bent.shots == value:
            assert isinstance(await engine().decide(bent), Deny)  # null: a fact is missing
            continue
        with pytest.raises(MalformedQuestion):
            encode_question(bent)


@pytest.mark.attack("A4")
@pytest.mark.parametrize("value", [*NOT_COUNTS, float("nan"), None], ids=repr)
async def test_the_decision_on_what_is_no_count_is_a_no(value: Any) -> None:
    assert isinstance(await engine().decide(replace(JOB, shots=value)), Deny)


@pytest.mark.attack("A4")
@pytest.mark.parametrize(
    "name",
    [
        "local:\u0430er",
        "local:aer\u200b",
        "local:aer\x00",
        "local:aer\n",
        "\u202elocal:aer",
        "",
        "x" * 257,
    ],
    ids=ascii,
)
def test_confusable_names_are_refused_wherever_they_stand(name: str) -> None:
    backend = JOB.backend
    assert backend is not None
    for bent in (
        replace(JOB, backend=replace(backend, name=name)),
        replace(JOB, agent=replace(AGENT, id=name)),
        replace(JOB, agent=replace(AGENT, tier=name)),
        replace(JOB, agent=replace(AGENT, roles=(name,))),
        replace(JOB, experiment=replace(EXPERIMENT, id=name)),
        replace(JOB, experiment=replace(EXPERIMENT, allowed_backends=(name,))),
        replace(JOB, grant=replace(GRANT, allowed_gate_set=(name,))),
        replace(JOB, circuit=replace(CIRCUIT, gate_set=(name,))),
    ):
        with pytest.raises(MalformedQuestion):
            encode_question(bent)


def test_free_text_may_be_in_any_language() -> None:
    encode_question(replace(JOB, experiment=replace(EXPERIMENT, purpose='Grüße "an" alle\n')))


@pytest.mark.attack("A4")
def test_a_huge_question_is_refused() -> None:
    many = tuple(f"g{i}" for i in range(MAX_QUESTION_BYTES // 4))
    with pytest.raises(MalformedQuestion):
        encode_question(replace(JOB, circuit=replace(CIRCUIT, gate_set=many)))


@pytest.mark.attack("A2")
async def test_a_yes_for_ten_shots_is_no_yes_for_a_million() -> None:
    policy = engine()
    assert isinstance(await policy.decide(replace(JOB, shots=10)), Allow)
    assert isinstance(await policy.decide(replace(JOB, shots=10**6)), Deny)
    assert isinstance(await policy.decide(replace(JOB, shots=10)), Allow)
