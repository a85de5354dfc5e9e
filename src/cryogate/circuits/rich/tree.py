"""The syntax tree of the rich subset: plain tuples with names, made by the grammar."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias


class Name(NamedTuple):
    """A name used as a value."""

    name: str


class Index(NamedTuple):
    """``name[position]`` used as a value."""

    name: str
    position: Expression


class Slice(NamedTuple):
    """``name[start:step:stop]``, which only a subroutine's argument may be."""

    name: str
    select: Range


class Unary(NamedTuple):
    """``-x`` or ``!x``."""

    operator: str
    operand: Expression


class Binary(NamedTuple):
    """Two operands and an operator between them."""

    operator: str
    left: Expression
    right: Expression


class Function(NamedTuple):
    """A built-in function of one number."""

    name: str
    argument: Expression


class Cast(NamedTuple):
    """``int[4](x)``; ``width`` is None where none is written."""

    kind: str
    width: Expression | None
    operand: Expression


Expression: TypeAlias = int | float | Name | Index | Slice | Unary | Binary | Function | Cast


class Range(NamedTuple):
    """``start:step:stop``, both ends included as OpenQASM 3 has it."""

    start: Expression
    step: Expression
    stop: Expression


class Operand(NamedTuple):
    """A register, or the elements of it that ``select`` names."""

    name: str
    select: Expression | Range | tuple[Expression, ...] | None


class Modifier(NamedTuple):
    """``inv``, ``pow``, ``ctrl`` or ``negctrl`` with its number."""

    kind: str
    amount: Expression


class Apply(NamedTuple):
    """A gate, or a subroutine if there are no operands."""

    line: int
    modifiers: tuple[Modifier, ...]
    name: str
    arguments: tuple[Expression, ...]
    operands: tuple[Operand, ...]


class Measure(NamedTuple):
    """``target = measure source``."""

    line: int
    source: Operand
    target: Operand


class Call(NamedTuple):
    """``target = name(arguments)``: a subroutine whose result is taken."""

    line: int
    target: Operand
    call: Apply


class Return(NamedTuple):
    """The end of a subroutine: one of its registers, or a measurement."""

    line: int
    name: str
    measured: Operand | None


class Alias(NamedTuple):
    """``let name = a ++ b``."""

    line: int
    name: str
    parts: tuple[Operand, ...]


class Simple(NamedTuple):
    """``barrier`` or ``reset``."""

    line: int
    kind: str
    operands: tuple[Operand, ...]


class Declare(NamedTuple):
    """Qubits or bits; ``given`` is where their first value comes from."""

    line: int
    kind: str
    name: str
    size: Expression | None
    given: Operand | Apply | None


class Assign(NamedTuple):
    """A compile-time variable: declared (``kind`` not empty) or assigned."""

    line: int
    kind: str
    width: Expression | None
    constant: bool
    name: str
    value: Expression


class Input(NamedTuple):
    """A parameter bound when the circuit is submitted."""

    line: int
    kind: str
    width: Expression | None
    name: str


class GateDefinition(NamedTuple):
    """``gate name(parameters) qubits { body }``."""

    line: int
    name: str
    parameters: tuple[str, ...]
    qubits: tuple[str, ...]
    body: tuple[Statement, ...]


class Argument(NamedTuple):
    """A formal argument of a subroutine; ``kind`` is ``qubit`` or a number type, with its size."""

    kind: str
    size: Expression | None
    name: str


class Subroutine(NamedTuple):
    """``def name(arguments) { body }``; ``bits`` is the size of its result, None without one."""

    line: int
    name: str
    arguments: tuple[Argument, ...]
    bits: Expression | None
    body: tuple[Statement, ...]


class For(NamedTuple):
    """A loop over constants."""

    line: int
    name: str
    values: Range | tuple[Expression, ...]
    body: tuple[Statement, ...]


class If(NamedTuple):
    """A branch, at compile time or on classical bits."""

    line: int
    condition: Expression
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...]


Statement: TypeAlias = (
    Apply
    | Measure
    | Call
    | Return
    | Alias
    | Simple
    | Declare
    | Assign
    | Input
    | GateDefinition
    | Subroutine
    | For
    | If
)
