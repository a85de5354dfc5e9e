"""The shipped bundle means the same in a real OPA server and in the embedded engine."""

from __future__ import annotations

import asyncio
import random
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import httpx
import msgspec
import pytest
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


async def test_both_engines_decide_alike_on_generated_questions(opa_url: str) -> None:
    bundle = Bundle.load(shipped_bundle())
    embedded, opa = RegorusEngine(bundle), OpaEngine(opa_url, bundle, 10_000)
    yes = no = offered = 0
    try:
        for number in range(400):
            question = generated(number)
            mine, theirs = await embedded.decide(question), await opa.decide(question)
            assert comparable(mine) == comparable(theirs), question
            caps = await embedded.caps(question)
            assert caps == await opa.caps(question), question
            yes += isinstance(mine, Allow)
            no += isinstance(mine, Deny) and mine.policy_digest != ""
            offered += caps is not None
    finally:
        await opa.close()
    assert yes >= 15
    assert no >= 150
    assert yes + no == 400
    assert offered >= 15


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
