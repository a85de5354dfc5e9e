"""Blocks of gates: one for each way that a gate is applied, found from its definition.

Modifiers are pushed inwards until they stand before primitives, where `unitary` knows their names:

- ``inv`` and ``pow`` stay outside: the inverse or the power of a block is a block;
- a control of a definition is that control of each gate in it;
- a negated control is a control between two flips.
"""

from __future__ import annotations

from cryogate.circuits.assemble import CONDITIONAL
from cryogate.circuits.errors import CircuitError
from cryogate.circuits.gates import CANONICAL
from cryogate.circuits.rich.definitions import Definitions, amount_of
from cryogate.circuits.rich.expressions import NotConstant
from cryogate.circuits.rich.flows import Budget, Flow, Frame
from cryogate.circuits.rich.scope import (
    UNKNOWN,
    Scope,
    Variable,
    Wires,
    resolve,
    sequence,
)
from cryogate.circuits.rich.tree import Apply, For, Simple, Statement
from cryogate.circuits.rich.unitary import Leaf, controlled, inverse

#: (kind, amount), the outermost first; evaluated, so that equal applications are equal keys.
Modifiers = tuple[tuple[str, int], ...]
_CTRL = "ctrl"


class GateFlows:
    """Finds blocks and remembers them. Wires are the application's qubits, then condition bits."""

    def __init__(self, definitions: Definitions, budget: Budget) -> None:
        self._definitions = definitions
        self._budget = budget
        self._known: dict[tuple[Modifiers, str, int], Flow] = {}

    def of(self, modifiers: Modifiers, name: str, tested: int) -> Flow:
        """The block of one application under a condition on ``tested`` bits."""
        key = (modifiers, name, tested)
        if key not in self._known:
            self._budget.spend(4)
            self._known[key] = self._found(modifiers, name, tested)
        return self._known[key]

    def _found(self, modifiers: Modifiers, name: str, tested: int) -> Flow:
        for place, (kind, amount) in enumerate(modifiers):
            outer, inner = modifiers[:place], modifiers[place + 1 :]
            if kind == "inv":
                return self.of(outer + inner, name, tested).inverse(_inverse_name)
            if kind == "pow":
                flow = self.of(outer + inner, name, tested).power(abs(amount), self._budget)
                return flow if amount >= 0 else flow.inverse(_inverse_name)
            if kind == "negctrl":
                return self._flipped(outer, amount, inner, name, tested)
        if self._definitions.gate(name) is not None:
            return self._defined(modifiers, name, tested)
        return self._primitive(modifiers, name, tested)

    def _flipped(
        self, outer: Modifiers, amount: int, inner: Modifiers, name: str, tested: int
    ) -> Flow:
        flow = self.of((*outer, (_CTRL, amount), *inner), name, tested)
        flip = self.of(outer, "x", tested)
        before = sum(count for _, count in outer)
        qubits = self._qubits((*outer, (_CTRL, amount), *inner), name)
        bits = list(range(qubits, qubits + tested))
        flips = [
            flip.at(dict(enumerate([*range(before), before + number, *bits])))
            for number in range(amount)
        ]
        frame = Frame(self._budget)
        for part in (*flips, flow, *flips):
            frame.play(part)
        return frame.flow()

    def _qubits(self, modifiers: Modifiers, name: str) -> int:
        _, qubits = self._definitions.shape(name)
        return qubits + sum(amount for kind, amount in modifiers if kind in (_CTRL, "negctrl"))

    def _primitive(self, modifiers: Modifiers, name: str, tested: int) -> Flow:
        controls = sum(amount for _, amount in modifiers)
        params, qubits = self._definitions.shape(name)
        leaves = [
            Leaf(
                self._definitions.primitive(name),
                (0.0,) * params,
                tuple(range(controls, controls + qubits)),
            )
        ]
        stop = controls
        for _, amount in reversed(modifiers):
            wires = tuple(range(stop - amount, stop))
            leaves = [new for leaf in leaves for new in controlled(leaf, wires)]
            stop -= amount
        bits = list(range(controls + qubits, controls + qubits + tested))
        frame = Frame(self._budget)
        for leaf in leaves:
            if leaf.name != "gphase":
                _operation(frame, leaf.name, list(leaf.qubits), bits)
        return frame.flow()

    def _defined(self, modifiers: Modifiers, name: str, tested: int) -> Flow:
        gate = self._definitions.gate(name)
        assert gate is not None  # noqa: S101 - the caller has looked
        controls = sum(amount for _, amount in modifiers)
        definition = gate.definition
        scope = self._definitions.scope()
        for parameter in definition.parameters:
            scope.rebind(parameter, UNKNOWN)
        for number, qubit in enumerate(definition.qubits):
            scope.rebind(qubit, Wires(True, (controls + number,), False))
        end = controls + len(definition.qubits)
        frame = Frame(self._budget)
        body = _Body(modifiers, list(range(controls)), list(range(end, end + tested)))
        self._block(definition.body, scope, frame, body)
        return frame.flow()

    def _block(
        self, statements: tuple[Statement, ...], scope: Scope, frame: Frame, body: _Body
    ) -> None:
        for statement in statements:
            if isinstance(statement, Apply):
                inner = tuple([(m.kind, amount_of(m, scope)) for m in statement.modifiers])
                qubits = [q for x in statement.operands for q in resolve(x, scope).indices]
                flow = self.of(body.modifiers + inner, statement.name, len(body.bits))
                frame.play(flow.at(dict(enumerate([*body.controls, *qubits, *body.bits]))))
            elif isinstance(statement, For):
                self._loop(statement, scope, frame, body)
            elif isinstance(statement, Simple):
                if body.modifiers or body.bits:
                    raise CircuitError("unsupported", "a barrier under a condition or a control")
                qubits = [q for x in statement.operands for q in resolve(x, scope).indices]
                _operation(frame, "barrier", qubits, [])

    def _loop(self, statement: For, scope: Scope, frame: Frame, body: _Body) -> None:
        values = sequence(statement.values, scope)
        if not values:
            return
        inner = Scope(scope)
        inner.rebind(statement.name, UNKNOWN)
        turn = Frame(self._budget)
        try:
            self._block(statement.body, inner, turn, body)
        except NotConstant:
            for number in values:
                inner.rebind(statement.name, Variable("int", number, constant=True))
                self._block(statement.body, inner, frame, body)
            return
        frame.play(turn.flow().power(len(values), self._budget))


class _Body:
    """What all of a definition stands under."""

    def __init__(self, modifiers: Modifiers, controls: list[int], bits: list[int]) -> None:
        self.modifiers = modifiers
        self.controls = controls
        self.bits = bits


def _operation(frame: Frame, name: str, qubits: list[int], bits: list[int]) -> None:
    kind = CONDITIONAL + name if bits else name
    frame.operation(kind, name, [*qubits, *bits], len(qubits), name in CANONICAL)


def _inverse_name(kind: str) -> str:
    name = kind.lstrip(CONDITIONAL)
    if name == "barrier":
        return kind
    gate = CANONICAL[name]
    found = inverse(Leaf(name, (0.0,) * gate.params, tuple(range(gate.qubits)))).name
    return kind[: len(kind) - len(name)] + found
