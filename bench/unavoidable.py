"""What no implementation of a request can do without, measured bare, in CPU microseconds."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from pathlib import Path
from typing import get_args

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from bench.support import cpu_us
from cryogate.circuits import Format, parse_flat
from cryogate.policies import Bundle, RegorusEngine, shipped_bundle
from cryogate.ports import policy as ask

_MESSAGE = b"x" * 300


def sign_us() -> float:
    """One raw ES256 signature."""
    key = ec.generate_private_key(ec.SECP256R1())
    return cpu_us(lambda: key.sign(_MESSAGE, ec.ECDSA(hashes.SHA256())))


def verify_us() -> float:
    """One raw ES256 verification."""
    key = ec.generate_private_key(ec.SECP256R1())
    signature, public = key.sign(_MESSAGE, ec.ECDSA(hashes.SHA256())), key.public_key()
    return cpu_us(lambda: public.verify(signature, _MESSAGE, ec.ECDSA(hashes.SHA256())))


def parse_us(source: str) -> float:
    """Our parser with facts and fingerprint; what it costs beside others is `circuits.py`."""
    text = source.encode()

    def once() -> None:
        program = parse_flat(text, Format.OPENQASM2)
        assert program.facts.gates
        assert program.fingerprint

    return cpu_us(once)


def read_us() -> float:
    """One row by primary key from SQLite."""
    with tempfile.TemporaryDirectory() as room:
        db = sqlite3.connect(Path(room) / "raw.db", isolation_level=None)
        db.execute(
            "CREATE TABLE t (id TEXT PRIMARY KEY, " + ", ".join(f"c{i}" for i in range(20)) + ")"
        )
        db.execute("INSERT INTO t VALUES (?" + ", 'x'" * 20 + ")", ("job",))
        spent = cpu_us(lambda: db.execute("SELECT * FROM t WHERE id = ?", ("job",)).fetchone())
        db.close()
    return spent


def engine_and_question(action: str) -> tuple[RegorusEngine, ask.Question]:
    """The embedded engine on the shipped policy, and the question that the benchmarks' agent asks.

    Its grant names every gate, as a grant does that leaves gates to policy.
    """
    assert action in get_args(ask.Action)
    bundle = Bundle.load(shipped_bundle())
    gates = tuple(bundle.data["cryogate_data"]["settings"]["gates"])
    wide = 10**12
    question = ask.Question(
        action=action,  # type: ignore[arg-type]
        now_ms=1_800_000_000_000,
        agent=ask.AgentFacts(id="bench-bot", owner="bench@example.org", tier="sandbox",
                             stage="simulator",
                             roles=("qpu.read-aggregates", "qpu.submit-only")),
        experiment=ask.ExperimentFacts(
            id="bench", purpose="benchmark", classification="poc", owner="bench@example.org",
            cost_center="none", allowed_agents=("bench-bot",), allowed_backends=("local:null",),
            release="aggregates", closes_ms=4_000_000_000_000, budget_left_cents=wide,
            budget_left_shots=wide),
        grant=ask.GrantFacts(allowed_backends=("local:null",), allowed_gate_set=gates,
                             max_shots=10_000, max_total_shots=100_000, max_jobs=100,
                             max_cost_cents=2000, results="aggregates", ttl_s=300),
        shots=100,
        circuit=ask.CircuitFacts(sha256="0" * 64, qubits=5, depth=9, gates=20, two_qubit_gates=10,
                                 measurements=5, gate_set=("cx", "rz"), features=()),
        backend=ask.BackendFacts(name="local:null", scheme="local", simulator=True, qubits=1024),
        price=ask.PriceFacts(cents=2, currency="USD"),
    )  # fmt: skip
    return RegorusEngine(bundle), question


def decision_us(action: str) -> float:
    """One decision of the embedded engine on the shipped policy."""
    engine, question = engine_and_question(action)

    async def many(count: int) -> None:
        for _ in range(count):
            await engine.decide(question)

    loop = asyncio.new_event_loop()
    spent = cpu_us(lambda: loop.run_until_complete(many(20))) / 20
    loop.close()
    return spent
