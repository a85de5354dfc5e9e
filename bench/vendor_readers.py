"""Do vendors' own packages read what we write, and mean what we read?

They bring hundreds of megabytes that nothing else here needs, so this runs in an environment of its
own, by hand, and not with the other benchmarks::

    python -m venv /tmp/v
    /tmp/v/bin/pip install numpy amazon-braket-sdk qiskit-ionq cirq-ionq pyqasm qiskit
    PYTHONPATH=src:. /tmp/v/bin/python -m bench.vendor_readers

Random circuits, compared by their matrices. The Braket SDK reads what we write. IonQ has no reader:
ours reads what their two packages write of the same circuit. ``pyqasm`` unrolls OpenQASM 3.
"""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from typing import Any

from qiskit import QuantumCircuit
from qiskit.circuit.library import UnitaryGate
from qiskit.quantum_info import Operator

from cryogate.circuits import (
    CircuitError,
    Dialect,
    Format,
    ParseLimits,
    Program,
    emit,
    parse_flat,
    parse_ionq,
)
from cryogate.circuits.gates import CANONICAL
from cryogate.circuits.operations import Builder
from cryogate.circuits.qiskit_bridge import to_qiskit
from cryogate.circuits.rich.entry import parse_rich

QUBITS, ROUNDS = 4, 300
IONQ = "x y z h s sdg t tdg sx sxdg rx ry rz swap cx cy cz ch ccx rxx ryy rzz crx cry crz id"
BRAKET = (
    "x y z h s sdg t tdg sx sxdg rx ry rz p cx cy cz ccx swap cp u rxx ryy rzz cswap csx iswap ecr"
)


def program(rng: random.Random, names: str, *, measured: bool) -> Program:
    builder = Builder()
    builder.layout.add_qubits(QUBITS)
    builder.layout.add_register(QUBITS)
    for _ in range(rng.randrange(1, 25)):
        gate = CANONICAL[rng.choice(names.split())]
        angles = [rng.uniform(-7, 7) for _ in range(gate.params)]
        builder.gate(gate.name, angles, rng.sample(range(QUBITS), gate.qubits))
    for qubit in range(QUBITS if measured else 0):
        builder.measure(qubit, qubit)
    return builder.program()


def matrix(found: Program) -> Any:
    return Operator(to_qiskit(found).remove_final_measurements(inplace=False))


def braket(rng: random.Random) -> Counter[str]:
    from braket.circuits import Circuit

    seen: Counter[str] = Counter()
    for _ in range(ROUNDS):
        ours = program(rng, BRAKET, measured=False)
        theirs = Circuit.from_ir(emit(ours, Dialect.BRAKET).decode())
        whole = QuantumCircuit(QUBITS)
        used = sorted(int(qubit) for qubit in theirs.qubits)
        whole.append(UnitaryGate(theirs.to_unitary()), used[::-1])  # their first qubit is highest
        seen["same" if Operator(whole).equiv(matrix(ours)) else "DIFFERENT"] += 1
    return seen


def qiskit_ionq(rng: random.Random) -> Counter[str]:
    from qiskit_ionq.helpers import qiskit_circ_to_ionq_circ

    seen: Counter[str] = Counter()
    for _ in range(ROUNDS):
        ours = program(rng, IONQ, measured=True)
        circuit = to_qiskit(ours).remove_final_measurements(inplace=False)
        gates = qiskit_circ_to_ionq_circ(circuit, "qis")[0]
        seen[_read_ionq({"gateset": "qis", "qubits": QUBITS, "circuit": gates}, ours)] += 1
    return seen


def cirq_ionq(rng: random.Random) -> Counter[str]:
    import cirq
    from cirq_ionq import Serializer

    fixed = {
        "x": cirq.X, "y": cirq.Y, "z": cirq.Z, "h": cirq.H, "s": cirq.S, "t": cirq.T,
        "cx": cirq.CNOT, "swap": cirq.SWAP, "sdg": cirq.S**-1, "tdg": cirq.T**-1, "sx": cirq.X**0.5,
        "sxdg": cirq.X**-0.5,
    }  # fmt: skip
    turns = {"rx": cirq.rx, "ry": cirq.ry, "rz": cirq.rz}
    pairs = {"rxx": cirq.XXPowGate, "ryy": cirq.YYPowGate, "rzz": cirq.ZZPowGate}
    names = " ".join([*fixed, *turns, *pairs])
    wires = cirq.LineQubit.range(QUBITS)
    seen: Counter[str] = Counter()
    for _ in range(ROUNDS):
        ours = program(rng, names, measured=False)
        operations = []
        for op in ours.operations():
            gate: Any = fixed.get(op.name)
            if op.name in turns:
                gate = turns[op.name](op.params[0])
            elif op.name in pairs:
                half = op.params[0] / math.pi
                gate = pairs[op.name](exponent=half, global_shift=-0.5)
            operations.append(gate(*[wires[qubit] for qubit in op.qubits]))
        measured = [cirq.measure(wire, key=str(wire)) for wire in wires]
        found = Serializer().serialize_single_circuit(cirq.Circuit([*operations, *measured]))
        document = {**dict(getattr(found, "input", None) or found.body), "qubits": QUBITS}
        seen[_read_ionq(document, ours)] += 1
    return seen


def _read_ionq(document: dict[str, Any], ours: Program) -> str:
    kept = {name: document[name] for name in ("gateset", "qubits", "circuit")}
    theirs = parse_ionq(json.dumps(kept).encode())
    return "same" if matrix(theirs).equiv(matrix(ours)) else "DIFFERENT"


def pyqasm(rng: random.Random) -> Counter[str]:
    import pyqasm as library

    seen: Counter[str] = Counter()
    for _ in range(ROUNDS):
        source = _rich(rng)
        try:
            ours = parse_rich(source.encode(), Format.OPENQASM3, ParseLimits(), {})
            module = library.loads(source)
            module.unroll()
            theirs = parse_flat(library.dumps(module).encode(), Format.OPENQASM3)
        except CircuitError:
            seen["refused by us"] += 1
            continue
        except Exception:
            seen["refused by pyqasm"] += 1
            continue
        seen["same" if matrix(theirs).equiv(matrix(ours)) else "DIFFERENT"] += 1
    return seen


def _rich(rng: random.Random) -> str:
    """Definitions, modifiers, loops, a subroutine, slices; no measurement."""
    gates = {"x": (1, 0), "h": (1, 0), "s": (1, 0), "t": (1, 0), "cx": (2, 0), "swap": (2, 0)}
    gates |= {"cz": (2, 0), "ccx": (3, 0), "rx": (1, 1), "ry": (1, 1), "rz": (1, 1)}

    def applied(wires: list[str], names: tuple[str, ...] = ()) -> str:
        name = rng.choice([name for name, (size, _) in gates.items() if size <= len(wires)])
        size, angles = gates[name]
        modifier = rng.choice(["", "", "inv @ ", "pow(2) @ ", "ctrl @ ", "negctrl @ "])
        if "ctrl" in modifier and (size >= len(wires) or name not in ("x", "cx", "rx", "ry", "rz")):
            modifier = ""
        text = rng.choice([*names, "pi/4", "0.3", "-1.1"]) + rng.choice(["", " * 2"])
        count = size + ("ctrl" in modifier)
        angle = f"({text})" if angles else ""
        return f"{modifier}{name}{angle} {', '.join(rng.sample(wires, count))};"

    lines = ['OPENQASM 3.0;\ninclude "stdgates.inc";']
    made = {}
    for number in range(rng.randint(0, 2)):
        formal = ["a", "b", "c"][: rng.randint(1, 3)]
        body = " ".join(applied(formal, ("t",)) for _ in range(rng.randint(1, 3)))
        lines.append(f"gate g{number}(t) {', '.join(formal)} {{ {body} }}")
        made[f"g{number}"] = (len(formal), 1)
    gates |= made
    inner = " ".join(applied(["r[0]", "r[1]"], ("k",)) for _ in range(2))
    lines += [f"def f(qubit[2] r, float k) {{ {inner} }}", f"qubit[{QUBITS}] q;"]
    wires = [f"q[{i}]" for i in range(QUBITS)]
    for _ in range(rng.randint(1, 5)):
        loop = f"for int i in [0:{rng.randint(0, 3)}] {{ {applied(wires)} rx(i * 0.5) q[i]; }}"
        call = f"f(q[{rng.choice(['0:1', '2:3'])}], 0.7);"
        lines.append(rng.choice([loop, call, applied(wires), applied(wires)]))
    return "\n".join(lines) + "\n"


def main() -> int:
    different = 0
    for check in (braket, qiskit_ionq, cirq_ionq, pyqasm):
        seen = check(random.Random(1))
        different += seen["DIFFERENT"]
        print(f"{check.__name__}: {dict(seen)}")
    return 1 if different else 0


if __name__ == "__main__":
    raise SystemExit(main())
