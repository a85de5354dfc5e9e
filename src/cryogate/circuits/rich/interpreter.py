"""Runs a tree into operations: constants folded, loops unrolled, definitions inlined, under a cap.

1. nothing is expanded before its size was counted and found within the limit;
2. while running, operations and loop steps are counted again, so the limit holds in any case;
3. a condition on bits guards each operation of its branch, and is refused where the branch could
   change those bits, for then "each operation" and "the branch" differ;
4. what a subroutine returns is measured straight into its caller's bits, and only if it is
   measured wherever the subroutine runs: there is no copy that a vendor could make differently.
"""

from __future__ import annotations

from cryogate.circuits.conditions import both
from cryogate.circuits.errors import CircuitError, shown
from cryogate.circuits.operations import repeated_qubit
from cryogate.circuits.program import Condition, Program
from cryogate.circuits.rich.conditions import condition_on
from cryogate.circuits.rich.counting import Counter
from cryogate.circuits.rich.declaring import Declaring
from cryogate.circuits.rich.expressions import Value, typed, value
from cryogate.circuits.rich.scope import Meaning, Scope, Variable, Wires, resolve, sequence, whole
from cryogate.circuits.rich.tree import (
    Alias,
    Apply,
    Argument,
    Assign,
    Call,
    Declare,
    Expression,
    For,
    GateDefinition,
    If,
    Index,
    Input,
    Measure,
    Modifier,
    Name,
    Operand,
    Return,
    Simple,
    Slice,
    Statement,
    Subroutine,
)

#: Steps that add no operation are bounded by themselves.
_IDLE_STEPS = 100_000


class Oversized(CircuitError):
    """A program that would be larger than accepted, found before it was expanded."""


class Interpreter(Declaring):
    """One run."""

    counter: Counter | None = None
    steps = 0
    #: Bits measured so far, in order, to see which of them a branch has changed.
    measured: list[int]
    #: Where the subroutines that run want their results.
    wanted: list[Wires | None]

    def run(self, statements: list[Statement]) -> Program:
        """The program. Raises `CircuitError`; `Oversized` before anything is expanded."""
        self.counter = Counter(self.definitions)
        self.begin(statements)
        return self.builder.program()

    def begin(self, statements: list[Statement]) -> None:
        """Run every statement. Raises `CircuitError`."""
        self.measured, self.wanted = [], []
        for statement in statements:
            if self.counter is not None and not isinstance(statement, _DECLARATIONS):
                self._fits(statement, self.counter)
            self.block((statement,), self.globals, None)
        unbound = sorted(set(self.parameters) - self.bound)
        if unbound:
            raise CircuitError("undefined", f"no input is named {shown(unbound[0])}")

    def _fits(self, statement: Statement, counter: Counter) -> None:
        # (1) The largest a statement can become is known before it becomes anything.
        try:
            size = counter.count((statement,), self.globals)
        except CircuitError as error:
            raise error.at(statement.line) from None
        if self.builder.size + size > self.limits.max_operations:
            detail = f"the program has at least {shown_count(size)} operations"
            hint = f"at most {self.limits.max_operations} are accepted"
            raise Oversized("too_large", detail, line=statement.line, hint=hint)

    def block(self, body: tuple[Statement, ...], scope: Scope, condition: Condition | None) -> None:
        """Run statements in order; errors get the line of the innermost statement."""
        for statement in body:
            try:
                self.step()
                getattr(self, _ACTIONS[type(statement)])(statement, scope, condition)
            except CircuitError as error:
                raise error.at(statement.line) from None

    def step(self) -> None:
        """(2): one more statement or turn of a loop. Raises `CircuitError` for too many."""
        self.steps += 1
        if self.steps > _IDLE_STEPS + 2 * self.builder.size:
            raise CircuitError("too_large", "too many steps that do nothing")

    # -- gates -----------------------------------------------------------------------------

    def apply(self, statement: Apply, scope: Scope, condition: Condition | None) -> None:
        """A gate on each element of its operands, or a subroutine call."""
        found = scope.find(statement.name)
        if isinstance(found, Subroutine):
            self.call(found, statement, scope, condition, None)
            return
        params = self.angles(statement.arguments, scope)
        wires = [resolve(x, scope) for x in statement.operands]
        if not all(w.quantum for w in wires):
            raise CircuitError("syntax", "a gate acts on qubits, not on bits")
        sizes = {len(w.indices) for w in wires if w.whole}
        if len(sizes) > 1:
            raise CircuitError("syntax", "registers of different sizes in one operation")
        _, _, needed = self.definitions.applied(statement, scope)
        if len(wires) != needed:
            name = shown(statement.name)
            raise CircuitError("syntax", f"gate {name} takes {needed} qubits here")
        for i in range(max(sizes, default=1)):
            qubits = tuple([w.indices[i if w.whole else 0] for w in wires])
            if len(set(qubits)) != len(qubits):
                raise repeated_qubit()
            self.expand(statement.modifiers, statement.name, params, qubits, scope, condition)

    def angles(self, arguments: tuple[Expression, ...], scope: Scope) -> tuple[float, ...]:
        """The angles of a gate."""
        return tuple([float(value(x, scope)) for x in arguments])

    def expand(
        self,
        modifiers: tuple[Modifier, ...],
        name: str,
        params: tuple[float, ...],
        qubits: tuple[int, ...],
        scope: Scope,
        condition: Condition | None,
    ) -> None:
        """One application, in primitives."""
        for leaf in self.definitions.expand(modifiers, name, params, qubits, scope):
            if leaf.name == "barrier":
                self._unconditional(condition)
                self.builder.barrier(leaf.qubits)
            elif leaf.name != "gphase":  # no observable effect without a control
                self.builder.gate(leaf.name, leaf.params, leaf.qubits, condition)

    # -- subroutines -----------------------------------------------------------------------

    def take(self, statement: Call, scope: Scope, condition: Condition | None) -> None:
        """A subroutine whose result goes into bits."""
        self.into(statement.call, resolve(statement.target, scope), scope, condition)

    def into(self, call: Apply, target: Wires, scope: Scope, condition: Condition | None) -> None:
        """Call for a result. Raises `CircuitError` unless every bit of it is measured."""
        callee = scope.find(call.name)
        if not isinstance(callee, Subroutine) or callee.bits is None:
            raise CircuitError("syntax", f"{shown(call.name)} returns no bits")
        if target.quantum or len(target.indices) != whole(callee.bits, self.globals):
            raise CircuitError("syntax", "a result needs as many bits as it has")
        self.call(callee, call, scope, condition, target)

    def call(
        self,
        callee: Subroutine,
        statement: Apply,
        scope: Scope,
        condition: Condition | None,
        target: Wires | None,
    ) -> None:
        """A subroutine, its arguments bound; qubits by reference, numbers by value."""
        inner = self.arguments(callee, statement, scope)
        returned = callee.body[-1] if callee.body else None
        name = returned.name if isinstance(returned, Return) else ""
        if target is not None and name:
            inner.result = (name, target)
        self.wanted.append(target)
        self.block(callee.body, inner, condition)
        self.wanted.pop()
        if target is None:
            return
        # (4)
        meant = inner.names.get(name)
        if name and not (
            isinstance(meant, Wires) and not meant.quantum and meant.indices == target.indices
        ):
            raise CircuitError("unsupported", "a subroutine returns one of its own registers")
        if any(bit in self.unset for bit in target.indices):
            raise CircuitError("unsupported", "a result that is not measured in every case")

    def arguments(self, callee: Subroutine, statement: Apply, scope: Scope) -> Scope:
        """The scope of a call. Raises `CircuitError` for arguments that do not fit."""
        if statement.modifiers or statement.operands:
            raise CircuitError(
                "syntax",
                f"{shown(callee.name)} is a subroutine, not a gate",
                hint="its arguments stand in parentheses",
            )
        if len(statement.arguments) != len(callee.arguments):
            detail = f"{shown(callee.name)} takes {len(callee.arguments)} arguments"
            raise CircuitError("syntax", detail)
        inner = Scope(self.globals, closed=True)
        taken: list[int] = []
        for formal, actual in zip(callee.arguments, statement.arguments, strict=True):
            if formal.kind == "qubit":
                wires = self._qubit_argument(formal, actual, scope)
                taken.extend(wires.indices)
                inner.rebind(formal.name, wires)
            else:
                width = None if formal.size is None else value(formal.size, self.globals)
                inner.rebind(formal.name, self.number(formal, actual, scope, width))
        if len(set(taken)) != len(taken):
            raise repeated_qubit()
        return inner

    def number(
        self, formal: Argument, actual: Expression, scope: Scope, width: Value | None
    ) -> Meaning:
        """A number, by value."""
        number = typed(formal.kind, value(actual, scope), width)
        return Variable(formal.kind, number, True, width)

    def _qubit_argument(self, formal: Argument, actual: Expression, scope: Scope) -> Wires:
        if isinstance(actual, Name):
            wires = resolve(Operand(actual.name, None), scope)
        elif isinstance(actual, Index):
            wires = resolve(Operand(actual.name, actual.position), scope)
        elif isinstance(actual, Slice):
            wires = resolve(Operand(actual.name, actual.select), scope)
        else:
            raise CircuitError("syntax", f"argument {shown(formal.name)} needs qubits")
        size = None if formal.size is None else whole(formal.size, self.globals)
        if (
            not wires.quantum
            or wires.whole != (size is not None)
            or len(wires.indices) != (size or 1)
        ):
            raise CircuitError("syntax", f"argument {shown(formal.name)} needs other qubits")
        return wires

    def returned(self, statement: Return, scope: Scope, condition: Condition | None) -> None:
        """The end of a subroutine: a register is where it belongs already."""
        if statement.measured is None:
            return
        target, source = self.wanted[-1], resolve(statement.measured, scope)
        if target is None:  # nobody takes it, but measured it is
            start = self.builder.layout.add_register(len(source.indices))
            target = Wires(False, range(start, start + len(source.indices)), True)
        self.read(source, target, condition)

    # -- measurements and the rest -----------------------------------------------------------

    def measure(self, statement: Measure, scope: Scope, condition: Condition | None) -> None:
        """Qubits into as many bits."""
        source, target = resolve(statement.source, scope), resolve(statement.target, scope)
        self.read(source, target, condition)

    def read(self, source: Wires, target: Wires, condition: Condition | None) -> None:
        """Measure. Raises `CircuitError` unless there are as many bits as qubits."""
        if not source.quantum or target.quantum or len(source.indices) != len(target.indices):
            raise CircuitError("syntax", "a measurement needs qubits and as many bits")
        for qubit, bit in zip(source.indices, target.indices, strict=True):
            self.builder.measure(qubit, bit, condition)
            self.measured.append(bit)
            if self.unset.get(bit, _NOT_UNSET) == condition:
                del self.unset[bit]

    def declare(self, statement: Declare, scope: Scope, condition: Condition | None) -> None:
        """Qubits or bits, and where their first value comes from."""
        given = statement.given
        # What is given is looked up before the new name is there.
        source = resolve(given, scope) if isinstance(given, Operand) else None
        wires = self.register(statement, scope, condition)
        if source is not None:
            self.read(source, wires, condition)
        elif isinstance(given, Apply):
            self.into(given, wires, scope, condition)

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

    # -- control -----------------------------------------------------------------------------

    def loop(self, statement: For, scope: Scope, condition: Condition | None) -> None:
        """Each value of the loop in turn."""
        for number in sequence(statement.values, scope):
            inner = Scope(scope)
            inner.rebind(statement.name, Variable("int", number, constant=True))
            self.step()
            self.block(statement.body, inner, condition)

    def branch(self, statement: If, scope: Scope, condition: Condition | None) -> None:
        """A branch chosen now, or guarded by classical bits."""
        tested = condition_on(statement.condition, scope, self.unset)
        if isinstance(tested, bool):
            chosen = statement.then if tested else statement.otherwise
            self.block(chosen, Scope(scope), condition)
            return
        test, opposite = tested
        size, mark = self.builder.size, len(self.measured)
        self.block(statement.then, Scope(scope), both(condition, test))
        if statement.otherwise:
            if opposite is None:
                raise CircuitError("unsupported", "else after a condition on several bits")
            self.block(statement.otherwise, Scope(scope), both(condition, opposite))
        # (3)
        changed = self.builder.size - size > 1 and set(test.bits) & set(self.measured[mark:])
        if changed:
            raise CircuitError("ambiguous", "a branch changes the bits it depends on")


#: Equal to no condition, and not to "none" either.
_NOT_UNSET = Condition((), -1)


def shown_count(size: int) -> str:
    """A count for people."""
    return str(size) if size < 10**30 else f"2^{size.bit_length() - 1}"


_DECLARATIONS = (Assign, Input, GateDefinition, Subroutine, Alias)
_ACTIONS: dict[type, str] = {
    Apply: "apply",
    Measure: "measure",
    Call: "take",
    Return: "returned",
    Alias: "alias",
    Simple: "simple",
    Declare: "declare",
    Assign: "assign",
    Input: "input",
    GateDefinition: "define",
    Subroutine: "subroutine",
    For: "loop",
    If: "branch",
}
