"""What statements are made of: operands, selections, arguments, types, modifiers."""

from __future__ import annotations

from cryogate.circuits.errors import CircuitError
from cryogate.circuits.rich.expressions import ExpressionParser
from cryogate.circuits.rich.tree import Expression, Modifier, Operand, Range

_MAX_ELEMENTS = 4096
NUMBERS = frozenset({"int", "uint", "float", "angle", "bool"})


class OperandParser(ExpressionParser):
    """Reads the parts of statements."""

    def arguments(self) -> tuple[Expression, ...]:
        """Expressions up to the closing parenthesis."""
        if self.accept(")"):
            return ()
        found = [self.expression()]
        while self.accept(","):
            found.append(self.expression())
        self.expect(")")
        return tuple(found)

    def modifier(self) -> Modifier:
        """``ctrl(2) @`` and the like."""
        kind = self.name()
        amount: Expression = 1
        if kind != "inv" and self.accept("("):
            amount = self.expression()
            self.expect(")")
        elif kind == "pow":
            raise self.unexpected()
        self.expect("@")
        return Modifier(kind, amount)

    def operands(self) -> tuple[Operand, ...]:
        """One operand or more."""
        found = [self.operand()]
        while self.accept(","):
            found.append(self.operand())
        return tuple(found)

    def operand(self) -> Operand:
        """A register, an element, a range or a set of elements."""
        name = self.name()
        texts, at = self.texts, self.position
        if texts[at] != "[":
            return Operand(name, None)
        if self.kinds[at + 1] == "int" and texts[at + 2] == "]":  # by far the most common
            self.position = at + 3
            return Operand(name, int(texts[at + 1]))
        self.position += 1
        select: Expression | Range | tuple[Expression, ...]
        select = self.elements() if self.texts[self.position] == "{" else self.range_or_index()
        self.expect("]")
        return Operand(name, select)

    def elements(self) -> tuple[Expression, ...]:
        """``{1, 2, 3}``."""
        line = self.line()
        self.expect("{")
        found = [self.expression()]
        while self.accept(","):
            found.append(self.expression())
            if len(found) > _MAX_ELEMENTS:
                raise CircuitError("too_large", "a set of too many elements", line=line)
        self.expect("}")
        return tuple(found)

    def range_or_index(self) -> Expression | Range:
        """``1``, ``0:3`` or ``0:2:6``."""
        first = self.expression()
        if not self.accept(":"):
            return first
        second = self.expression()
        if not self.accept(":"):
            return Range(first, 1, second)
        return Range(first, second, self.expression())

    def designator(self) -> Expression | None:
        """``[4]`` or nothing."""
        if not self.accept("["):
            return None
        size = self.expression()
        self.expect("]")
        return size

    def number_type(self) -> tuple[str, Expression | None]:
        """A type of numbers and its width, if one is written."""
        kind = self.name()
        if kind not in NUMBERS:
            self.position -= 1
            if kind in ("bit", "creg"):
                raise CircuitError("unsupported", f"{kind} as a value here", line=self.line())
            raise self.unexpected()
        width = self.designator()
        if width is not None and width != 64 and kind in ("float", "angle"):
            # Narrower numbers would round, and every reader would have to round alike.
            raise CircuitError("unsupported", f"{kind} of any width but 64", line=self.line())
        return kind, width

    def names(self) -> tuple[str, ...]:
        """Distinct names."""
        found = [self.name()]
        while self.accept(","):
            found.append(self.name())
        if len(set(found)) != len(found):
            raise CircuitError("redefined", "a name is used twice in a definition")
        return tuple(found)
