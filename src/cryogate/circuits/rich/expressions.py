"""Expressions: parsed by precedence climbing with a depth limit, evaluated at compile time."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping

from cryogate.circuits.errors import CircuitError, shown
from cryogate.circuits.rich.lexer import Tokens
from cryogate.circuits.rich.tree import (
    Binary,
    Cast,
    Expression,
    Function,
    Index,
    Name,
    Range,
    Slice,
    Unary,
)

Value = int | float
MAX_DEPTH = 48
MAX_TERMS = 256
_RANKS_3 = {
    "||": 1, "&&": 2, "|": 3, "^": 4, "&": 5, "==": 6, "!=": 6, "<": 7, ">": 7, "<=": 7, ">=": 7,
    "<<": 8, ">>": 8, "+": 9, "-": 9, "*": 10, "/": 10, "%": 10,
}  # fmt: skip
_RANKS = {2: {"==": 6, "+": 9, "-": 9, "*": 10, "/": 10}, 3: _RANKS_3}
TYPES = frozenset({"int", "uint", "float", "angle", "bool", "bit"})
FUNCTIONS: dict[str, Callable[[float], float]] = {
    "sin": math.sin, "cos": math.cos, "tan": math.tan, "exp": math.exp, "ln": math.log,
    "log": math.log, "sqrt": math.sqrt, "arcsin": math.asin, "arccos": math.acos,
    "arctan": math.atan,
}  # fmt: skip
CONSTANTS: dict[str, Value] = {
    "pi": math.pi, "tau": math.tau, "euler": math.e, "true": 1, "false": 0,
}  # fmt: skip


class NotConstant(CircuitError):
    """The value is only known when the circuit runs."""


class ExpressionParser:
    """Reads expressions from a token list; ``position`` is the next token."""

    def __init__(self, tokens: Tokens, version: int) -> None:
        self.tokens = tokens
        self.texts = tokens.texts
        self.kinds = tokens.kinds
        self.version = version
        self.position = 0
        self.depth = 0

    def line(self) -> int:
        """1-based line of the next token."""
        return self.tokens.line(self.position)

    def unexpected(self) -> CircuitError:
        """An error that shows the next token."""
        text = shown(self.texts[self.position]) or "end of input"
        return CircuitError("syntax", f"unexpected {text}", line=self.line())

    def expect(self, text: str) -> None:
        """Consume one given token."""
        if self.texts[self.position] != text:
            raise self.unexpected()
        self.position += 1

    def accept(self, text: str) -> bool:
        """Consume one given token if it is next."""
        if self.texts[self.position] != text:
            return False
        self.position += 1
        return True

    def name(self) -> str:
        """Consume a name."""
        if self.kinds[self.position] != "name":
            raise self.unexpected()
        self.position += 1
        return self.texts[self.position - 1]

    def expression(self, rank: int = 1) -> Expression:
        """An expression whose operators bind at least as tightly as ``rank``."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise CircuitError("too_large", "an expression is nested too deeply", line=self.line())
        left = self.unary()
        ranks = _RANKS[self.version]
        terms = 0
        while (found := ranks.get(self.texts[self.position], 0)) >= rank:
            symbol = self.texts[self.position]
            terms += 1
            if terms > MAX_TERMS:  # evaluation goes as deep as there are terms
                raise CircuitError("too_large", "an expression is too long", line=self.line())
            self.position += 1
            if symbol == "/" and self.version == 2:
                symbol = "real /"  # OpenQASM 2 knows no integers
            left = Binary(symbol, left, self.expression(found + 1))
        self.depth -= 1
        return left

    def unary(self) -> Expression:
        """A signed or negated power."""
        signs: list[str] = []
        if self.texts[self.position] == "~":
            raise CircuitError("unsupported", "a bitwise complement", line=self.line())
        while self.texts[self.position] in ("-", "+", "!") and len(signs) <= MAX_DEPTH:
            signs.append(self.texts[self.position])
            self.position += 1
        operand = self.primary()
        power = "**" if self.version == 3 else "^"
        if self.accept(power):
            if signs:
                raise self.ambiguous("a sign before a power")
            operand = Binary("**" if self.version == 3 else "real **", operand, self.primary())
            if self.texts[self.position] == power:
                raise self.ambiguous("a power of a power")
        for sign in reversed(signs):
            if sign != "+":
                folds = sign == "-" and isinstance(operand, int | float)
                operand = -operand if folds else Unary(sign, operand)  # type: ignore[operator]
        return operand

    def ambiguous(self, what: str) -> CircuitError:
        """An error for what parsers read in more than one way."""
        detail = f"{what} means different things to different parsers"
        return CircuitError("ambiguous", detail, line=self.line(), hint="add parentheses")

    def primary(self) -> Expression:
        """A number, a name, an element, a function call, or parentheses."""
        kind, text = self.kinds[self.position], self.texts[self.position]
        self.position += 1
        if kind == "real":
            return float(text)
        if kind == "int":
            return int(text)
        if text == "(":
            inner = self.expression()
            self.expect(")")
            return inner
        if kind != "name":
            self.position -= 1
            raise self.unexpected()
        if text in FUNCTIONS and self.accept("("):
            inner = self.expression()
            self.expect(")")
            return Function(text, inner)
        if text in CONSTANTS:
            return CONSTANTS[text]
        if text in TYPES and self.version == 3:
            return self.cast(text)
        if self.texts[self.position] == "(":
            detail = f"a call of {shown(text)} inside of an expression"
            raise CircuitError("unsupported", detail, line=self.line(), hint="assign it to bits")
        if self.accept("["):
            inner = self.expression()
            if self.accept(":"):
                return self.slice(text, inner)
            self.expect("]")
            return Index(text, inner)
        return Name(text)

    def slice(self, name: str, start: Expression) -> Expression:
        """The rest of ``name[start:stop]`` or ``name[start:step:stop]``."""
        step: Expression = 1
        stop = self.expression()
        if self.accept(":"):
            step, stop = stop, self.expression()
        self.expect("]")
        return Slice(name, Range(start, step, stop))

    def cast(self, kind: str) -> Expression:
        """``kind[width](operand)``, the type consumed already."""
        width: Expression | None = None
        if self.accept("["):
            width = self.expression()
            self.expect("]")
        self.expect("(")
        operand = self.expression()
        self.expect(")")
        return Cast(kind, width, operand)


def value(expression: Expression, scope: Mapping[str, object]) -> Value:
    """The compile-time value. Raises `CircuitError`; `NotConstant` when it depends on a bit."""
    if isinstance(expression, int | float):
        return expression
    if isinstance(expression, Name):
        found = scope.get(expression.name)
        if isinstance(found, int | float):
            return found
        if found is None:
            raise CircuitError("undefined", f"unknown name {shown(expression.name)}")
        raise NotConstant("unsupported", f"{shown(expression.name)} is not known at compile time")
    if isinstance(expression, Slice):
        raise NotConstant("unsupported", f"a part of {shown(expression.name)} as a number")
    if isinstance(expression, Index):
        number = scope.get(expression.name)
        if isinstance(number, int):
            return _bit(number, expression, scope)
        raise NotConstant("unsupported", f"{shown(expression.name)} is not known at compile time")
    try:
        if isinstance(expression, Cast):
            width = None if expression.width is None else value(expression.width, scope)
            return typed(expression.kind, value(expression.operand, scope), width)
        return _bounded(_operate(expression, scope))
    except (ArithmeticError, ValueError) as error:
        if isinstance(error, CircuitError):
            raise
        raise CircuitError("not_finite", "an expression has no finite value") from None


def _bit(number: int, index: Index, scope: Mapping[str, object]) -> int:
    """One bit of a whole number, bit 0 its lowest."""
    position = value(index.position, scope)
    if number < 0 or not isinstance(position, int) or not 0 <= position < 64:
        raise CircuitError("out_of_range", f"no such bit of {shown(index.name)}")
    return number >> position & 1


def typed(kind: str, number: Value, width: Value | None = None) -> Value:
    """``number`` as a value of a type. Nothing is rounded or wrapped around: that is refused."""
    if kind in ("float", "angle"):
        if width not in (None, 64):
            raise CircuitError("unsupported", f"{kind} of any width but 64")
        return float(number)
    if kind == "bit":
        raise CircuitError("unsupported", "a number as bits", hint="read its bits by an index")
    if not isinstance(number, int):
        raise CircuitError("ambiguous", f"{kind} from a number that is not whole")
    if kind == "bool":
        return int(bool(number))
    bits = 64 if width is None else width
    if not isinstance(bits, int) or not 1 <= bits <= 64:
        raise CircuitError("unsupported", f"{kind} of this width")
    low, high = (0, 1 << bits) if kind == "uint" else (-(1 << bits - 1), 1 << bits - 1)
    if not low <= number < high:
        raise CircuitError("out_of_range", f"{kind}[{bits}] out of range")
    return number


def _operate(expression: Unary | Binary | Function, scope: Mapping[str, object]) -> Value:
    if isinstance(expression, Unary):
        operand = value(expression.operand, scope)
        return -operand if expression.operator == "-" else int(not operand)
    if isinstance(expression, Function):
        return FUNCTIONS[expression.name](value(expression.argument, scope))
    left, right = value(expression.left, scope), value(expression.right, scope)
    return _BINARY[expression.operator](left, right)


def _bounded(result: Value) -> Value:
    if isinstance(result, int):
        if abs(result) > 1 << 64:
            raise CircuitError("too_large", "an integer expression leaves 64 bits")
    elif result - result != 0.0:
        raise CircuitError("not_finite", "an expression has no finite value")
    return result


def _divide(left: Value, right: Value) -> Value:
    if isinstance(left, int) and isinstance(right, int):
        if left % right:
            raise CircuitError(
                "ambiguous",
                "an inexact quotient of two integers means different things to different parsers",
                hint="write one of them with a decimal point",
            )
        return left // right
    return left / right


def _modulo(left: Value, right: Value) -> Value:
    if not isinstance(left, int) or not isinstance(right, int) or left < 0 or right < 1:
        raise CircuitError("ambiguous", "a remainder is only taken of whole numbers, not negative")
    return left % right


def _power(left: Value, right: Value) -> Value:
    if isinstance(left, int) and isinstance(right, int) and not 0 <= right <= 64:
        raise CircuitError("too_large", "an exponent is out of range")
    result = left**right
    if not isinstance(result, int | float):
        raise CircuitError("not_finite", "an expression has no real value")
    return result


def _whole(operate: Callable[[int, int], int]) -> Callable[[Value, Value], Value]:
    """An operator on bits, for whole numbers that are not negative."""

    def checked(left: Value, right: Value) -> Value:
        if not isinstance(left, int) or not isinstance(right, int) or left < 0 or right < 0:
            raise CircuitError("ambiguous", "bits are taken of whole numbers, not negative")
        return operate(left, right)

    return checked


def _shift_left(left: int, right: int) -> int:
    if right > 64:
        raise CircuitError("too_large", "an integer expression leaves 64 bits")
    return left << right


_BINARY: dict[str, Callable[[Value, Value], Value]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": _divide,
    "%": _modulo,
    "**": _power,
    "real /": lambda a, b: float(a) / float(b),
    "real **": lambda a, b: _power(float(a), float(b)),
    "==": lambda a, b: int(a == b),
    "!=": lambda a, b: int(a != b),
    "<": lambda a, b: int(a < b),
    ">": lambda a, b: int(a > b),
    "<=": lambda a, b: int(a <= b),
    ">=": lambda a, b: int(a >= b),
    "&": _whole(operator.and_),
    "|": _whole(operator.or_),
    "^": _whole(operator.xor),
    "<<": _whole(_shift_left),
    ">>": _whole(operator.rshift),
    "&&": lambda a, b: int(bool(a and b)),
    "||": lambda a, b: int(bool(a or b)),
}
