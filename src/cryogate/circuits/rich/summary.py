"""The facts of a program that is too large to expand: exact, and found without expanding it.

The same interpreter runs, on blocks in place of operations. A loop runs once with its variable
unknown, and the block becomes a power; only where the variable decides more than angles does the
loop run value by value. A gate is one block for each way it is applied, a subroutine one for each
way it is called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cryogate.circuits.assemble import CONDITIONAL, facts_from
from cryogate.circuits.errors import CircuitError
from cryogate.circuits.gates import CANONICAL
from cryogate.circuits.model import Facts, ParseLimits
from cryogate.circuits.operations import Builder
from cryogate.circuits.program import Condition
from cryogate.circuits.rich.definitions import amount_of
from cryogate.circuits.rich.expressions import NotConstant, Value
from cryogate.circuits.rich.flows import Budget, Flow, Frame
from cryogate.circuits.rich.gate_flows import GateFlows
from cryogate.circuits.rich.interpreter import Interpreter
from cryogate.circuits.rich.scope import UNKNOWN, Meaning, Scope, Variable, Wires, sequence
from cryogate.circuits.rich.tree import (
    Apply,
    Argument,
    Assign,
    Expression,
    For,
    If,
    Modifier,
    Statement,
    Subroutine,
)

_UNITS = 400_000
_ORIGIN = 0


class Tally(Builder):
    """Takes operations as a `Builder` does, and keeps only what they add up to."""

    def __init__(self, limits: ParseLimits, budget: Budget) -> None:
        super().__init__(limits)
        self.budget = budget
        self.frames = [Frame(budget, _ORIGIN)]
        self.total = 0

    @property
    def size(self) -> int:
        """Operations so far."""
        return self.total

    def play(self, flow: Flow) -> None:
        """A whole block at once."""
        self.frames[-1].play(flow)
        self.total += sum(flow.counts.values())

    def spend(self, wires: int) -> None:
        """Nothing is written, so long operations cost their wires here only."""
        self.budget.spend(wires)

    def _add(
        self,
        kind: str,
        line: str,
        qubits: Sequence[int],
        bits: Sequence[int],
        condition: Condition | None,
    ) -> None:
        wires = [*qubits, *bits]
        named = kind
        if condition is not None:
            wires += [~bit for bit in condition.bits if ~bit not in bits]
            named = CONDITIONAL + kind
        self.frames[-1].operation(named, kind, wires, len(qubits), kind in CANONICAL)
        self.total += 1


class Summary(Interpreter):
    """One run over blocks."""

    def __init__(
        self, version: int, included: bool, limits: ParseLimits, parameters: Mapping[str, float]
    ) -> None:
        self.budget = Budget(_UNITS)
        self.tally = Tally(limits, self.budget)
        super().__init__(version, included, limits, parameters, self.tally)
        self.flows = GateFlows(self.definitions, self.budget)
        self.calls: dict[tuple[object, ...], tuple[Flow, list[int], int]] = {}
        self.hidden_clbits = 0

    def facts(self, statements: list[Statement]) -> Facts:
        """The facts. Raises `CircuitError` where they cannot be found in reasonable time."""
        self.begin(statements)
        (frame,) = self.tally.frames
        layout = self.tally.layout
        deepest = [way for row in frame.rows.values() for way in row.values()]
        return facts_from(
            frame.counts,
            qubits=layout.qubits,
            used=sum(1 for wire in frame.acts if wire >= 0),
            clbits=self.bits(),
            depth=max((a for a, _ in deepest), default=0),
            two_qubit_depth=max((b for _, b in deepest), default=0),
            early=frame.early,
        )

    def bits(self) -> int:
        """Classical bits so far, with those of turns and calls that were not run."""
        return self.tally.layout.clbits + self.hidden_clbits

    def step(self) -> None:
        """Every statement costs."""
        self.budget.spend(4)

    # -- where numbers may be unknown ------------------------------------------------------------

    def angles(self, arguments: tuple[Expression, ...], scope: Scope) -> tuple[float, ...]:
        """Angles change no facts."""
        return (0.0,) * len(arguments)

    def number(
        self, formal: Argument, actual: Expression, scope: Scope, width: Value | None
    ) -> Meaning:
        """A number that a loop decides stays unknown until something depends on it."""
        try:
            return super().number(formal, actual, scope, width)
        except NotConstant:
            return UNKNOWN

    def assign(self, statement: Assign, scope: Scope, condition: Condition | None) -> None:
        """As it is, or unknown."""
        try:
            super().assign(statement, scope, condition)
        except NotConstant:
            scope.declare(statement.name, UNKNOWN)

    # -- blocks ----------------------------------------------------------------------------------

    def expand(
        self,
        modifiers: tuple[Modifier, ...],
        name: str,
        params: tuple[float, ...],
        qubits: tuple[int, ...],
        scope: Scope,
        condition: Condition | None,
    ) -> None:
        """One application as one block."""
        self.budget.spend(8)
        known = tuple([(m.kind, amount_of(m, scope)) for m in modifiers])
        bits = () if condition is None else tuple([~bit for bit in condition.bits])
        flow = self.flows.of(known, name, len(bits))
        self.tally.play(flow.at(dict(enumerate(qubits + bits))))

    def loop(self, statement: For, scope: Scope, condition: Condition | None) -> None:
        """A power of one turn, where all turns are alike."""
        values = sequence(statement.values, scope)
        if len(values) > 1 and not _assigns(statement.body):
            inner = Scope(scope)
            inner.rebind(statement.name, UNKNOWN)
            layout = self.tally.layout
            frames, total, registers = len(self.tally.frames), self.tally.total, layout.mark()
            measured, unset, bits = len(self.measured), dict(self.unset), self.bits()
            hidden = self.hidden_clbits
            self.tally.frames.append(Frame(self.budget))
            try:
                self.block(statement.body, inner, condition)
            except NotConstant:
                del self.tally.frames[frames:]
                del self.measured[measured:]
                self.tally.total, self.unset, self.hidden_clbits = total, unset, hidden
                layout.cut(registers)
            else:
                flow = self.tally.frames.pop().flow()
                self.tally.total = total
                self.hidden_clbits += (self.bits() - bits) * (len(values) - 1)
                self.tally.play(flow.power(len(values), self.budget))
                return
        super().loop(statement, scope, condition)

    def call(
        self,
        callee: Subroutine,
        statement: Apply,
        scope: Scope,
        condition: Condition | None,
        target: Wires | None,
    ) -> None:
        """The block of an earlier call like this one, or a new one."""
        inner = self.arguments(callee, statement, scope)
        places = [w for m in inner.names.values() if isinstance(m, Wires) for w in m.indices]
        numbers = [m.value if isinstance(m, Variable) else None for m in inner.names.values()]
        results = [] if target is None else [~bit for bit in target.indices]
        tested = [] if condition is None else [~bit for bit in condition.bits]
        if set(results) & set(tested):
            super().call(callee, statement, scope, condition, target)
            return
        wires = [*places, *results, *tested]
        key = (callee.name, len(results), len(tested), *numbers)
        if key not in self.calls:
            bits, total = self.bits(), self.tally.total
            self.tally.frames.append(Frame(self.budget))
            super().call(callee, statement, scope, condition, target)
            flow = self.tally.frames.pop().flow()
            self.tally.total = total
            local = self.bits() - bits
            self.calls[key] = (_without_local(flow, set(wires)), wires, local)
            self.hidden_clbits -= local  # added again below
        elif target is not None:
            self.measured += target.indices
            for bit in target.indices:
                if bit in self.unset and self.unset[bit] == condition:
                    del self.unset[bit]
        flow, before, local = self.calls[key]
        self.hidden_clbits += local
        self.tally.play(flow.at(dict(zip(before, wires, strict=True))))


def _without_local(flow: Flow, wires: set[int]) -> Flow:
    """Bits of the call's own are gone after it; a longest path never ends on a bit alone."""
    rows = {
        out: {source: way for source, way in row.items() if source in wires}
        for out, row in flow.rows.items()
        if out in wires
    }
    return Flow(flow.counts, rows, flow.acts & wires, flow.measured & wires, flow.early)


def _assigns(body: tuple[Statement, ...]) -> bool:
    """Whether a block changes a variable, so that its turns may differ."""
    for statement in body:
        if isinstance(statement, Assign) and not statement.kind:
            return True
        if isinstance(statement, For) and _assigns(statement.body):
            return True
        if isinstance(statement, If) and _assigns(statement.then + statement.otherwise):
            return True
    return False


def facts_of(
    statements: list[Statement],
    version: int,
    included: bool,
    limits: ParseLimits,
    parameters: Mapping[str, float],
) -> Facts | None:
    """The facts of a program, or None where they take too long to find."""
    try:
        return Summary(version, included, limits, parameters).facts(statements)
    except CircuitError:
        return None
