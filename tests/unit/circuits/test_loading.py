"""The way in: flat here, rich in a worker, and a worker's answer trusted no more than its input."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from qiskit import QuantumCircuit, qpy
from qiskit.circuit import Parameter
from tests.unit.circuits.support import qasm2

from cryogate.circuits import (
    QPY_ENTRYPOINT,
    RICH_ENTRYPOINT,
    CircuitError,
    Format,
    GuardedPool,
    NeedsRichParser,
    ParseLimits,
    batch_of,
    load,
    load_sweep,
    parse_ionq_batch,
)

LIMITS = ParseLimits()
RICH = b"OPENQASM 3.0; gate g(t) a { U(t, 0, 0) a; } qubit[2] q; g(0.5) q;"


@pytest.fixture
async def pool() -> AsyncIterator[GuardedPool]:
    made = GuardedPool(RICH_ENTRYPOINT, size=1, max_jobs=100, request_timeout_s=60.0)
    yield made
    await made.close()


@pytest.fixture
async def qpy_pool() -> AsyncIterator[GuardedPool]:
    made = GuardedPool(QPY_ENTRYPOINT, size=1, max_jobs=100, request_timeout_s=60.0)
    yield made
    await made.close()


async def test_flat_needs_no_worker() -> None:
    source = b'OPENQASM 2.0; include "qelib1.inc"; qreg q[1]; x q[0];'
    assert (await load(source, Format.OPENQASM2, LIMITS, None)).facts.gates == 1
    ionq = b'{"qubits":1,"circuit":[{"gate":"x","target":0}]}'
    assert (await load(ionq, Format.IONQ_JSON)).facts.gates == 1
    large = source + b"x q[0];" * 20_000
    assert (await load(large, Format.OPENQASM2)).facts.gates == 20_001


async def test_rich_needs_one(pool: GuardedPool) -> None:
    with pytest.raises(NeedsRichParser):
        await load(RICH, Format.OPENQASM3, LIMITS, None)
    program = await load(RICH, Format.OPENQASM3, LIMITS, pool)
    assert program.facts.gate_counts == {"u": 2}


async def test_refusals_come_back_from_the_worker(pool: GuardedPool) -> None:
    with pytest.raises(CircuitError) as caught:
        await load(b"OPENQASM 3.0;\nqubit q;\nif (true) { foo q; }", Format.OPENQASM3, LIMITS, pool)
    assert (caught.value.code, caught.value.line) == ("undefined", 3)


async def test_parameters_are_bound(pool: GuardedPool) -> None:
    source = b"OPENQASM 3.0; input float t; qubit q; U(t, 0, 0) q;"
    program = await load(source, Format.OPENQASM3, LIMITS, pool, parameters={"t": 0.5})
    assert [op.params for op in program.operations()] == [(0.5, 0.0, 0.0)]
    for bad in ({}, {"t": float("nan")}, {"t": 1.0, "u": 1.0}):
        with pytest.raises(CircuitError):
            await load(source, Format.OPENQASM3, LIMITS, pool, parameters=bad)


@pytest.mark.attack("C6")
async def test_a_sweep_is_one_program_for_each_point(pool: GuardedPool) -> None:
    source = b"OPENQASM 3.0; input float t; qubit q; U(t, 0, 0) q;"
    points = [{"t": i / 4} for i in range(5)]
    programs = await load_sweep(source, Format.OPENQASM3, LIMITS, pool, points)
    assert len({program.fingerprint for program in programs}) == 5
    assert batch_of(programs, 100, randomizations=3).total_shots == 1500
    assert batch_of(programs, [1, 2, 3, 4, 5]).total_shots == 15
    with pytest.raises(CircuitError, match="4 operations"):
        await load_sweep(source, Format.OPENQASM3, ParseLimits(max_operations=4), pool, points)
    with pytest.raises(CircuitError):
        await load_sweep(source, Format.OPENQASM3, LIMITS, pool, [])


@pytest.mark.attack("C6")
def test_no_shots_hide_in_a_batch() -> None:
    program = qasm2("qreg q[1]; x q[0];")
    for shots in (0, -1, True, [1], [1, 0], [1, 2, 3], [1.5, 1]):
        with pytest.raises(CircuitError):
            batch_of([program, program], shots)  # type: ignore[arg-type]
    for randomizations in (0, -3, 1.5):
        with pytest.raises(CircuitError):
            batch_of([program], 1, randomizations=randomizations)  # type: ignore[arg-type]
    with pytest.raises(CircuitError):
        batch_of([], 1)
    with pytest.raises(CircuitError):
        batch_of([program] * 1001, 1)


@pytest.mark.attack("C6")
def test_every_circuit_of_a_list_is_read() -> None:
    circuit = {"circuit": [{"gate": "x", "target": 0}], "registers": None}
    document = {"gateset": "qis", "qubits": 2, "circuits": [circuit, {**circuit, "qubits": 3}]}
    programs = parse_ionq_batch(json.dumps(document).encode())
    assert [program.qubits for program in programs] == [2, 3]
    for broken in ({**document, "circuits": []}, {**document, "circuits": [1]}, {"circuits": 3}):
        with pytest.raises(CircuitError):
            parse_ionq_batch(json.dumps(broken).encode())
    with pytest.raises(CircuitError) as caught:
        parse_ionq_batch(json.dumps(document).encode(), ParseLimits(max_operations=4))
    assert caught.value.code == "too_large"


@pytest.mark.attack("C5")
@pytest.mark.parametrize(
    "reply",
    [
        b"p" + b'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\nx q[1];\nx q[0];\n',
        b"p" + b'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[1];\nrz(0.50) q[0];\n',
        b"p" + b'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[9999];\nx q[0];\n',
        b"p\x00",
        b"p",
        b"",
        b"x",
        b"e",
        b"e[]",
        b"e" + b"[" * 100_000,
        b'e{"code":"<script>","detail":"\xff","hint":"","line":"1"}',
        b'e{"code":"a","detail":"\\u202e\\n","hint":"","line":null}',
    ],
)
async def test_a_subverted_worker_cannot_say_more_than_its_input(reply: bytes) -> None:
    echo = "tests.unit.circuits.entrypoints:scripted"
    liar = GuardedPool(echo, size=1, max_jobs=9, request_timeout_s=60.0)
    source = b"OPENQASM 3.0; qubit q; /*" + reply.hex().encode() + b"*/ if (true) { }"
    with pytest.raises(CircuitError) as caught:
        await load(source, Format.OPENQASM3, LIMITS, liar)
    await liar.close()
    assert caught.value.code.replace("_", "").isalpha()
    assert (caught.value.detail + caught.value.hint).isprintable()
    assert (caught.value.detail + caught.value.hint).isascii()


@pytest.mark.attack("C1")
async def test_what_becomes_large_does_not_hold_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moved: list[object] = []
    in_thread = asyncio.to_thread

    async def counted(work: Any, *arguments: Any) -> Any:
        moved.append(work)
        return await in_thread(work, *arguments)

    monkeypatch.setattr(asyncio, "to_thread", counted)
    small = qasm2("qreg q[100]; h q;")
    head = b'OPENQASM 2.0; include "qelib1.inc"; qreg q[100];'
    assert await load(head + b"h q;", Format.OPENQASM2) == small
    assert not moved
    large = await load(head + b"h q;" * 200, Format.OPENQASM2)
    assert large.facts.gates == 20_000
    assert len(moved) == 1
    with pytest.raises(CircuitError, match="15000 operations"):
        await load(head + b"h q;" * 200, Format.OPENQASM2, ParseLimits(max_operations=15_000))
    with pytest.raises(CircuitError, match="5000 operations"):
        await load(head + b"h q;" * 200, Format.OPENQASM2, ParseLimits(max_operations=5_000))
    assert len(moved) == 2


@pytest.mark.attack("C1", "C5")
async def test_a_subverted_worker_keeps_to_the_limits() -> None:
    text = b'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[1];\n' + b"x q[0];\n" * 6
    liar = GuardedPool(
        "tests.unit.circuits.entrypoints:scripted", size=1, max_jobs=9, request_timeout_s=60.0
    )
    source = b"OPENQASM 3.0; qubit q; /*" + (b"p" + text).hex().encode() + b"*/ if (true) { }"
    assert (await load(source, Format.OPENQASM3, LIMITS, liar)).facts.gates == 6
    for limits in (ParseLimits(max_operations=5), ParseLimits(max_qubits=0)):
        with pytest.raises(CircuitError) as caught:
            await load(source, Format.OPENQASM3, limits, liar)
        assert caught.value.code == "too_large"
    await liar.close()


async def test_a_worker_that_dies_is_a_refusal() -> None:
    dying = "tests.unit.circuits.entrypoints:dies"
    pool = GuardedPool(dying, size=1, max_jobs=9, request_timeout_s=60.0)
    with pytest.raises(CircuitError) as caught:
        await load(RICH, Format.OPENQASM3, LIMITS, pool)
    await pool.close()
    assert caught.value.code == "too_large"


def _qpy(circuit: QuantumCircuit) -> bytes:
    buffer = io.BytesIO()
    qpy.dump(circuit, buffer)
    return buffer.getvalue()


async def test_qpy_is_read_in_the_worker(qpy_pool: GuardedPool) -> None:
    theta = Parameter("theta")
    inner = QuantumCircuit(2, name="block")
    inner.h(0)
    inner.cx(0, 1)
    circuit = QuantumCircuit(3, 2)
    circuit.append(inner.to_gate(), [2, 0])
    circuit.rx(theta, 1)
    circuit.measure([0, 2], [0, 1])
    with circuit.if_test((circuit.cregs[0], 2)):
        circuit.x(1)
    program = await load(_qpy(circuit), Format.QPY, LIMITS, qpy_pool, parameters={"theta": 0.25})
    assert program == qasm2(
        "qreg q[3]; creg c[2]; h q[2]; cx q[2],q[0]; rx(0.25) q[1];"
        "measure q[0] -> c[0]; measure q[2] -> c[1]; if(c==2) x q[1];"
    )
    with pytest.raises(CircuitError) as caught:
        await load(_qpy(circuit), Format.QPY, LIMITS, qpy_pool)
    assert caught.value.code == "unbound"
    with pytest.raises(NeedsRichParser):
        await load(_qpy(circuit), Format.QPY, LIMITS, None)


@pytest.mark.attack("C3")
async def test_a_custom_gate_named_like_a_standard_one_is_what_it_does(
    qpy_pool: GuardedPool,
) -> None:
    shadow = QuantumCircuit(2, name="cx")
    shadow.h(0)
    circuit = QuantumCircuit(2)
    circuit.append(shadow.to_gate(), [0, 1])
    program = await load(_qpy(circuit), Format.QPY, LIMITS, qpy_pool)
    assert program.facts.gate_counts == {"h": 1}
