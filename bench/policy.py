"""Policy decisions: embedded and by a real OPA over loopback, for the bundle with 200 agents' data.

The data of 200 agents are their statements: one for each, with the conditions that `policy suggest`
writes, beside the shipped ones. The baseline is what no engine can do without: set the input,
evaluate a rule that is one constant, read its answer.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import regorus

from bench.support import free_port, wait_for
from cryogate.domain.decisions import Allow
from cryogate.policies import Bundle, OpaEngine, RegorusEngine, shipped_bundle
from cryogate.policies.guarded import GuardedEngine
from cryogate.policies.local_key import sign_directory
from cryogate.policies.question import encode_question
from cryogate.policies.samples import ISSUE, JOB
from cryogate.ports.policy import Question
from cryogate.tokens.keys import generate

AGENTS = 200
EMBEDDED_US, OPA_US = 300, 1500
_OPA = os.environ.get("CRYOGATE_OPA", str(Path.home() / ".cache/cryogate/bin/opa"))
HAS_OPA = Path(_OPA).exists()
_BARE = 'package cryogate\n\ndecision := {"allow": false, "reasons": [], "obligations": [], "violations": []}\n'  # noqa: E501


def with_agents(room: Path, agents: int) -> Bundle:
    """The shipped bundle with a statement of its own for each of ``agents`` agents."""
    shutil.copytree(shipped_bundle(), room)
    path = room / "cryogate_data" / "statements" / "data.json"
    statements: dict[str, Any] = json.loads(path.read_text())
    for n in range(agents):
        statements[f"agent-{n}-ghz-jobs"] = {
            "principal": {"agent": f"agent-{n}"},
            "effect": "allow",
            "actions": ["job:estimate", "job:submit"],
            "resources": ["backend:local:aer", "experiment:ghz"],
            "conditions": {
                "MaxShots": 1000, "MaxTotalShots": 10_000, "MaxJobs": 10, "MaxCostCents": 100,
                "MaxQubits": 5, "MaxDepth": 50, "MaxTwoQubitGates": 20,
                "AllowedGates": ["cx", "h", "rz"],
            },
        }  # fmt: skip
    path.write_text(json.dumps(statements))
    return sign_directory(room, generate())  # which writes the index for OPA as well


@contextmanager
def opa(room: Path) -> Iterator[str]:
    """A real OPA server on the bundle."""
    port = free_port()
    process = subprocess.Popen(
        [
            _OPA,
            "run",
            "--server",
            "--addr",
            f"127.0.0.1:{port}",
            "--skip-verify",
            "--bundle",
            str(room),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


async def p50_us(ask: Callable[[Question], Awaitable[object]], question: Question, n: int) -> float:
    """Median time of one decision, one after another."""
    for _ in range(50):
        await ask(question)
    times = []
    for _ in range(n):
        began = time.perf_counter()
        await ask(question)
        times.append((time.perf_counter() - began) * 1e6)
    return statistics.median(times)


def bare_us(question: Question, n: int = 2000) -> float:
    """Median time of the least that an evaluation does: input in, a constant out, read."""
    engine = regorus.Engine()
    engine.add_policy("bare.rego", _BARE)
    text = encode_question(question).decode()
    times = []
    for _ in range(n):
        began = time.perf_counter()
        engine.set_input_json(text)
        msgspec.json.decode(engine.eval_rule_as_json("data.cryogate.decision"))
        times.append((time.perf_counter() - began) * 1e6)
    return statistics.median(times)


async def main() -> None:
    """Print medians, their limits, and the ratio to a bare evaluation."""
    with tempfile.TemporaryDirectory(prefix="cryogate-bench-") as name:
        for agents in (0, AGENTS):
            room = Path(name) / str(agents)
            bundle = with_agents(room, agents)
            embedded = RegorusEngine(bundle)
            for what, sample in (("job:submit", JOB), ("token:issue", ISSUE)):
                question = msgspec.convert(sample, Question)
                assert isinstance(await embedded.decide(question), Allow)
                mine, bare = await p50_us(embedded.decide, question, 2000), bare_us(question)
                print(
                    f"{agents:4} agents  {what:<12} embedded p50 {mine:6.0f} us "
                    f"(limit {EMBEDDED_US})  bare {bare:5.0f} us  ratio {mine / bare:4.1f}"
                )
            guarded = GuardedEngine(bundle, 5000, workers=1)
            theirs = await p50_us(guarded.decide, msgspec.convert(JOB, Question), 1000)
            await guarded.close()
            print(f"{agents:4} agents  job:submit   guarded  p50 {theirs:6.0f} us")
            if not HAS_OPA:
                print("no OPA here: make tools")
                continue
            with opa(room) as url:
                server = OpaEngine(url, bundle, 10_000)
                question = msgspec.convert(JOB, Question)
                assert isinstance(await server.decide(question), Allow)
                theirs = await p50_us(server.decide, question, 1000)
                await server.close()
                line = f"OPA      p50 {theirs:6.0f} us (limit {OPA_US})"
                print(f"{agents:4} agents  job:submit   {line}")


if __name__ == "__main__":
    asyncio.run(main())
