"""Gate definitions: checked once when they are made, expanded to primitives when applied.

A body may only use what was defined before it, so definitions form a directed acyclic graph: the
number of operations of each is counted, with big integers, without expanding anything,
and what would be too large is refused before the first operation is made (C1).
"""

from __future__ import annotations

from cryogate.circuits.errors import CircuitError, shown
from cryogate.circuits.gates import PROTECTED
from cryogate.circuits.gates import Gate as Primitive
from cryogate.circuits.operations import repeated_qubit, wrong_arity
from cryogate.circuits.rich.expressions import NotConstant, Value, value
from cryogate.circuits.rich.scope import (
    UNKNOWN,
    Gate,
    Scope,
    Variable,
    Wires,
    resolve,
    sequence,
    whole,
)
from cryogate.circuits.rich.tree import Apply, For, GateDefinition, Modifier, Simple, Statement
from cryogate.circuits.rich.unitary import Leaf, controlled, inverse

MAX_DEFINITION_DEPTH = 64
MAX_QUBITS = 64
_MAX_VARYING = 4096


class Definitions:
    """The gates of one program: the standard table and what the program defined."""

    def __init__(self, table: dict[str, Primitive], scope: Scope) -> None:
        self._table = table
        self._scope = scope

    def define(self, definition: GateDefinition) -> None:
        """Check a definition and make it known. Raises `CircuitError`."""
        name = definition.name
        if name in PROTECTED:
            raise CircuitError("redefined", f"gate {shown(name)} is standard", hint="rename it")
        if len(definition.qubits) > MAX_QUBITS:
            raise CircuitError("too_large", f"a gate on more than {MAX_QUBITS} qubits")
        formal = Scope(self._scope)
        for parameter in definition.parameters:
            # Only angles may depend on a parameter, so sizes hold for every application.
            formal.rebind(parameter, UNKNOWN)
        for number, qubit in enumerate(definition.qubits):
            formal.rebind(qubit, Wires(True, (number,), False))
        operations, depth = self._measure(definition.body, formal)
        self._scope.declare(name, Gate(definition, operations, depth + 1))

    def _measure(self, body: tuple[Statement, ...], scope: Scope) -> tuple[int, int]:
        total = deepest = 0
        for statement in body:
            try:
                count, depth = self._measure_one(statement, scope)
            except CircuitError as error:
                raise error.at(statement.line) from None
            total += count
            deepest = max(deepest, depth)
        if deepest >= MAX_DEFINITION_DEPTH:
            raise CircuitError("too_large", "definitions are nested too deeply")
        return total, deepest

    def _measure_one(self, statement: Statement, scope: Scope) -> tuple[int, int]:
        if isinstance(statement, Apply):
            return self._measure_apply(statement, scope)
        if isinstance(statement, Simple) and statement.kind == "barrier":
            for operand in statement.operands:
                resolve(operand, scope)
            return 1, 0
        if isinstance(statement, For):
            return self._measure_loop(statement, scope)
        raise CircuitError("syntax", "a gate body holds only gates, loops and barriers")

    def _measure_loop(self, statement: For, scope: Scope) -> tuple[int, int]:
        values = sequence(statement.values, scope)
        inner = Scope(scope)
        inner.rebind(statement.name, UNKNOWN)
        try:
            count, depth = self._measure(statement.body, inner)
            return count * len(values), depth
        except NotConstant:
            if len(values) > _MAX_VARYING:
                raise CircuitError("too_large", "a loop whose size varies is too long") from None
        total = deepest = 0
        for number in values:
            inner.rebind(statement.name, Variable("int", number, constant=True))
            count, depth = self._measure(statement.body, inner)
            total, deepest = total + count, max(deepest, depth)
        return total, deepest

    def _measure_apply(self, statement: Apply, scope: Scope) -> tuple[int, int]:
        qubits = [resolve(x, scope) for x in statement.operands]
        flat = [q for wires in qubits for q in wires.indices]
        if len(set(flat)) != len(flat):
            raise repeated_qubit()
        count, depth, needed = self.applied(statement, scope)
        if len(flat) != needed:
            raise CircuitError("syntax", f"gate {shown(statement.name)} takes {needed} qubits")
        return count, depth

    def applied(self, statement: Apply, scope: Scope) -> tuple[int, int, int]:
        """(primitives, depth, qubits) of one application, its modifiers counted in.

        A ``gphase`` counts too: it is nothing by itself, and an operation under a control.
        """
        count, depth, needed = self.size(statement.name, len(statement.arguments))
        for modifier in reversed(statement.modifiers):
            amount = amount_of(modifier, scope)
            if modifier.kind == "pow":
                count *= abs(amount)
            elif modifier.kind != "inv":
                needed += amount
                count += 2 * amount * (modifier.kind == "negctrl")
        return count, depth, needed

    def size(self, name: str, arguments: int) -> tuple[int, int, int]:
        """(primitives, depth, qubits) of one application. Raises `CircuitError`."""
        if name == "gphase":
            return 1, 0, 0  # a control makes an operation of it
        found = self._scope.find(name)
        if isinstance(found, Gate):
            definition = found.definition
            if len(definition.parameters) != arguments:
                raise wrong_arity(name, len(definition.parameters), len(definition.qubits))
            return found.operations, found.depth, len(definition.qubits)
        primitive = self._table.get(name)
        if primitive is None:
            raise CircuitError("undefined", f"unknown gate {shown(name)}")
        if primitive.params != arguments:
            raise wrong_arity(name, primitive.params, primitive.qubits)
        return 1, 0, primitive.qubits

    def gate(self, name: str) -> Gate | None:
        """The definition of a name, if the program has one."""
        found = self._scope.find(name)
        return found if isinstance(found, Gate) else None

    def primitive(self, name: str) -> str:
        """The canonical name of a gate that is not defined here."""
        return name if name == "gphase" else self._table[name].name

    def shape(self, name: str) -> tuple[int, int]:
        """Parameters and qubits of a known gate."""
        found = self.gate(name)
        if found is not None:
            return len(found.definition.parameters), len(found.definition.qubits)
        return (1, 0) if name == "gphase" else self._table[name][1:]

    def scope(self) -> Scope:
        """What is visible at the start of a definition's body."""
        return Scope(self._scope)

    def expand(
        self,
        modifiers: tuple[Modifier, ...],
        name: str,
        params: tuple[float, ...],
        qubits: tuple[int, ...],
        scope: Scope,
    ) -> list[Leaf]:
        """The primitives of one application; its size was counted and accepted before."""
        if not modifiers:
            return self._plain(name, params, qubits)
        modifier, rest = modifiers[0], modifiers[1:]
        if modifier.kind == "inv":
            return _inverted(self.expand(rest, name, params, qubits, scope))
        amount = amount_of(modifier, scope)
        if modifier.kind == "pow":
            leaves = self.expand(rest, name, params, qubits, scope)
            return (leaves if amount >= 0 else _inverted(leaves)) * abs(amount)
        controls, targets = qubits[:amount], qubits[amount:]
        leaves = self.expand(rest, name, params, targets, scope)
        out = [new for leaf in leaves for new in controlled(leaf, controls)]
        if modifier.kind == "ctrl":
            return out
        flips = [Leaf("x", (), (control,)) for control in controls]
        return [*flips, *out, *flips]

    def _plain(self, name: str, params: tuple[float, ...], qubits: tuple[int, ...]) -> list[Leaf]:
        found = self._scope.find(name)
        if isinstance(found, Gate):
            if not found.operations:
                return []  # however many empty definitions it is made of
            inner = Scope(self._scope)
            for parameter, number in zip(found.definition.parameters, params, strict=True):
                inner.rebind(parameter, Variable("float", number, constant=True))
            for formal, qubit in zip(found.definition.qubits, qubits, strict=True):
                inner.rebind(formal, Wires(True, (qubit,), False))
            out: list[Leaf] = []
            self._body(found.definition.body, inner, out)
            return out
        return [Leaf(self.primitive(name), params, qubits)]

    def _body(self, body: tuple[Statement, ...], scope: Scope, out: list[Leaf]) -> None:
        for statement in body:
            if isinstance(statement, Apply):
                qubits = tuple([q for x in statement.operands for q in resolve(x, scope).indices])
                params = tuple([float(value(x, scope)) for x in statement.arguments])
                name, modifiers = statement.name, statement.modifiers
                out.extend(self.expand(modifiers, name, params, qubits, scope))
            elif isinstance(statement, For):
                inner = Scope(scope)
                for number in sequence(statement.values, scope):
                    inner.rebind(statement.name, Variable("int", number, constant=True))
                    self._body(statement.body, inner, out)
            elif isinstance(statement, Simple):
                found = [q for x in statement.operands for q in resolve(x, scope).indices]
                out.append(Leaf("barrier", (), tuple(found)))


def _inverted(leaves: list[Leaf]) -> list[Leaf]:
    return [inverse(leaf) for leaf in reversed(leaves)]


def amount_of(modifier: Modifier, scope: Scope) -> int:
    """The power or the number of controls. Raises `CircuitError`."""
    found: Value = value(modifier.amount, scope)
    if isinstance(found, float) and not found.is_integer():
        raise CircuitError("unsupported", "a power that is not a whole number")
    amount = whole(int(found), scope)
    if modifier.kind != "pow" and not 1 <= amount <= MAX_QUBITS:
        raise CircuitError("syntax", "a gate needs at least one control")
    return amount
