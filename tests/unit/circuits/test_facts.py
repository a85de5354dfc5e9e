"""Facts are exact: Qiskit's own counts and depths, on random circuits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import qasm2 as qiskit_qasm2
from tests.unit.circuits.support import qasm2, random_source

from cryogate.circuits import Format, parse_flat
from cryogate.circuits.gates import QELIB1
from cryogate.circuits.qiskit_reader import from_qiskit

_RENAMED = {"c3sx": "c3sqrtx", "rcccx": "rc3x"}
NOT_GATES = {"measure", "reset", "barrier"}


def _qiskit(source: bytes) -> Any:
    known = qiskit_qasm2.LEGACY_CUSTOM_INSTRUCTIONS
    return qiskit_qasm2.loads(source.decode(), include_path=(), custom_instructions=known)


def _is_gate_on_many(instruction: Any) -> bool:
    return instruction.operation.name not in NOT_GATES and len(instruction.qubits) > 1


@given(st.integers(0, 2**32), st.integers(0, 60), st.integers(1, 7))
@settings(max_examples=100, deadline=None)
def test_facts_agree_with_qiskit(seed: int, count: int, qubits: int) -> None:
    source = random_source(seed, count, qubits)
    source += b"measure q[0] -> a[0];\nmeasure q[0] -> a[1];\n"
    facts = parse_flat(source, Format.OPENQASM2).facts
    circuit = _qiskit(source)
    counts: dict[str, int] = {}
    for instruction in circuit.data:
        name = instruction.operation.name
        if name not in NOT_GATES:
            name = _RENAMED.get(name) or {"mcx": f"c{len(instruction.qubits) - 1}x"}.get(name, name)
            key = QELIB1[name].name
            counts[key] = counts.get(key, 0) + 1
    assert dict(facts.gate_counts) == counts
    assert facts.gate_set == tuple(sorted(counts))
    assert facts.gates == sum(counts.values())
    assert facts.measurements == circuit.count_ops()["measure"]
    assert facts.depth == circuit.depth()
    assert facts.two_qubit_depth == circuit.depth(_is_gate_on_many)
    sizes = [len(i.qubits) for i in circuit.data if i.operation.name not in NOT_GATES]
    assert facts.one_qubit_gates == sizes.count(1)
    assert facts.two_qubit_gates == sizes.count(2)
    assert facts.multi_qubit_gates == sum(1 for size in sizes if size > 2)
    used = {q for i in circuit.data if i.operation.name != "barrier" for q in i.qubits}
    assert facts.used_qubits == len(used)


@given(st.integers(0, 2**32), st.integers(0, 50), st.integers(1, 6))
@settings(max_examples=80, deadline=None)
def test_qiskit_reads_the_same_program(seed: int, count: int, qubits: int) -> None:
    source = random_source(seed, count, qubits, rich=True)
    program = parse_flat(source, Format.OPENQASM2)
    assert from_qiskit(_qiskit(source)).text == program.text


@pytest.mark.parametrize(
    ("body", "features"),
    [
        ("x q[0];", ()),
        ("rz(1) q[0];", ("parameters",)),
        ("reset q[0];", ("reset",)),
        ("h q[0]; measure q[0] -> c[0]; barrier q;", ()),
        ("measure q[0] -> c[0]; x q[1];", ()),
        ("measure q[0] -> c[0]; x q[0];", ("mid_circuit_measurement",)),
        ("measure q[0] -> c[0]; measure q[0] -> c[1];", ("mid_circuit_measurement",)),
        (
            "measure q[0] -> c[0]; if(c==1) x q[1];",
            ("classical_control", "mid_circuit_measurement"),
        ),
        ("if(c==1) x q[1]; measure q[0] -> c[0];", ("classical_control",)),
    ],
)
def test_features(body: str, features: tuple[str, ...]) -> None:
    assert qasm2("qreg q[2]; creg c[2];" + body).facts.features == features


def test_barriers_order_but_do_not_count() -> None:
    facts = qasm2("qreg q[3]; x q[0]; barrier q; x q[1];").facts
    assert (facts.depth, facts.used_qubits, facts.gates) == (2, 2, 2)
    assert qasm2("qreg q[3]; barrier q;").facts.depth == 0
