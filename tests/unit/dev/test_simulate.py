"""The fakes' simulator agrees with qiskit's."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryogate.circuits import Dialect, Format, emit, parse_flat
from cryogate.dev.simulate import probabilities, sampled

ONE = ("h", "x", "y", "z", "s", "sdg", "t", "tdg", "sx")
TWO = ("cx", "cy", "cz", "ch", "swap")
ANGLED = {"rx": 1, "ry": 1, "rz": 1, "rxx": 2, "rzz": 2, "crz": 2, "cp": 2}


@st.composite
def sources(draw: st.DrawFn) -> bytes:
    lines = []
    for _ in range(draw(st.integers(1, 12))):
        name = draw(st.sampled_from((*ONE, *TWO, *ANGLED)))
        count = 1 if name in ONE else 2 if name in TWO else ANGLED[name]
        qubits = draw(st.permutations(range(3)))[:count]
        angle = f"({draw(st.floats(-6, 6))!r})" if name in ANGLED else ""
        lines.append(f"{name}{angle} {','.join(f'q[{q}]' for q in qubits)};")
    body = "\n".join(lines) + "\nmeasure q -> c;\n"
    return f'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[3];\ncreg c[3];\n{body}'.encode()


@settings(max_examples=40, deadline=None)
@given(sources())
def test_it_agrees_with_another_simulator(source: bytes) -> None:
    from qiskit import qasm2
    from qiskit.quantum_info import Statevector

    program = parse_flat(source, Format.OPENQASM2)
    circuit = qasm2.loads(
        emit(program, Dialect.OPENQASM2).decode(),
        custom_instructions=qasm2.LEGACY_CUSTOM_INSTRUCTIONS,
    )
    circuit.remove_final_measurements()
    expected = Statevector(circuit).probabilities()
    found = probabilities(program)
    for state, chance in enumerate(expected):
        assert found.get(state, 0.0) == pytest.approx(chance, abs=1e-9)


def test_counts_are_over_classical_bits() -> None:
    source = (
        b'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\ncreg c[3];\nx q[1];\n'
        b"measure q[1] -> c[2];\n"
    )
    assert sampled(parse_flat(source, Format.OPENQASM2), 10, 1) == {"100": 10}
