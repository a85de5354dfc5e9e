"""Similarity, drawings, inspection, and IonQ's JSON."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.circuits.support import qasm2, random_source

from cryogate.circuits import (
    CircuitError,
    Format,
    drawing,
    inspection,
    parse_flat,
    parse_ionq,
    similarity,
    svg,
)

_SEEDS = st.integers(0, 2**32)


@given(_SEEDS, _SEEDS, st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_similarity_is_a_symmetric_share(seed: int, other: int, count: int) -> None:
    a = parse_flat(random_source(seed, count, 5, rich=True), Format.OPENQASM2)
    b = parse_flat(random_source(other, count, 5, rich=True), Format.OPENQASM2)
    assert similarity(a, b) == similarity(b, a)
    assert 0.0 <= similarity(a, b) <= 1.0
    assert similarity(a, a) == 1.0


def test_similarity_sees_structure_and_not_angles_or_names_of_wires() -> None:
    def ansatz(angle: float, first: int, layers: int = 3) -> str:
        order = [(first + i) % 4 for i in range(4)]
        layer = "".join(f"ry({angle}) q[{i}];" for i in order)
        layer += "".join(f"cx q[{a}],q[{b}];" for a, b in pairwise(order))
        return "qreg q[4]; creg c[4];" + layer * layers + "measure q -> c;"

    base = qasm2(ansatz(0.1, 0))
    assert similarity(base, qasm2(ansatz(2.7, 2))) == 1.0
    assert 0.6 < similarity(base, qasm2(ansatz(0.1, 0, layers=4))) < 1.0
    ghz = qasm2("qreg q[4]; creg c[4]; h q[0]; cx q[0],q[1]; cx q[1],q[2]; measure q -> c;")
    assert similarity(base, ghz) < 0.5
    assert similarity(base, qasm2("qreg q[1];")) == 0.0


@given(_SEEDS, st.integers(0, 40), st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_drawings_show_every_operation(seed: int, count: int, qubits: int) -> None:
    program = parse_flat(random_source(seed, count, qubits, rich=True), Format.OPENQASM2)
    text = drawing(program)
    assert text.isascii()
    assert text.count("\n") == qubits
    assert text.count("[M>") == program.facts.measurements
    root = ET.fromstring(svg(program))  # noqa: S314 - our own output
    labels = [node.text or "" for node in root.iter() if node.tag.endswith("text")]
    assert sum(label.startswith("M>") for label in labels) == program.facts.measurements
    assert {node.tag.rpartition("}")[2] for node in root.iter()} <= {
        "svg", "text", "line", "rect", "circle"
    }  # fmt: skip


def test_large_drawings_end() -> None:
    program = qasm2("qreg q[100];" + "h q;" * 50)
    for text in (drawing(program), svg(program)):
        assert "36 more qubits" in text
        assert "5000 operations in all" in text
        assert len(text) < 200_000


def test_inspection_is_json_and_finds_every_violation() -> None:
    program = qasm2("qreg q[3]; creg c[3]; h q; cx q[0],q[1]; rx(1) q[2]; measure q -> c;")
    found = inspection(program, {"depth": 2, "gates": 99, "two_qubit_gates": 0}, ["h", "cx"])
    assert json.loads(json.dumps(found)) == found
    assert found["fingerprint"] == program.fingerprint
    assert [v["limit"] for v in found["violations"]] == ["depth", "two_qubit_gates", "gate_set"]
    assert found["violations"][2]["actual"] == ["rx"]
    assert found["dialects"]["braket"] == "ok"
    with pytest.raises(ValueError, match="no fact"):
        inspection(program, {"dpeth": 2})


def _ionq(**changes: Any) -> bytes:
    document = {"qubits": 2, "circuit": [{"gate": "h", "target": 0}], "gateset": "qis"}
    return json.dumps({**document, **changes}).encode()


def test_ionq_means_its_own_measurement() -> None:
    gates = [
        {"gate": "cnot", "control": 0, "target": 1},
        {"gate": "cnot", "controls": [0], "targets": [1]},
        {"gate": "xx", "rotation": 0.5, "targets": [0, 1]},
        {"gate": "vi", "target": 1},
    ]
    program = parse_ionq(_ionq(circuit=gates, registers={"meas": [1, None, 0]}))
    assert program == qasm2(
        "qreg q[2]; creg m[3]; cx q[0],q[1]; cx q[0],q[1]; rxx(0.5) q[0],q[1]; sxdg q[1];"
        "measure q[1] -> m[0]; measure q[0] -> m[2];"
    )
    assert parse_ionq(_ionq()).facts.measurements == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"qubits": 0},
        {"qubits": True},
        {"qubits": "2"},
        {"qubits": 10**7},
        {"gateset": "qis2"},
        {"surprise": 1},
        {"circuit": {}},
        {"circuit": [7]},
        {"circuit": [{"gate": "h"}]},
        {"circuit": [{"gate": "h", "target": 0, "rotation": 1}]},
        {"circuit": [{"gate": "h", "target": 0, "targets": [1]}]},
        {"circuit": [{"gate": "h", "target": 5}]},
        {"circuit": [{"gate": "h", "target": -1}]},
        {"circuit": [{"gate": "h", "target": 0, "noise": 1}]},
        {"circuit": [{"gate": "rx", "target": 0}]},
        {"circuit": [{"gate": "rx", "target": 0, "rotation": True}]},
        {"circuit": [{"gate": "cnot", "target": 0}]},
        {"circuit": [{"gate": "x", "target": 0, "control": 0}]},
        {"circuit": [{"gate": "gpi", "target": 0, "phase": 0.5}]},
        {"gateset": "native", "circuit": [{"gate": "h", "target": 0}]},
        {"gateset": "native", "circuit": [{"gate": "ms", "targets": [0, 1], "phases": [0]}]},
        {"registers": {}},
        {"registers": {"c": []}},
        {"registers": {"c": [7]}},
        {"registers": {"c": "01"}},
    ],
)
def test_ionq_refusals(changes: dict[str, Any]) -> None:
    with pytest.raises(CircuitError):
        parse_ionq(_ionq(**changes))


@pytest.mark.attack("C1", "C8")
@pytest.mark.parametrize(
    "source",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"qubits":1,"qubits":2,"circuit":[]}',
        b'{"qubits":1,"circuit":[{"gate":"rx","rotation":1e999,"target":0}]}',
        b'{"qubits":1,"circuit":[{"gate":"rx","rotation":NaN,"target":0}]}',
        b'{"qubits":' + b"9" * 100_000 + b',"circuit":[]}',
        '{"qubits":1,"circuit":[],"name":"\u202e"}'.encode(),
        b"\xff\xfe{}",
        b"",
        b"null",
    ],
)
def test_hostile_json_is_refused(source: bytes) -> None:
    with pytest.raises(CircuitError):
        parse_ionq(source)
