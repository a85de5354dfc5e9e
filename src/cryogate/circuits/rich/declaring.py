"""What a program declares: registers, variables, inputs, gates, subroutines, aliases."""

from __future__ import annotations

from collections.abc import Mapping

from cryogate.circuits.errors import CircuitError, shown
from cryogate.circuits.gates import GATE_NAMES, OPENQASM2, OPENQASM2_BUILTIN, OPENQASM3
from cryogate.circuits.gates import Gate as Primitive
from cryogate.circuits.model import ParseLimits
from cryogate.circuits.operations import Builder, repeated_qubit
from cryogate.circuits.program import Condition
from cryogate.circuits.rich.definitions import Definitions
from cryogate.circuits.rich.expressions import Value, typed, value
from cryogate.circuits.rich.scope import Scope, Variable, Wires, resolve, whole
from cryogate.circuits.rich.tree import (
    Alias,
    Apply,
    Assign,
    Call,
    Declare,
    For,
    GateDefinition,
    If,
    Input,
    Statement,
    Subroutine,
)
from cryogate.circuits.source import RESERVED


class Declaring:
    """Names and registers of one run. A statement takes the scope and condition it stands under."""

    def __init__(
        self,
        version: int,
        included: bool,
        limits: ParseLimits,
        parameters: Mapping[str, float],
        builder: Builder | None = None,
    ) -> None:
        self.table: dict[str, Primitive] = OPENQASM3
        if version == 2:
            self.table = OPENQASM2 if included else OPENQASM2_BUILTIN
        self.version = version
        self.limits = limits
        self.parameters = parameters
        self.bound: set[str] = set()
        self.builder = builder or Builder(limits)
        self.globals = Scope()
        self.definitions = Definitions(self.table, self.globals)
        #: Bits declared in a block and not measured since, with the condition they are under.
        self.unset: dict[int, Condition | None] = {}

    def free(self, name: str, *, gates: bool = False) -> None:
        """Refuse a name that means something already."""
        if name in RESERVED[self.version] or (gates and name in GATE_NAMES[self.version]):
            raise CircuitError("redefined", f"the name {shown(name)} is taken")

    def register(self, statement: Declare, scope: Scope, condition: Condition | None) -> Wires:
        """Qubits, for the whole program, or bits: those of a block are new each time it runs."""
        quantum = statement.kind == "qubit"
        if quantum and scope is not self.globals:
            raise CircuitError("unsupported", "qubits are declared outside of blocks")
        self.free(statement.name, gates=True)
        size = 1 if statement.size is None else whole(statement.size, scope)
        layout = self.builder.layout
        if scope.result is not None and scope.result[0] == statement.name and not quantum:
            # What a subroutine returns is measured straight into its caller's bits.
            wires = Wires(False, scope.result[1].indices, statement.size is not None)
            if len(wires.indices) != size:
                raise CircuitError("syntax", "a result has another size than its subroutine says")
        else:
            start = layout.add_qubits(size) if quantum else layout.add_register(size)
            wires = Wires(quantum, range(start, start + size), statement.size is not None)
        if not quantum and scope is not self.globals:
            self.unset.update(dict.fromkeys(wires.indices, condition))
        scope.declare(statement.name, wires)
        return wires

    def alias(self, statement: Alias, scope: Scope, condition: Condition | None) -> None:
        """Another name for qubits or bits."""
        self.free(statement.name, gates=True)
        parts = [resolve(part, scope) for part in statement.parts]
        indices = tuple([i for part in parts for i in part.indices])
        if len({part.quantum for part in parts}) != 1:
            raise CircuitError("syntax", "an alias of qubits and bits together")
        if len(set(indices)) != len(indices):
            raise repeated_qubit()
        kept = len(parts) > 1 or parts[0].whole
        scope.declare(statement.name, Wires(parts[0].quantum, indices, kept))

    def assign(self, statement: Assign, scope: Scope, condition: Condition | None) -> None:
        """A compile-time number, declared or changed."""
        if condition is not None:
            raise CircuitError("unsupported", "a variable that depends on a measurement")
        found = scope.find(statement.name)
        if not statement.kind and isinstance(found, Wires):
            raise CircuitError("unsupported", "a bit is set only by a measurement")
        number = value(statement.value, scope)
        if statement.kind:
            self.free(statement.name)
            width = self.width(statement, scope)
            number = typed(statement.kind, number, width)
            variable = Variable(statement.kind, number, statement.constant, width)
            scope.declare(statement.name, variable)
            return
        if not isinstance(found, Variable) or found.constant:
            raise CircuitError("syntax", f"{shown(statement.name)} cannot be assigned")
        found.value = typed(found.kind, number, found.width)

    def width(self, statement: Assign | Input, scope: Scope) -> Value | None:
        """The width of a variable's type; None if it says none."""
        return None if statement.width is None else value(statement.width, scope)

    def input(self, statement: Input, scope: Scope, condition: Condition | None) -> None:
        """A parameter, bound by the request or refused."""
        if scope is not self.globals or condition is not None:
            raise CircuitError("syntax", "an input is declared outside of blocks")
        self.free(statement.name)
        if statement.name not in self.parameters:
            raise CircuitError("unbound", f"input {shown(statement.name)} has no value")
        self.bound.add(statement.name)
        number: Value = self.parameters[statement.name]
        if statement.kind in ("int", "uint", "bool"):
            if not float(number).is_integer():
                raise CircuitError("syntax", f"input {shown(statement.name)} is a whole number")
            number = int(number)
        width = self.width(statement, scope)
        number = typed(statement.kind, number, width)
        scope.declare(statement.name, Variable(statement.kind, number, True, width))

    def define(self, statement: GateDefinition, scope: Scope, condition: Condition | None) -> None:
        """A gate."""
        if scope is not self.globals or condition is not None:
            raise CircuitError("syntax", "a gate is defined outside of blocks")
        self.free(statement.name)
        self.definitions.define(statement)

    def subroutine(self, statement: Subroutine, scope: Scope, condition: Condition | None) -> None:
        """A subroutine; what it calls must exist already, so calls cannot recurse."""
        if scope is not self.globals or condition is not None:
            raise CircuitError("syntax", "a subroutine is defined outside of blocks")
        self.free(statement.name, gates=True)
        self._known(statement.body)
        scope.declare(statement.name, statement)

    def _known(self, body: tuple[Statement, ...]) -> None:
        for statement in body:
            if isinstance(statement, Apply):
                self._callable(statement)
            elif isinstance(statement, Call):
                self._callable(statement.call)
            elif isinstance(statement, Declare) and isinstance(statement.given, Apply):
                self._callable(statement.given)
            elif isinstance(statement, For):
                self._known(statement.body)
            elif isinstance(statement, If):
                self._known(statement.then + statement.otherwise)

    def _callable(self, statement: Apply) -> None:
        if not isinstance(self.globals.find(statement.name), Subroutine):
            self.definitions.size(statement.name, len(statement.arguments))
