"""The shipped bundle means the same in a real OPA server and in the embedded engine."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import httpx
import msgspec
import pytest
from tests.support.opa import opa_answers
from tests.support.policy import (
    AGENT,
    CIRCUIT,
    EXPERIMENT,
    GRANT,
    ISSUE,
    JOB,
    NOW_MS,
    PRICE,
    opa_binary,
)

from cryogate.domain.decisions import Allow, Decision, Deny
from cryogate.policies import Bundle, OpaEngine, RegorusEngine, shipped_bundle
from cryogate.policies.statement_index import FILE as INDEX
from cryogate.policies.statement_index import index_of
from cryogate.ports.policy import Action, BackendFacts, HistoryFacts, Question

replace = msgspec.structs.replace


@contextmanager
def opa_server(*arguments: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A real OPA server: its URL, and its process to end early."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with subprocess.Popen(
        [opa_binary(), "run", "--server", "--addr", address, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            # Retries wait longer each time: for a minute in all.
            with httpx.Client(transport=httpx.HTTPTransport(retries=8)) as client:
                assert client.get(f"http://{address}/health").status_code == 200
            yield f"http://{address}", process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def opa_url() -> Iterator[str]:
    with opa_server("--bundle", str(shipped_bundle())) as (url, _):
        yield url


@pytest.fixture
def empty_opa(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    (tmp_path / "empty.rego").write_text("package other\n")
    with opa_server(str(tmp_path)) as server:
        yield server


CURRENCIES = ("USD", "USD", "EUR")
ACTIONS = (*get_args(Action), "job:submit")


def generated(number: int) -> Question:
    """A question that may break any limit; the same for the same number."""
    r = random.Random(number)
    name = r.choice(["local:aer", "local:null", "ionq:forte-1"])
    agent = replace(
        AGENT,
        id=r.choice(["bot", "bot", "bot", "eve"]),
        tier=r.choice(["sandbox", "standard", "trusted", "trusted", "nobody"]),
        stage=r.choice(["simulator", "hardware", "hardware"]),
        roles=tuple(
            r.sample(
                ["qpu.submit-only", "qpu.read-aggregates", "qpu.read-raw"], r.choice([0, 1, 2, 3])
            )
        )
        + (("qpu.admin-experiment",) if r.random() < 0.05 else ()),
    )
    experiment = replace(
        EXPERIMENT,
        classification=r.choice(["poc", "production", "sensitive"]),
        allowed_backends=r.choice([("local:aer",), ("local:aer", "local:null", "ionq:forte-1")]),
        release=r.choice(["none", "aggregates", "raw"]),
        closes_ms=NOW_MS + r.choice([-1, 0, 1, 1000, 1000]),
    )
    grant = replace(
        GRANT,
        allowed_backends=r.choice([(), ("local:aer",), ("local:aer", "ionq:forte-1"), (name,)]),
        allowed_gate_set=r.choice([("cx", "h"), ("cx", "frob")]),
        max_shots=r.choice([0, 1000, 10_000, 10_001, 2**53 - 1]),
        max_jobs=r.choice([1, 100, 101]),
        results=r.choice(["none", "aggregates", "raw"]),
        ttl_s=r.choice([60, 900, 901, 3600, 3601]),
    )
    action = r.choice(ACTIONS)
    is_job = action.startswith("job:")
    return Question(
        action=action,
        now_ms=NOW_MS,
        agent=agent,
        experiment=None if r.random() < 0.05 else experiment,
        grant=None if r.random() < 0.05 else grant,
        shots=r.choice([0, 1, 1000, 10_000, 10_001, 10**6]) if is_job else None,
        circuit=replace(
            CIRCUIT,
            qubits=r.choice([2, 24, 25, 1000]),
            depth=r.choice([2, 10_000, 10_001]),
            gate_set=r.choice([(), ("cx", "h"), ("frob",)]),
            features=r.choice([(), ("reset",)]),
        )
        if is_job
        else None,
        backend=BackendFacts(
            name=name, scheme=name.split(":")[0], simulator=name.startswith("local"), qubits=36
        )
        if is_job
        else None,
        price=replace(
            PRICE, cents=r.choice([0, 500, 501, 10**6]), currency=r.choice(["USD", "EUR"])
        )
        if is_job and r.random() < 0.95
        else None,
        history=HistoryFacts(
            token_jobs=r.choice([0, 99, 100]),
            token_shots=r.choice([0, 99_999]),
            token_cents=r.choice([0, 900]),
        ),
    )


def comparable(decision: Decision) -> object:
    if isinstance(decision, Allow):
        return ("allow", set(decision.obligations), set(decision.reasons))
    return ("deny", {repr(v) for v in decision.violations}, set(decision.reasons))


ABAC = {
    "base": {
        "principal": "*",
        "effect": "allow",
        "actions": ["*"],
        "resources": ["*"],
        "conditions": {"Models": ["gpt-*", "claude-4"], "DaysUtc": ["mon", "tue", "sun", "thu"]},
    },
    "attested": {
        "principal": {"tier": ["standard", "trusted"]},
        "effect": "allow",
        "actions": ["token:issue", "job:*"],
        "resources": ["*"],
        "conditions": {
            "RequireSandbox": True,
            "MinModelConfidence": 80,
            "MaxRecentDenials": 5,
            "MinBudgetLeftCents": 500,
            "MinBudgetLeftShots": 1000,
        },
    },
    "careful": {
        "principal": "*",
        "effect": "deny",
        "actions": ["job:*"],
        "resources": ["*"],
        "conditions": {
            "Classification": ["production", "sensitive"],
            "RequireSimulatedFirst": True,
            "MaxCalibrationAgeS": 86_400,
        },
    },
    "bot-without-resets": {
        "principal": {"agent": ["bot", "other"]},
        "effect": "deny",
        "actions": ["job:*"],
        "resources": ["*"],
        "conditions": {"ForbiddenFeatures": ["reset"]},
    },
    "eve-is-not-here": {
        "principal": {"agent": "eve", "tier": ["sandbox", "standard"]},
        "effect": "deny",
        "actions": ["*"],
        "resources": ["*"],
    },
    "bo-anything": {
        "principal": {"agent": "bo*"},
        "effect": "deny",
        "actions": ["result:*"],
        "resources": ["*"],
    },
    "nights": {
        "principal": "*",
        "effect": "deny",
        "actions": ["*"],
        "resources": ["*"],
        "conditions": {"HoursUtc": {"from": 22, "to": 5}, "AttributeEquals": {"sandboxed": False}},
    },
}


def bent(question: Question, number: int) -> Question:
    """The question with attributes, history, clock and device facts that ABAC looks at."""
    r = random.Random(number)
    attributes: dict[str, str | int | bool | None] = {}
    for name, values in (
        ("model", ("gpt-6", "claude-4", "claude-3", None, 7)),
        ("model_confidence", (79, 80, 81, "90", None)),
        ("sandboxed", (True, True, False, "true")),
    ):
        if r.random() < 0.9:
            attributes[name] = r.choice(values)
    question = replace(
        question,
        now_ms=NOW_MS + r.randrange(14) * 43_200_000,
        agent=replace(question.agent, attributes=attributes),
        history=replace(question.history, recent_denials=r.choice([0, 5, 6, 1000])),
    )
    if question.experiment is not None:
        experiment = replace(
            question.experiment,
            closes_ms=NOW_MS + 10 * 86_400_000,
            budget_left_cents=r.choice([0, 499, 500, 10_000]),
            budget_left_shots=r.choice([999, 1000, 10**6]),
        )
        question = replace(question, experiment=experiment)
    if question.circuit is not None and question.backend is not None:
        question = replace(
            question,
            circuit=replace(question.circuit, simulated=r.choice([None, True, True, False])),
            backend=replace(
                question.backend, calibration_age_s=r.choice([None, 0, 86_400, 86_401])
            ),
        )
    return question


def bundle_with(statements: dict[str, object] | None, room: Path, *, indexed: bool = False) -> Path:
    """The shipped bundle, with other statements, and their index where OPA is to use it."""
    shutil.copytree(shipped_bundle(), room)
    if statements is not None:
        (room / "cryogate_data" / "statements" / "data.json").write_text(json.dumps(statements))
    if indexed and statements is not None:
        (room / INDEX).parent.mkdir()
        (room / INDEX).write_text(json.dumps(index_of(statements)))
    return room


@pytest.mark.parametrize(
    ("statements", "questions", "indexed"),
    [
        (None, [generated(n) for n in range(2000)], False),
        (ABAC, [bent(generated(n), n) for n in range(800)], False),
        (ABAC, [bent(generated(n), n) for n in range(800, 1200)], True),
    ],
    ids=["shipped", "abac", "abac-indexed"],
)
@pytest.mark.slow
async def test_both_engines_decide_alike_on_generated_questions(
    statements: dict[str, object] | None, questions: list[Question], indexed: bool, tmp_path: Path
) -> None:
    """The embedded engine always has the index; a server without it looks at every statement."""
    room = bundle_with(statements, tmp_path / "bundle", indexed=indexed)
    bundle = Bundle.load(room)
    embedded = RegorusEngine(bundle)
    yes = no = offered = 0
    for question, (decision, caps) in zip(
        questions, opa_answers(room, questions, bundle.digest), strict=True
    ):
        mine = await embedded.decide(question)
        assert comparable(mine) == comparable(decision), question
        assert await embedded.caps(question) == caps, question
        yes += isinstance(mine, Allow)
        no += isinstance(mine, Deny) and mine.policy_digest != ""
        offered += caps is not None
    assert yes >= 8
    assert no >= 150
    assert yes + no == len(questions)
    assert offered >= 8


async def test_a_real_server_answers_as_the_engine_does(opa_url: str) -> None:
    bundle = Bundle.load(shipped_bundle())
    embedded, opa = RegorusEngine(bundle), OpaEngine(opa_url, bundle, 10_000)
    try:
        for question in map(generated, range(60)):
            mine, theirs = await embedded.decide(question), await opa.decide(question)
            assert comparable(mine) == comparable(theirs), question
            assert await embedded.caps(question) == await opa.caps(question), question
    finally:
        await opa.close()


@pytest.mark.attack("A3")
async def test_an_opa_without_the_bundle_denies(
    empty_opa: tuple[str, subprocess.Popen[bytes]],
) -> None:
    url, process = empty_opa
    engine = OpaEngine(url, Bundle.load(shipped_bundle()), 10_000)
    try:
        async with httpx.AsyncClient() as client:
            answer = await client.post(f"{url}/v1/data/cryogate/decision", json={"input": {}})
        assert answer.status_code == 200
        assert "result" not in answer.json()
        assert isinstance(await engine.decide(JOB), Deny)
        assert await engine.caps(ISSUE) is None
        process.kill()
        await asyncio.to_thread(process.wait)
        assert isinstance(await engine.decide(JOB), Deny)
    finally:
        await engine.close()


def test_opa_runs_the_bundles_own_tests() -> None:
    done = subprocess.run(
        [opa_binary(), "test", "--bundle", str(shipped_bundle())],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS" in done.stdout


def test_opa_finds_no_fault_in_strict_mode() -> None:
    done = subprocess.run(
        [opa_binary(), "check", "--strict", str(shipped_bundle())],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
