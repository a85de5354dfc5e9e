"""Angles: constant expressions over numbers and ``pi`` with ``+ - * /`` and parentheses.

Evaluated with two explicit stacks, so nesting costs memory the statement limit already bounds
and never the interpreter's stack. Every result is a finite double with one spelling.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from cryogate.circuits.errors import CircuitError, shown

_NUMBER = re.compile(r"-?(?:\d{1,40}+(?:\.\d{0,40}+)?|\.\d{1,40}+)(?:[eE][-+]?\d{1,3}+)?", re.ASCII)
_TOKEN = re.compile(
    r"\s*+(?:((?:\d{1,40}+\.\d{0,40}+|\.\d{1,40}+)(?:[eE][-+]?\d{1,3}+)?"
    r"|\d{1,40}+[eE][-+]?\d{1,3}+)|(\d{1,40}+)(?![\d.])|([A-Za-z_]\w{0,63}+)|([-+*/()]))",
    re.ASCII,
)
_CONSTANTS = {"pi": math.pi, "tau": math.tau, "euler": math.e}
_RANK = {"+": 1, "-": 1, "*": 2, "/": 2, "neg": 3}
_MAX_EXPRESSION = 1000

Number = int | float


def angle(text: str, names: Mapping[str, Number] | None = None, *, integers: bool = False) -> float:
    """The value of an angle expression as a finite float without negative zero.

    ``integers`` is OpenQASM 3's rule that a quotient of two integers is an integer: parsers
    disagree on ``3/2``, so an inexact one is refused. Raises `CircuitError` (``syntax``,
    ``not_finite``, ``ambiguous``, ``undefined``, ``too_large``).
    """
    if _NUMBER.fullmatch(text):
        return finite(float(text))
    return finite(evaluate(text, names, integers=integers))


def finite(value: Number) -> float:
    """``value`` as a float, -0.0 folded into 0.0. Raises `CircuitError` (``not_finite``)."""
    try:
        out = float(value) + 0.0
    except OverflowError:
        out = math.inf
    if out - out != 0.0:
        raise CircuitError("not_finite", "an angle is not a finite number")
    return out


def evaluate(
    text: str, names: Mapping[str, Number] | None = None, *, integers: bool = False
) -> Number:
    """The value of a constant expression; integers stay integers when ``integers`` is set."""
    if len(text) > _MAX_EXPRESSION:
        raise CircuitError("too_large", "an expression is over 1000 characters long")
    values: list[Number] = []
    operators: list[str] = []
    position, operand_next = 0, True
    end = len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise _syntax(text)
        position = match.end()
        real, whole, name, symbol = match.groups()
        if symbol is None:
            if not operand_next:
                raise _syntax(text)
            values.append(_operand(real, whole, name, names, integers))
            operand_next = False
        else:
            operand_next = _symbol(symbol, values, operators, operand_next, integers, text)
    if operand_next:
        raise _syntax(text)
    while operators:
        if operators[-1] == "(":
            raise _syntax(text)
        _apply(operators.pop(), values, integers)
    return values[0]


def _syntax(text: str) -> CircuitError:
    return CircuitError(
        "syntax",
        f"not a constant expression: {shown(text)}",
        hint="numbers, pi, + - * / and parentheses",
    )


def _operand(
    real: str | None,
    whole: str | None,
    name: str | None,
    names: Mapping[str, Number] | None,
    integers: bool,
) -> Number:
    if real is not None:
        return float(real)
    if whole is not None:
        return int(whole) if integers else float(whole)
    assert name is not None  # noqa: S101 - one group of the token always matched
    if names is not None and name in names:
        return names[name]
    if name in _CONSTANTS:
        return _CONSTANTS[name]
    raise CircuitError("undefined", f"unknown name in an expression: {shown(name)}")


def _symbol(
    symbol: str,
    values: list[Number],
    operators: list[str],
    operand_next: bool,
    integers: bool,
    text: str,
) -> bool:
    if symbol == "(":
        if not operand_next:
            raise _syntax(text)
        operators.append("(")
        return True
    if symbol == ")":
        if operand_next:
            raise _syntax(text)
        while operators and operators[-1] != "(":
            _apply(operators.pop(), values, integers)
        if not operators:
            raise _syntax(text)
        operators.pop()
        return False
    if operand_next:
        if symbol == "-":
            operators.append("neg")
        elif symbol != "+":
            raise _syntax(text)
        return True
    rank = _RANK[symbol]
    while operators and operators[-1] != "(" and _RANK[operators[-1]] >= rank:
        _apply(operators.pop(), values, integers)
    operators.append(symbol)
    return True


def _apply(operator: str, values: list[Number], integers: bool) -> None:
    right = values.pop()
    if operator == "neg":
        values.append(-right)
        return
    left = values.pop()
    if operator == "/":
        values.append(_divide(left, right, integers))
        return
    result = left * right if operator == "*" else left + right if operator == "+" else left - right
    if isinstance(result, int) and abs(result) > 1 << 64:
        raise CircuitError("too_large", "an integer expression leaves 64 bits")
    values.append(result)


def _divide(left: Number, right: Number, integers: bool) -> Number:
    if right == 0:
        raise CircuitError("not_finite", "division by zero in an expression")
    if integers and isinstance(left, int) and isinstance(right, int):
        if left % right:
            raise CircuitError(
                "ambiguous",
                "an inexact quotient of two integers means different things to different parsers",
                hint="write one of them with a decimal point",
            )
        return left // right
    return left / right
