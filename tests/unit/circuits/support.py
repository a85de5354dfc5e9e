"""Random circuits and what Qiskit says about them."""

from __future__ import annotations

import random
from collections.abc import Sequence

from cryogate.circuits import Format, ParseLimits, Program, parse_flat
from cryogate.circuits.gates import CANONICAL, QELIB1, Gate, words
from cryogate.circuits.operations import Builder

HEADER = 'OPENQASM 2.0;\ninclude "qelib1.inc";\n'
NAMES = sorted(QELIB1)
PYTKET_GATES = words(
    "x y z h s sdg t tdg sx sxdg rx ry rz r p u cx cy cz ch swap crx cry crz cp rxx ryy rzz ccx "
    "cswap"
)
QUIL_GATES = words("id x y z h s sdg t tdg rx ry rz p cx cz cp swap iswap ccx cswap")
WIDE = ParseLimits(max_bytes=1 << 26)


def random_statements(rng: random.Random, count: int, qubits: int, *, rich: bool) -> list[str]:
    """Statements over q[qubits], a[3] and b[1]."""
    out: list[str] = []
    while len(out) < count:
        roll = rng.random()
        if rich and roll < 0.15:
            qubit, bit = rng.randrange(qubits), rng.randrange(4)
            target = f"a[{bit}]" if bit < 3 else "b[0]"
            out.append(
                rng.choice(
                    [
                        f"measure q[{qubit}] -> {target};",
                        f"reset q[{qubit}];",
                        f"if(a=={rng.randrange(8)}) x q[{qubit}];",
                        f"if(b==1) measure q[{qubit}] -> a[1];",
                    ]
                )
            )
        elif roll < 0.2:
            size = rng.randint(1, qubits)
            wires = rng.sample(range(qubits), size)
            out.append("barrier " + ",".join(f"q[{i}]" for i in wires) + ";")
        else:
            name = rng.choice(NAMES)
            out.extend(_gate(rng, name, QELIB1[name], qubits))
    return out


def _gate(rng: random.Random, name: str, gate: Gate, qubits: int) -> list[str]:
    if gate.qubits > qubits:
        return []
    wires = ",".join(f"q[{i}]" for i in rng.sample(range(qubits), gate.qubits))
    angles = ",".join(_angle(rng) for _ in range(gate.params))
    return [f"{name}({angles}) {wires};" if angles else f"{name} {wires};"]


def _angle(rng: random.Random) -> str:
    return rng.choice(
        [
            repr(rng.uniform(-7, 7)),
            "pi/2",
            "-pi",
            "3*pi/4",
            "0",
            f"{rng.random():.3e}",
            "(1+2)*pi/8",
        ]
    )


def source_of(statements: list[str], qubits: int) -> bytes:
    body = "\n".join(statements)
    return f"{HEADER}qreg q[{qubits}];\ncreg a[3];\ncreg b[1];\n{body}\n".encode()


def random_source(seed: int, count: int, qubits: int, *, rich: bool = False) -> bytes:
    return source_of(random_statements(random.Random(seed), count, qubits, rich=rich), qubits)


def qasm2(body: str, header: str = HEADER) -> Program:
    return parse_flat((header + body).encode(), Format.OPENQASM2, WIDE)


def random_program(
    rng: random.Random, names: Sequence[str], qubits: int = 5, *, measured: bool = True
) -> Program:
    """Some of the gates, and all qubits measured."""
    builder = Builder()
    builder.layout.add_qubits(qubits)
    builder.layout.add_register(qubits)
    for _ in range(rng.randrange(25)):
        gate = CANONICAL[rng.choice(names)]
        angles = [rng.uniform(-7, 7) for _ in range(gate.params)]
        builder.gate(gate.name, angles, rng.sample(range(qubits), gate.qubits))
    for i in range(qubits if measured else 0):
        builder.measure(i, i)
    return builder.program()
