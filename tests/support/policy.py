"""Questions for policy tests: one that the shipped bundle allows, to be bent."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from cryogate.ports.policy import (
    AgentFacts,
    BackendFacts,
    CircuitFacts,
    ExperimentFacts,
    GrantFacts,
    PriceFacts,
    Question,
)

NOW_MS = 1_795_000_000_000

AGENT = AgentFacts(
    id="bot",
    owner="ada@example.org",
    tier="sandbox",
    stage="simulator",
    roles=("qpu.submit-only", "qpu.read-aggregates"),
)
EXPERIMENT = ExperimentFacts(
    id="ghz",
    purpose="test",
    classification="poc",
    owner="ada@example.org",
    cost_center="lab",
    allowed_agents=("bot",),
    allowed_backends=("local:aer", "ionq:forte-1"),
    release="aggregates",
    closes_ms=NOW_MS + 1000,
    budget_left_cents=10_000,
    budget_left_shots=1_000_000,
)
GRANT = GrantFacts(
    allowed_backends=("local:aer",),
    allowed_gate_set=("cx", "h"),
    max_shots=1000,
    max_total_shots=10_000,
    max_jobs=10,
    max_cost_cents=100,
    results="aggregates",
    ttl_s=300,
)
CIRCUIT = CircuitFacts(
    sha256="0" * 64,
    qubits=2,
    depth=2,
    gates=2,
    two_qubit_gates=1,
    measurements=2,
    gate_set=("cx", "h"),
    features=(),
)
PRICE = PriceFacts(cents=0, currency="USD")
JOB = Question(
    action="job:submit",
    now_ms=NOW_MS,
    agent=AGENT,
    experiment=EXPERIMENT,
    grant=GRANT,
    shots=100,
    circuit=CIRCUIT,
    backend=BackendFacts(name="local:aer", scheme="local", simulator=True, qubits=24),
    price=PRICE,
)
ISSUE = Question(
    action="token:issue", now_ms=NOW_MS, agent=AGENT, experiment=EXPERIMENT, grant=GRANT
)


def opa_binary() -> str:
    """The OPA executable; skips the test, or fails it when real parts are required."""
    cached = Path.home() / ".cache" / "cryogate" / "bin" / "opa"
    found = os.environ.get("CRYOGATE_OPA") or shutil.which("opa")
    if found is None and cached.exists():
        found = str(cached)
    if found is None:
        if os.environ.get("CRYOGATE_REQUIRE_REAL") == "1":
            pytest.fail("OPA is required and not there")
        pytest.skip("OPA is not installed")
    return found
