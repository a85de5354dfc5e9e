"""Runs a tree into operations: constants folded, loops unrolled, definitions inlined, under a cap.

1. nothing is expanded before its size was counted and found within the limit;
2. while running, operations and loop steps are counted again, so the limit holds in any case;
3. a condition on bits guards each operation of its branch, and is refused where the branch could
   change those bits, for then "each operation" and "the branch" differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cryogate.circuits.errors import CircuitError, shown
from cryogate.circuits.gates import OPENQASM2, OPENQASM2_BUILTIN, OPENQASM3, PROTECTED
from cryogate.circuits.gates import Gate as Primitive
from cryogate.circuits.model import ParseLimits
from cryogate.circuits.operations import Builder, repeated_qubit
from cryogate.circuits.program import Condition, Program
from cryogate.circuits.rich.conditions import condition_on, unchanged
from cryogate.circuits.rich.counting import Counter
from cryogate.circuits.rich.definitions import Definitions
from cryogate.circuits.rich.expressions import NotConstant, Value, value
from cryogate.circuits.rich.scope import Scope, Variable, Wires, resolve, sequence, whole
from cryogate.circuits.rich.tree import (
    Apply,
    Argument,
    Assign,
    Declare,
    Expression,
    For,
    GateDefinition,
    If,
    Index,
    Input,
    Measure,
    Name,
    Operand,
    Simple,
    Statement,
    Subroutine,
)
from cryogate.circuits.source import RESERVED


class Interpreter:
    """State of one run."""

    def __init__(
        self, version: int, included: bool, limits: ParseLimits, parameters: Mapping[str, float]
    ) -> None:
        self.table: dict[str, Primitive] = OPENQASM3
        if version == 2:
            self.table = OPENQASM2 if included else OPENQASM2_BUILTIN
        self.limits = limits
        self.parameters = parameters
        self.bound: set[str] = set()
        self.builder = Builder(limits)
        self.globals = Scope()
        self.definitions = Definitions(self.table, self.globals)
        self.counter = Counter(self.definitions)
        self.steps = 0
        self.calls = 0

    def run(self, statements: list[Statement]) -> Program:
        """The program. Raises `CircuitError`."""
        for statement in statements:
            # (1) The largest a statement can become is known before it becomes anything.
            try:
                size = 0 if isinstance(statement, _DECLARATIONS) else self._size(statement)
            except CircuitError as error:
                raise error.at(statement.line) from None
            if len(self.builder.ops) + size > self.limits.max_operations:
                detail = f"the program has at least {_shown_count(size)} operations"
                hint = f"at most {self.limits.max_operations} are accepted"
                raise CircuitError("too_large", detail, line=statement.line, hint=hint)
            self.block((statement,), self.globals, None)
        unbound = sorted(set(self.parameters) - self.bound)
        if unbound:
            raise CircuitError("undefined", f"no input is named {shown(unbound[0])}")
        return self.builder.program()

    def _size(self, statement: Statement) -> int:
        return self.counter.count((statement,), self.globals)

    def block(self, body: tuple[Statement, ...], scope: Scope, condition: Condition | None) -> None:
        """Run statements in order; errors get the line of the innermost statement."""
        for statement in body:
            # (2)
            self.steps += 1
            if self.steps > 2 * self.limits.max_operations:
                raise CircuitError("too_large", "too many steps", line=statement.line)
            try:
                _ACTIONS[type(statement)](self, statement, scope, condition)
            except CircuitError as error:
                raise error.at(statement.line) from None

    def apply(self, statement: Apply, scope: Scope, condition: Condition | None) -> None:
        """A gate on each element of its operands, or a subroutine call."""
        found = scope.find(statement.name)
        if isinstance(found, Subroutine):
            self.call(found, statement, scope, condition)
            return
        params = tuple([float(value(x, scope)) for x in statement.arguments])
        wires = [resolve(x, scope) for x in statement.operands]
        if not all(w.quantum for w in wires):
            raise CircuitError("syntax", "a gate acts on qubits, not on bits")
        sizes = {len(w.indices) for w in wires if w.whole}
        if len(sizes) > 1:
            raise CircuitError("syntax", "registers of different sizes in one operation")
        needed = self._qubits_needed(statement, scope)
        if len(wires) != needed:
            name = shown(statement.name)
            raise CircuitError("syntax", f"gate {name} takes {needed} qubits here")
        for i in range(max(sizes, default=1)):
            qubits = tuple([w.indices[i if w.whole else 0] for w in wires])
            if len(set(qubits)) != len(qubits):
                raise repeated_qubit()
            leaves = self.definitions.expand(
                statement.modifiers, statement.name, params, qubits, scope
            )
            for leaf in leaves:
                if leaf.name == "barrier":
                    self._unconditional(condition)
                    self.builder.barrier(leaf.qubits)
                elif leaf.name != "gphase":  # no observable effect without a control
                    self.builder.gate(leaf.name, leaf.params, leaf.qubits, condition)

    def _qubits_needed(self, statement: Apply, scope: Scope) -> int:
        _, _, needed = self.definitions.size(statement.name, len(statement.arguments))
        for modifier in statement.modifiers:
            if modifier.kind in ("ctrl", "negctrl"):
                needed += whole(modifier.amount, scope)
        return needed

    def call(
        self,
        callee: Subroutine,
        statement: Apply,
        scope: Scope,
        condition: Condition | None,
    ) -> None:
        """A subroutine, its arguments bound; qubits by reference, numbers by value."""
        if statement.modifiers or statement.operands:
            raise CircuitError("syntax", f"{shown(callee.name)} is a subroutine, not a gate")
        if len(statement.arguments) != len(callee.arguments):
            detail = f"{shown(callee.name)} takes {len(callee.arguments)} arguments"
            raise CircuitError("syntax", detail)
        inner = Scope(self.globals)
        taken: list[int] = []
        for formal, actual in zip(callee.arguments, statement.arguments, strict=True):
            if formal.kind == "qubit":
                wires = self._qubit_argument(formal, actual, scope)
                taken.extend(wires.indices)
                inner.rebind(formal.name, wires)
            else:
                number = _typed(formal.kind, value(actual, scope))
                inner.rebind(formal.name, Variable(formal.kind, number, constant=True))
        if len(set(taken)) != len(taken):
            raise repeated_qubit()
        self.block(callee.body, inner, condition)

    def _qubit_argument(self, formal: Argument, actual: Expression, scope: Scope) -> Wires:
        if isinstance(actual, Name):
            wires = resolve(Operand(actual.name, None), scope)
        elif isinstance(actual, Index):
            wires = resolve(Operand(actual.name, actual.position), scope)
        else:
            raise CircuitError("syntax", f"argument {shown(formal.name)} needs qubits")
        size = None if formal.size is None else whole(formal.size, scope)
        if (
            not wires.quantum
            or wires.whole != (size is not None)
            or len(wires.indices) != (size or 1)
        ):
            raise CircuitError("syntax", f"argument {shown(formal.name)} needs other qubits")
        return wires

    def measure(self, statement: Measure, scope: Scope, condition: Condition | None) -> None:
        """Qubits into as many bits."""
        source, target = resolve(statement.source, scope), resolve(statement.target, scope)
        if not source.quantum or target.quantum or len(source.indices) != len(target.indices):
            raise CircuitError("syntax", "a measurement needs qubits and as many bits")
        for qubit, bit in zip(source.indices, target.indices, strict=True):
            self.builder.measure(qubit, bit, condition)

    def simple(self, statement: Simple, scope: Scope, condition: Condition | None) -> None:
        """A barrier or resets."""
        wires = [resolve(x, scope) for x in statement.operands]
        if not all(w.quantum for w in wires):
            raise CircuitError("syntax", f"{statement.kind} acts on qubits, not on bits")
        qubits = [q for w in wires for q in w.indices]
        if statement.kind == "barrier":
            self._unconditional(condition)
            self.builder.barrier(qubits or list(range(self.builder.layout.qubits)))
            return
        for qubit in qubits:
            self.builder.reset(qubit, condition)

    def _unconditional(self, condition: Condition | None) -> None:
        if condition is not None:
            raise CircuitError("unsupported", "a barrier under a condition")

    def declare(self, statement: Declare, scope: Scope, condition: Condition | None) -> None:
        """Qubits and bits; both exist for the whole program."""
        if scope is not self.globals:
            raise CircuitError("unsupported", "qubits and bits are declared outside of blocks")
        self._free(statement.name, RESERVED | PROTECTED)
        size = 1 if statement.size is None else whole(statement.size, scope)
        quantum = statement.kind == "qubit"
        layout = self.builder.layout
        start = layout.add_qubits(size) if quantum else layout.add_register(size)
        wires = Wires(quantum, range(start, start + size), statement.size is not None)
        scope.declare(statement.name, wires)
        if statement.measured is not None:
            target = Operand(statement.name, None)
            measured = Measure(statement.line, statement.measured, target)
            self.measure(measured, scope, condition)

    def _free(self, name: str, taken: frozenset[str] = RESERVED) -> None:
        if name in taken:
            raise CircuitError("redefined", f"the name {shown(name)} is taken")

    def assign(self, statement: Assign, scope: Scope, condition: Condition | None) -> None:
        """A compile-time number, declared or changed."""
        if condition is not None:
            raise CircuitError("unsupported", "a variable that depends on a measurement")
        number = value(statement.value, scope)
        if statement.kind:
            self._free(statement.name)
            number = _typed(statement.kind, number)
            scope.declare(statement.name, Variable(statement.kind, number, statement.constant))
            return
        found = scope.find(statement.name)
        if not isinstance(found, Variable) or found.constant:
            raise CircuitError("syntax", f"{shown(statement.name)} cannot be assigned")
        found.value = _typed(found.kind, number)

    def input(self, statement: Input, scope: Scope, condition: Condition | None) -> None:
        """A parameter, bound by the request or refused."""
        if scope is not self.globals or condition is not None:
            raise CircuitError("syntax", "an input is declared outside of blocks")
        self._free(statement.name)
        if statement.name not in self.parameters:
            raise CircuitError("unbound", f"input {shown(statement.name)} has no value")
        self.bound.add(statement.name)
        number: Value = self.parameters[statement.name]
        if statement.kind in ("int", "uint", "bool"):
            if not float(number).is_integer():
                raise CircuitError("syntax", f"input {shown(statement.name)} is a whole number")
            number = int(number)
        number = _typed(statement.kind, number)
        scope.declare(statement.name, Variable(statement.kind, number, constant=True))

    def define(self, statement: GateDefinition, scope: Scope, condition: Condition | None) -> None:
        """A gate."""
        if scope is not self.globals or condition is not None:
            raise CircuitError("syntax", "a gate is defined outside of blocks")
        self._free(statement.name)
        self.definitions.define(statement)

    def subroutine(self, statement: Subroutine, scope: Scope, condition: Condition | None) -> None:
        """A subroutine; what it calls must exist already, so calls cannot recurse."""
        if scope is not self.globals or condition is not None:
            raise CircuitError("syntax", "a subroutine is defined outside of blocks")
        self._free(statement.name, RESERVED | PROTECTED)
        self._known(statement.body)
        scope.declare(statement.name, statement)

    def _known(self, body: tuple[Statement, ...]) -> None:
        for statement in body:
            if isinstance(statement, Apply):
                if not isinstance(self.globals.find(statement.name), Subroutine):
                    self.definitions.size(statement.name, len(statement.arguments))
            elif isinstance(statement, For):
                self._known(statement.body)
            elif isinstance(statement, If):
                self._known(statement.then + statement.otherwise)

    def loop(self, statement: For, scope: Scope, condition: Condition | None) -> None:
        """Each value of the loop in turn."""
        for number in sequence(statement.values, scope):
            inner = Scope(scope)
            inner.rebind(statement.name, Variable("int", number, constant=True))
            self.steps += 1
            self.block(statement.body, inner, condition)

    def branch(self, statement: If, scope: Scope, condition: Condition | None) -> None:
        """A branch chosen now, or guarded by classical bits."""
        try:
            chosen = statement.then if value(statement.condition, scope) else statement.otherwise
        except NotConstant:
            self._guarded(statement, scope, condition)
            return
        self.block(chosen, Scope(scope), condition)

    def _guarded(self, statement: If, scope: Scope, condition: Condition | None) -> None:
        if condition is not None:
            raise CircuitError("unsupported", "a condition inside of a condition")
        test, otherwise = condition_on(statement.condition, scope)
        # (3)
        before = len(self.builder.ops)
        self.block(statement.then, Scope(scope), test)
        if statement.otherwise:
            if otherwise is None:
                raise CircuitError("unsupported", "else after a condition on several bits")
            self.block(statement.otherwise, Scope(scope), otherwise)
        unchanged(self.builder.ops[before:], test)


def _typed(kind: str, number: Value) -> Value:
    if kind in ("float", "angle"):
        return float(number)
    if not isinstance(number, int):
        raise CircuitError("ambiguous", f"{kind} from a number that is not whole")
    if kind == "bool":
        return int(bool(number))
    if not -(1 << 63) <= number < 1 << 63 or (kind == "uint" and number < 0):
        raise CircuitError("out_of_range", f"{kind} out of range")
    return number


def _shown_count(size: int) -> str:
    return str(size) if size < 10**30 else f"2^{size.bit_length() - 1}"


_DECLARATIONS = (Declare, Assign, Input, GateDefinition, Subroutine)
_ACTIONS: dict[type, Callable[..., None]] = {
    Apply: Interpreter.apply,
    Measure: Interpreter.measure,
    Simple: Interpreter.simple,
    Declare: Interpreter.declare,
    Assign: Interpreter.assign,
    Input: Interpreter.input,
    GateDefinition: Interpreter.define,
    Subroutine: Interpreter.subroutine,
    For: Interpreter.loop,
    If: Interpreter.branch,
}
