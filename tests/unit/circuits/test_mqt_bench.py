"""A public corpus: every family of MQT Bench is accepted, and is to us what it is to qiskit.

``tests/corpus/make_mqt_bench.py`` wrote it. Qiskit's own parser, definitions, counts, depths and
matrices are the other side; none of our code is used on it.
"""

from __future__ import annotations

import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from qiskit import QuantumCircuit, qasm2
from qiskit.circuit import library as lib
from qiskit.quantum_info import Operator

from cryogate.circuits import (
    CircuitError,
    Format,
    NeedsRichParser,
    ParseLimits,
    Program,
    parse_flat,
)
from cryogate.circuits.gates import QELIB1
from cryogate.circuits.qiskit_bridge import to_qiskit
from cryogate.circuits.rich.entry import parse_rich

CORPUS = Path(__file__).parents[2] / "corpus" / "mqt_bench.zip"
NOT_GATES = {"measure", "reset", "barrier"}
KEPT = {*NOT_GATES, "if_else"}
#: Qiskit's names for the gates of its own table that have another one in OpenQASM 2.
NAMES = {"c3sx": "c3sqrtx", "rcccx": "rc3x", "mcx": "c3x", "u1": "p", "u3": "u", "cu1": "cp"}
STANDARD = {found for name, found in vars(lib).items() if name.endswith("Gate")}
SMALL = 6


def _sources() -> dict[str, dict[str, bytes]]:
    families: dict[str, dict[str, bytes]] = {}
    with zipfile.ZipFile(CORPUS) as archive:
        for name in archive.namelist():
            family = re.sub(
                r"_(alg|indep|ibm_falcon|ionq_aria|rigetti|quantinuum)_\d+\..*", "", name
            )
            families.setdefault(family, {})[name] = archive.read(name)
    return families


FAMILIES = _sources()


def _ours(source: bytes, format_: Format) -> Program:
    try:
        return parse_flat(source, format_)
    except NeedsRichParser:
        return parse_rich(source, format_, ParseLimits(), {})


def _flattened(circuit: QuantumCircuit) -> QuantumCircuit:
    """Custom gates replaced by their definitions, by qiskit alone."""
    out = circuit.copy_empty_like()
    for instruction in circuit.data:
        _inline(out, instruction.operation, instruction.qubits, instruction.clbits)
    return out


def _inline(out: QuantumCircuit, operation: Any, qubits: Any, clbits: Any) -> None:
    name = NAMES.get(operation.name, operation.name)
    custom = operation.base_class not in STANDARD
    if operation.name in KEPT or (name in QELIB1 and not custom):
        out.append(operation, qubits, clbits)
        return
    definition = operation.definition
    places = dict(zip(definition.qubits, qubits, strict=True))
    for inner in definition.data:
        _inline(out, inner.operation, [places[q] for q in inner.qubits], [])


def _counts(circuit: QuantumCircuit) -> dict[str, int]:
    found: Counter[str] = Counter()
    for instruction in circuit.data:
        operation = instruction.operation
        if operation.name == "if_else":  # one conditional gate
            operation = operation.blocks[0].data[0].operation
        name = operation.name
        if name not in NOT_GATES:
            found[NAMES.get(name, name)] += 1
    return dict(found)


def _on_many(instruction: Any) -> bool:
    return instruction.operation.name not in NOT_GATES and len(instruction.qubits) > 1


def test_the_corpus_is_large_and_accepted() -> None:
    """At least 200 circuits of OpenQASM 2, and at least 99 of 100 of them accepted."""
    sources = {n: s for family in FAMILIES.values() for n, s in family.items()}
    flat = {n: s for n, s in sources.items() if n.endswith(".qasm")}
    assert len(flat) >= 200
    assert len(FAMILIES) >= 30
    refused = []
    for name, source in flat.items():
        try:
            _ours(source, Format.OPENQASM2)
        except CircuitError as error:
            refused.append(f"{name}: {error}")
    assert len(refused) * 100 <= len(flat), refused


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_counts_depth_and_matrix_are_those_of_qiskit(family: str) -> None:
    compared = 0
    for name, source in FAMILIES[family].items():
        if not name.endswith(".qasm"):
            continue
        circuit = qasm2.loads(
            source.decode(), include_path=(), custom_instructions=qasm2.LEGACY_CUSTOM_INSTRUCTIONS
        )
        program, theirs = _ours(source, Format.OPENQASM2), _flattened(circuit)
        facts = program.facts
        assert dict(facts.gate_counts) == _counts(theirs), name
        assert facts.measurements == theirs.count_ops().get("measure", 0), name
        assert facts.depth == theirs.depth(lambda x: x.operation.name != "barrier"), name
        assert facts.two_qubit_depth == theirs.depth(_on_many), name
        compared += 1
        plain = not facts.measurements or "mid_circuit_measurement" not in facts.features
        if facts.qubits <= SMALL and plain and not facts.resets and facts.gates < 2000:
            ours = to_qiskit(program).remove_final_measurements(inplace=False)
            want = circuit.remove_final_measurements(inplace=False)
            assert Operator(ours).equiv(Operator(want)), name
    dynamic = [name for name in FAMILIES[family] if name.endswith(".qasm3")]
    assert compared or dynamic


def test_dynamic_families_are_read_as_openqasm_3() -> None:
    for family in ("dynamic_qft", "iqpe", "ghz_dynamic"):
        for name, source in FAMILIES[family].items():
            if b" ^ " in source:  # a condition on a parity is no condition of ours
                with pytest.raises(CircuitError, match="condition"):
                    _ours(source, Format.OPENQASM3)
                continue
            facts = _ours(source, Format.OPENQASM3).facts
            assert "classical_control" in facts.features, name
            assert facts.measurements == source.count(b"measure "), name
