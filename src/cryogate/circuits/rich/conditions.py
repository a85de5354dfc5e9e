"""Conditions on classical bits: conjunctions of tests, as a program can say them."""

from __future__ import annotations

from collections.abc import Container

from cryogate.circuits.conditions import both, equals
from cryogate.circuits.errors import CircuitError
from cryogate.circuits.program import Condition
from cryogate.circuits.rich.expressions import NotConstant, value
from cryogate.circuits.rich.scope import Scope, Wires, resolve, whole
from cryogate.circuits.rich.tree import Binary, Cast, Expression, Index, Name, Operand, Unary

#: A condition, and its opposite if that is a condition too.
Tested = tuple[Condition, Condition | None]


def condition_on(expression: Expression, scope: Scope, unset: Container[int]) -> bool | Tested:
    """The condition, or its value if that is known already. Raises `CircuitError`.

    ``unset`` are bits that were declared and not measured since: what they read is anybody's guess.
    """
    try:
        return bool(value(expression, scope))
    except NotConstant:
        pass
    if isinstance(expression, Cast) and expression.kind == "bool":
        return condition_on(expression.operand, scope, unset)
    if isinstance(expression, Unary) and expression.operator == "!":
        return _opposite(condition_on(expression.operand, scope, unset))
    if isinstance(expression, Binary) and expression.operator == "&&":
        left = condition_on(expression.left, scope, unset)
        right = condition_on(expression.right, scope, unset)
        if isinstance(left, bool) or isinstance(right, bool):
            # The other side is what is left of "true && x"; nothing is left of "false && x".
            known, other = (left, right) if isinstance(left, bool) else (right, left)
            return other if known else False
        return both(left[0], right[0]), None
    if isinstance(expression, Binary) and expression.operator in ("==", "!="):
        return _compared(expression, scope, unset)
    wires = _bits(expression, scope, unset)
    if len(wires.indices) != 1:
        raise _unsupported()
    return _equal(wires, 1)


def _opposite(tested: bool | Tested) -> bool | Tested:
    if isinstance(tested, bool):
        return not tested
    if tested[1] is None:
        raise _unsupported()
    return tested[1], tested[0]


def _compared(expression: Binary, scope: Scope, unset: Container[int]) -> Tested:
    bits, number = expression.left, expression.right
    try:
        wanted = whole(number, scope)
    except NotConstant:
        bits, number = number, bits
        try:
            wanted = whole(number, scope)
        except NotConstant:
            raise _unsupported() from None
    wires = _bits(bits, scope, unset)
    if isinstance(bits, Cast):
        _check_cast(bits, wires, wanted, scope)
    elif len(wires.indices) == 1 and wanted not in (0, 1):
        raise _unsupported()
    tested = _equal(wires, wanted)
    if expression.operator == "==":
        return tested
    if tested[1] is None:
        raise _unsupported()
    return tested[1], tested[0]


def _check_cast(cast: Cast, wires: Wires, wanted: int, scope: Scope) -> None:
    """Bits read as a number are what they are as bits only where no sign and no loss comes in."""
    width = 32 if cast.width is None else whole(cast.width, scope)
    usable = width - 1 if cast.kind == "int" else width
    if cast.kind not in ("int", "uint", "bool") or len(wires.indices) > width:
        raise _unsupported()
    if wanted < 0 or wanted >= 1 << min(usable, len(wires.indices)):
        hint = "a signed number of so many bits is never so large; write uint"
        raise CircuitError("unsupported", "a condition that can never hold", hint=hint)


def _equal(wires: Wires, wanted: int) -> Tested:
    opposite = equals(wires.indices, 1 - wanted) if len(wires.indices) == 1 else None
    return equals(wires.indices, wanted), opposite


def _bits(expression: Expression, scope: Scope, unset: Container[int]) -> Wires:
    if isinstance(expression, Cast):
        return _bits(expression.operand, scope, unset)
    if isinstance(expression, Name):
        wires = resolve(Operand(expression.name, None), scope)
    elif isinstance(expression, Index):
        wires = resolve(Operand(expression.name, expression.position), scope)
    else:
        raise _unsupported()
    if wires.quantum:
        raise CircuitError("syntax", "a condition reads bits, not qubits")
    if any(bit in unset for bit in wires.indices):
        raise CircuitError("unbound", "a condition reads bits that were not measured before")
    return wires


def _unsupported() -> CircuitError:
    return CircuitError(
        "unsupported",
        "a condition of this form",
        hint="compare one bit with 0 or 1, or a whole register with a number; join them with &&",
    )
