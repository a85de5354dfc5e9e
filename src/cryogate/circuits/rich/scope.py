"""Names and what they stand for while a program is interpreted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from cryogate.circuits.errors import CircuitError, shown
from cryogate.circuits.rich.expressions import Value, value
from cryogate.circuits.rich.tree import Expression, GateDefinition, Operand, Range, Subroutine


class Wires(NamedTuple):
    """Qubits or bits by flat index; ``whole`` if they are a register and not one element."""

    quantum: bool
    indices: tuple[int, ...] | range
    whole: bool


class Gate(NamedTuple):
    """A checked gate definition and the exact number of operations it expands to."""

    definition: GateDefinition
    operations: int
    depth: int


class Variable:
    """A compile-time number that may be assigned."""

    __slots__ = ("constant", "kind", "value", "width")

    def __init__(self, kind: str, value: Value, constant: bool, width: Value | None = None) -> None:
        self.kind = kind
        self.width = width
        self.value = value
        self.constant = constant


_LONGEST = 1 << 62
Meaning = Wires | Gate | Subroutine | Variable
#: Stands for a number that is not known yet: asking for its value raises `NotConstant`.
UNKNOWN = Subroutine(0, "", (), None, ())


class Scope(Mapping[str, object]):
    """Names visible at one place: the inner block first, then outwards.

    As a mapping it gives numbers for expressions and any other meaning as it is. From inside of a
    ``closed`` one, a subroutine's, only constants, gates and subroutines are visible beyond it.
    """

    __slots__ = ("closed", "names", "outer", "result")

    def __init__(self, outer: Scope | None = None, *, closed: bool = False) -> None:
        self.outer = outer
        self.closed = closed
        #: The register that a subroutine returns, and the bits its caller wants it in.
        self.result: tuple[str, Wires] | None = None
        self.names: dict[str, Meaning] = {}

    def find(self, name: str) -> Meaning | None:
        """What a name means here."""
        scope: Scope | None = self
        beyond = False
        while scope is not None:
            found = scope.names.get(name)
            if found is not None:
                return found if not beyond or _constant(found) else None
            beyond = beyond or scope.closed
            scope = scope.outer
        return None

    def declare(self, name: str, meaning: Meaning) -> None:
        """Give a name its meaning in this block. Raises `CircuitError` (``redefined``)."""
        if name in self.names:
            raise CircuitError("redefined", f"the name {shown(name)} is taken")
        self.names[name] = meaning

    def rebind(self, name: str, meaning: Meaning) -> None:
        """Set a loop variable or a formal argument."""
        self.names[name] = meaning

    def get(self, key: str, default: object = None) -> object:
        """For expressions: a number, another meaning, or ``default``."""
        found = self.find(key)
        if found is None:
            return default
        return found.value if isinstance(found, Variable) else found

    def __getitem__(self, key: str) -> object:
        found = self.get(key)
        if found is None:
            raise KeyError(key)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def _constant(meaning: Meaning) -> bool:
    if isinstance(meaning, Variable):
        return meaning.constant
    return not isinstance(meaning, Wires)


def whole(expression: Expression, scope: Scope) -> int:
    """A compile-time whole number. Raises `CircuitError`."""
    found = value(expression, scope)
    if not isinstance(found, int):
        raise CircuitError("syntax", "a whole number is needed here")
    return found


def sequence(values: Range | tuple[Expression, ...], scope: Scope) -> range | tuple[int, ...]:
    """The values of a range or a set; a range is not expanded. Both ends are included."""
    if not isinstance(values, Range):
        return tuple([whole(x, scope) for x in values])
    start, step, stop = (whole(x, scope) for x in values)
    if step == 0:
        raise CircuitError("syntax", "a range with a step of zero")
    if abs(stop - start) // abs(step) >= _LONGEST:  # its length would not fit a machine word
        raise CircuitError("too_large", "a range of too many values")
    return range(start, stop + (1 if step > 0 else -1), step)


def resolve(operand: Operand, scope: Scope) -> Wires:
    """The qubits or bits an operand names. Raises `CircuitError`."""
    wires = scope.find(operand.name)
    if not isinstance(wires, Wires):
        raise CircuitError("undefined", f"register {shown(operand.name)} is not declared")
    if operand.select is None:
        return wires
    if not wires.whole:  # it has no elements
        raise CircuitError("syntax", f"{shown(operand.name)} is a single element")
    select = operand.select
    if type(select) is int:
        return Wires(wires.quantum, (_at(wires, select, operand.name),), False)
    size = len(wires.indices)
    # An expression is a named tuple too, so a set is known by its exact type.
    if isinstance(select, Range) or type(select) is tuple:
        chosen = sequence(select, scope)  # type: ignore[arg-type]
        if len(chosen) > size or not chosen:
            raise CircuitError("out_of_range", f"a selection of {shown(operand.name)}")
        return Wires(wires.quantum, tuple([_at(wires, i, operand.name) for i in chosen]), True)
    position = whole(select, scope)  # type: ignore[arg-type]
    return Wires(wires.quantum, (_at(wires, position, operand.name),), False)


def _at(wires: Wires, position: int, name: str) -> int:
    # A negative index counts from the end for some parsers and is an error for others.
    if not 0 <= position < len(wires.indices):
        raise CircuitError("out_of_range", f"{shown(name)}[{position}] is not in the register")
    return wires.indices[position]
