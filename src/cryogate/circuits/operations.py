"""Layout of a circuit and the making of its operations, each checked as it is made."""

from __future__ import annotations

from collections.abc import Sequence

from cryogate.circuits.angles import finite
from cryogate.circuits.assemble import CONDITIONAL, Op, assemble, make_op
from cryogate.circuits.conditions import prefix
from cryogate.circuits.errors import CircuitError, shown
from cryogate.circuits.gates import CANONICAL
from cryogate.circuits.model import ParseLimits
from cryogate.circuits.program import Condition, Program

_CONDITIONS = 256


class Layout:
    """How many qubits there are, and which bits form which register."""

    __slots__ = ("_bit_names", "_conditions", "_limits", "clbits", "qubits", "registers")

    def __init__(self, limits: ParseLimits) -> None:
        self._limits = limits
        self.qubits = 0
        self.clbits = 0
        self.registers: list[int] = []
        self._bit_names: list[str] = []
        self._conditions: dict[Condition, str] = {}

    def add_qubits(self, size: int) -> int:
        """First index of ``size`` new qubits. Raises `CircuitError` (``too_large``)."""
        if size < 1 or self.qubits + size > self._limits.max_qubits:
            raise _bad_size("qubits", size, self._limits.max_qubits)
        start = self.qubits
        self.qubits += size
        return start

    def add_register(self, size: int) -> int:
        """First index of a new classical register. Raises `CircuitError` (``too_large``)."""
        if size < 1 or self.clbits + size > self._limits.max_clbits:
            raise _bad_size("classical bits", size, self._limits.max_clbits)
        start = self.clbits
        number = len(self.registers)
        self._bit_names.extend([f"c{number}[{i}]" for i in range(size)])
        self.clbits += size
        self.registers.append(size)
        self._conditions.clear()  # a later register never changes one, but be sure
        return start

    def mark(self) -> tuple[int, int]:
        """How many classical registers and bits there are."""
        return len(self.registers), self.clbits

    def cut(self, mark: tuple[int, int]) -> None:
        """Forget the registers that were added after a mark."""
        registers, self.clbits = mark
        del self.registers[registers:], self._bit_names[self.clbits :]
        self._conditions.clear()

    def bit(self, index: int) -> str:
        """Canonical name of a classical bit."""
        return self._bit_names[index]

    def condition(self, condition: Condition) -> str:
        """A condition in canonical spelling, remembered: few are used, many times each."""
        text = self._conditions.get(condition)
        if text is None:
            text = prefix(condition, self.registers)
            if len(self._conditions) < _CONDITIONS:
                self._conditions[condition] = text
        return text


def _bad_size(what: str, size: int, limit: int) -> CircuitError:
    if size < 1:
        return CircuitError("syntax", f"a register of {what} has no elements")
    return CircuitError("too_large", f"more than {limit} {what}")


class Builder:
    """Makes a program operation by operation, with every index and count checked."""

    __slots__ = ("_limits", "_long_wires", "layout", "ops")

    def __init__(self, limits: ParseLimits | None = None) -> None:
        self._limits = limits or ParseLimits()
        self.layout = Layout(self._limits)
        self.ops: list[Op] = []
        self._long_wires = 0

    def gate(
        self,
        name: str,
        params: Sequence[float],
        qubits: Sequence[int],
        condition: Condition | None = None,
    ) -> None:
        """Add a gate by canonical name. Raises `CircuitError`."""
        gate = CANONICAL.get(name)
        if gate is None:
            raise CircuitError("unsupported", f"unknown gate {shown(name)}")
        if len(params) != gate.params or len(qubits) != gate.qubits:
            raise wrong_arity(gate.name, gate.params, gate.qubits)
        angles = ",".join([repr(finite(x)) for x in params])
        head = f"{name}({angles}) " if angles else f"{name} "
        self._add(name, head + self._qubits(qubits) + ";\n", qubits, (), condition)

    def measure(self, qubit: int, clbit: int, condition: Condition | None = None) -> None:
        """Add a measurement of ``qubit`` into ``clbit``."""
        if not 0 <= clbit < self.layout.clbits:
            raise CircuitError("out_of_range", f"classical bit {clbit} is not declared")
        line = f"measure {self._qubits([qubit])} -> {self.layout.bit(clbit)};\n"
        self._add("measure", line, [qubit], [~clbit], condition)

    def reset(self, qubit: int, condition: Condition | None = None) -> None:
        """Add a reset."""
        self._add("reset", f"reset {self._qubits([qubit])};\n", [qubit], (), condition)

    def barrier(self, qubits: Sequence[int]) -> None:
        """Add a barrier; its operands are a set, so they are written in order."""
        self.spend(len(qubits))
        self._add("barrier", f"barrier {self._qubits(sorted(qubits))};\n", qubits, (), None)

    def spend(self, wires: int) -> None:
        """Only barriers and conditions have many wires; all of them together are bounded too."""
        self._long_wires += wires
        if self._long_wires > 2 * self._limits.max_operations:
            raise CircuitError("too_large", "barriers and conditions touch too many wires")

    @property
    def size(self) -> int:
        """Operations so far."""
        return len(self.ops)

    def program(self) -> Program:
        """The finished program. Raises `CircuitError` (``syntax``) when there is no qubit."""
        return finish(self.ops, self.layout)

    def _qubits(self, qubits: Sequence[int]) -> str:
        if not qubits or len(set(qubits)) != len(qubits):
            raise repeated_qubit()
        if min(qubits) < 0 or max(qubits) >= self.layout.qubits:
            raise CircuitError("out_of_range", "a qubit index is out of range")
        return ",".join([f"q[{q}]" for q in qubits])

    def _add(
        self,
        kind: str,
        line: str,
        qubits: Sequence[int],
        bits: Sequence[int],
        condition: Condition | None,
    ) -> None:
        if len(self.ops) >= self._limits.max_operations:
            raise too_many(self._limits.max_operations)
        if condition is None:
            self.ops.append(make_op(line, [*qubits, *bits], kind))
            return
        self.spend(len(condition.bits))
        line = self.layout.condition(condition) + line
        wires = {*qubits, *bits, *(~bit for bit in condition.bits)}
        self.ops.append(make_op(line, list(wires), CONDITIONAL + kind))


def finish(ops: list[Op], layout: Layout) -> Program:
    """The program of checked operations. Raises `CircuitError` when there is no qubit."""
    if not layout.qubits:
        raise CircuitError("syntax", "no qubits are declared")
    return assemble(ops, layout.qubits, tuple(layout.registers))


def too_many(limit: int) -> CircuitError:
    """More operations than allowed."""
    return CircuitError("too_large", f"more than {limit} operations")


def repeated_qubit() -> CircuitError:
    """One operation names a qubit twice."""
    return CircuitError("duplicate_qubit", "an operation needs distinct qubits")


def wrong_arity(name: str, params: int, qubits: int) -> CircuitError:
    """A gate with the wrong number of angles or qubits."""
    return CircuitError("syntax", f"gate {name} takes {params} angles and {qubits} qubits")
