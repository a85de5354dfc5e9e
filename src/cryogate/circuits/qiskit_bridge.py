"""To and from Qiskit circuits; imported only inside guarded workers.

Importing this module imports qiskit. The server's process never does: a test asserts it.
"""

from __future__ import annotations

import io
from contextlib import ExitStack
from typing import Any

from qiskit import QuantumCircuit, qpy
from qiskit.circuit import ClassicalRegister, QuantumRegister
from qiskit.circuit import library as lib

from cryogate.circuits.conditions import Test, tests
from cryogate.circuits.errors import CircuitError
from cryogate.circuits.program import Condition, Operation, Program

GATES: dict[str, Any] = {
    "id": lib.IGate, "x": lib.XGate, "y": lib.YGate, "z": lib.ZGate, "h": lib.HGate,
    "s": lib.SGate, "sdg": lib.SdgGate, "t": lib.TGate, "tdg": lib.TdgGate, "sx": lib.SXGate,
    "sxdg": lib.SXdgGate, "rx": lib.RXGate, "ry": lib.RYGate, "rz": lib.RZGate,
    "p": lib.PhaseGate, "u2": lib.U2Gate, "u": lib.UGate, "cx": lib.CXGate, "cy": lib.CYGate,
    "cz": lib.CZGate, "ch": lib.CHGate, "swap": lib.SwapGate, "crx": lib.CRXGate,
    "cry": lib.CRYGate, "crz": lib.CRZGate, "cp": lib.CPhaseGate, "cu": lib.CUGate,
    "cu3": lib.CU3Gate, "csx": lib.CSXGate, "rxx": lib.RXXGate, "ryy": lib.RYYGate,
    "rzz": lib.RZZGate, "rzx": lib.RZXGate, "iswap": lib.iSwapGate, "ecr": lib.ECRGate,
    "dcx": lib.DCXGate, "cs": lib.CSGate, "csdg": lib.CSdgGate, "r": lib.RGate,
    "ccx": lib.CCXGate, "ccz": lib.CCZGate, "cswap": lib.CSwapGate, "rccx": lib.RCCXGate,
    "rc3x": lib.RC3XGate, "c3x": lib.C3XGate, "c3sqrtx": lib.C3SXGate, "c4x": lib.C4XGate,
}  # fmt: skip


def to_qiskit(program: Program) -> QuantumCircuit:
    """``program`` as a circuit with registers ``q``, ``c0``, ``c1``, ...

    Raises `CircuitError` (``unsupported``) for gates Qiskit does not have.
    """
    registers = [ClassicalRegister(n, f"c{i}") for i, n in enumerate(program.registers)]
    circuit = QuantumCircuit(QuantumRegister(program.qubits, "q"), *registers)
    starts = [sum(program.registers[:i]) for i in range(len(registers))]
    for op in program.operations():
        with ExitStack() as branches:
            for register, bit, value in tests_of(op.condition, program.registers):
                tested = (
                    registers[register] if bit is None else circuit.clbits[starts[register] + bit]
                )
                branches.enter_context(circuit.if_test((tested, value)))
            _append(circuit, op)
    return circuit


def tests_of(condition: Condition | None, registers: tuple[int, ...]) -> list[Test]:
    """The tests of a condition; none without one."""
    return [] if condition is None else tests(condition, registers)


def _append(circuit: QuantumCircuit, op: Operation) -> None:
    if op.name == "measure":
        circuit.measure(op.qubits[0], op.clbits[0])
    elif op.name == "reset":
        circuit.reset(op.qubits[0])
    elif op.name == "barrier":
        circuit.barrier(*op.qubits)
    elif op.name in GATES:
        circuit.append(GATES[op.name](*op.params), list(op.qubits))
    else:
        raise CircuitError("unsupported", f"Qiskit cannot express gate {op.name}")


def to_qpy(program: Program) -> bytes:
    """QPY bytes of one circuit."""
    buffer = io.BytesIO()
    qpy.dump(to_qiskit(program), buffer)
    return buffer.getvalue()
