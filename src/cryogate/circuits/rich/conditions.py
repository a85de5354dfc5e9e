"""Conditions on classical bits, in the two forms that a program can say."""

from __future__ import annotations

from cryogate.circuits.assemble import CONDITIONAL, Op
from cryogate.circuits.errors import CircuitError
from cryogate.circuits.program import Condition
from cryogate.circuits.rich.scope import Scope, Wires, resolve, whole
from cryogate.circuits.rich.tree import Binary, Expression, Index, Name, Operand, Unary


def condition_on(expression: Expression, scope: Scope) -> tuple[Condition, Condition | None]:
    """The condition, and its opposite if that is one. Raises `CircuitError` (``unsupported``)."""
    if isinstance(expression, Unary) and expression.operator == "!":
        wires = _bits(expression.operand, scope)
        return _single(wires, 0)
    if isinstance(expression, Binary) and expression.operator in ("==", "!="):
        left, right = expression.left, expression.right
        if not isinstance(left, Name | Index):
            left, right = right, left
        wires = _bits(left, scope)
        wanted = whole(right, scope)
        if len(wires.indices) == 1:
            if wanted not in (0, 1):
                raise _unsupported()
            return _single(wires, wanted if expression.operator == "==" else 1 - wanted)
        if expression.operator == "==":
            return Condition(tuple(wires.indices), wanted), None
        raise _unsupported()
    return _single(_bits(expression, scope), 1)


def _single(wires: Wires, wanted: int) -> tuple[Condition, Condition]:
    if len(wires.indices) != 1:
        raise _unsupported()
    bits = tuple(wires.indices)
    return Condition(bits, wanted), Condition(bits, 1 - wanted)


def _bits(expression: Expression, scope: Scope) -> Wires:
    if isinstance(expression, Name):
        wires = resolve(Operand(expression.name, None), scope)
    elif isinstance(expression, Index):
        wires = resolve(Operand(expression.name, expression.position), scope)
    else:
        raise _unsupported()
    if wires.quantum:
        raise CircuitError("syntax", "a condition reads bits, not qubits")
    return wires


def _unsupported() -> CircuitError:
    return CircuitError(
        "unsupported",
        "a condition of this form",
        hint="compare one bit with 0 or 1, or a whole register with a number",
    )


def unchanged(ops: list[Op], condition: Condition) -> None:
    """Refuse a branch of several operations that measures into its own condition."""
    if len(ops) < 2:
        return
    tested = set(condition.bits)
    for line, _, _, _, kind in ops:
        if kind == CONDITIONAL + "measure" and not tested.isdisjoint(_target(line, condition)):
            raise CircuitError("ambiguous", "a branch changes the bits it depends on")


def _target(line: str, condition: Condition) -> set[int]:
    # The canonical line names the target register and bit; its register starts at the
    # condition's own first bit exactly if the names before the bracket agree.
    register, _, bit = line.rpartition(" -> ")[2].rstrip(";\n").partition("[")
    tested = line[3:].partition(")")[0].partition("==")[0]
    if tested == register:
        return {condition.bits[0] + int(bit[:-1])}
    if tested == f"{register}[{bit}":
        return {condition.bits[0]}
    return set()
