"""From Qiskit circuits to programs; imported only inside guarded workers.

Standard gates are known by type and not by name, for a custom gate may call itself ``cx``. Any
other gate is inlined from its definition; what has none is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qiskit import QuantumCircuit
from qiskit.circuit import Barrier, Clbit, Gate, IfElseOp, Measure, Reset
from qiskit.circuit import library as lib

from cryogate.circuits.conditions import both, equals
from cryogate.circuits.errors import CircuitError, shown
from cryogate.circuits.model import ParseLimits
from cryogate.circuits.operations import Builder
from cryogate.circuits.program import Condition, Program
from cryogate.circuits.qiskit_bridge import GATES

_NAMES: dict[Any, str] = {gate: name for name, gate in GATES.items()}
_NAMES |= {lib.U1Gate: "p", lib.U3Gate: "u", lib.CU1Gate: "cp"}
_MAX_DEFINITION_DEPTH = 32


def from_qiskit(
    circuit: QuantumCircuit,
    limits: ParseLimits | None = None,
    parameters: Mapping[str, float] | None = None,
) -> Program:
    """The program of a circuit, its parameters bound by name. Raises `CircuitError`."""
    circuit = _bound(circuit, dict(parameters or {}))
    builder = Builder(limits)
    if circuit.num_qubits:
        builder.layout.add_qubits(circuit.num_qubits)
    bits: dict[Clbit, int] = {}
    for register in circuit.cregs:
        if any(bit in bits for bit in register):
            raise CircuitError("unsupported", "classical registers that share bits")
        start = builder.layout.add_register(register.size)
        bits.update({bit: start + i for i, bit in enumerate(register)})
    loose = [bit for bit in circuit.clbits if bit not in bits]
    for bit in loose:
        bits[bit] = builder.layout.add_register(1)
    qubits = {qubit: i for i, qubit in enumerate(circuit.qubits)}
    _Walk(builder, circuit).walk(circuit, qubits, bits, None, 0)
    return builder.program()


def _bound(circuit: QuantumCircuit, parameters: dict[str, float]) -> QuantumCircuit:
    names = {parameter.name for parameter in circuit.parameters}
    missing, unknown = sorted(names - set(parameters)), sorted(set(parameters) - names)
    if missing:
        raise CircuitError("unbound", f"parameter {shown(missing[0])} has no value")
    if unknown:
        raise CircuitError("undefined", f"no parameter is named {shown(unknown[0])}")
    return circuit.assign_parameters(parameters) if parameters else circuit


class _Walk:
    def __init__(self, builder: Builder, circuit: QuantumCircuit) -> None:
        self._builder = builder
        self._circuit = circuit

    def walk(
        self,
        circuit: QuantumCircuit,
        qubits: Mapping[Any, int],
        bits: Mapping[Any, int],
        condition: Condition | None,
        depth: int,
    ) -> None:
        if depth > _MAX_DEFINITION_DEPTH:
            raise CircuitError("too_large", "gate definitions are nested too deeply")
        for instruction in circuit.data:
            wires = [qubits[q] for q in instruction.qubits]
            targets = [bits[c] for c in instruction.clbits]
            self._one(instruction.operation, wires, targets, bits, condition, depth)

    def _one(
        self,
        operation: Any,
        wires: list[int],
        targets: list[int],
        bits: Mapping[Any, int],
        condition: Condition | None,
        depth: int,
    ) -> None:
        kind = operation.base_class if hasattr(operation, "base_class") else type(operation)
        name = _NAMES.get(kind)
        if name is not None and getattr(operation, "ctrl_state", None) in (
            None,
            (1 << getattr(operation, "num_ctrl_qubits", 0)) - 1,
        ):
            params = [_number(x) for x in operation.params]
            self._builder.gate(name, params, wires, condition)
        elif kind is Measure:
            self._builder.measure(wires[0], targets[0], condition)
        elif kind is Reset:
            self._builder.reset(wires[0], condition)
        elif kind is Barrier and condition is None:
            self._builder.barrier(wires)
        elif kind is IfElseOp:
            self._branch(operation, wires, targets, bits, condition, depth)
        elif isinstance(operation, Gate) and operation.definition is not None:
            inner = operation.definition
            mapped = dict(zip(inner.qubits, wires, strict=True))
            self.walk(inner, mapped, {}, condition, depth + 1)
        else:
            raise CircuitError("unsupported", f"instruction {shown(operation.name)}")

    def _branch(
        self,
        operation: IfElseOp,
        wires: list[int],
        targets: list[int],
        bits: Mapping[Any, int],
        outer: Condition | None,
        depth: int,
    ) -> None:
        if len(operation.blocks) != 1 or not isinstance(operation.condition, tuple):
            raise CircuitError("unsupported", "a branch of this form")
        tested, value = operation.condition
        if isinstance(tested, Clbit):
            condition = both(outer, equals((bits[tested],), int(value)))
        else:
            condition = both(outer, equals([bits[bit] for bit in tested], int(value)))
        body = operation.blocks[0]
        inner_qubits = dict(zip(body.qubits, wires, strict=True))
        inner_bits = dict(zip(body.clbits, targets, strict=True))
        changed = {
            inner_bits[c] for i in body.data if i.operation.name == "measure" for c in i.clbits
        }
        if len(body.data) > 1 and changed & set(condition.bits):
            raise CircuitError("ambiguous", "a branch changes the bits it depends on")
        self.walk(body, inner_qubits, inner_bits, condition, depth + 1)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise CircuitError("unsupported", "an angle is not a real number") from None
