"""The grammar: statements by their first word, blocks with a depth limit.

Everything that is not in the subset is refused by name and line. Nothing here acts: the result
is a tree, and the interpreter decides what it means.
"""

from __future__ import annotations

from cryogate.circuits.errors import CircuitError, shown
from cryogate.circuits.gates import words
from cryogate.circuits.rich.expressions import ExpressionParser
from cryogate.circuits.rich.lexer import Tokens
from cryogate.circuits.rich.tree import (
    Apply,
    Argument,
    Assign,
    Declare,
    Expression,
    For,
    GateDefinition,
    If,
    Input,
    Measure,
    Modifier,
    Operand,
    Range,
    Simple,
    Statement,
    Subroutine,
)
from cryogate.circuits.source import FORBIDDEN

MAX_BLOCKS = 16
_NUMBERS = frozenset({"int", "uint", "float", "angle", "bool"})
_REFUSED = frozenset(
    words("while switch output let array complex return break continue end mutable readonly void")
)


class Grammar(ExpressionParser):
    """Reads a whole source into statements."""

    def __init__(self, text: str, version: int) -> None:
        super().__init__(Tokens(text), version)
        self.blocks = 0
        self.included = False

    def program(self) -> list[Statement]:
        """All statements after the version line and the standard include."""
        self.header()
        statements: list[Statement] = []
        while self.kinds[self.position] != "end":
            self.statement(statements)
        return statements

    def header(self) -> None:
        """The version line and the standard include."""
        accepted = ("2.0", "2") if self.version == 2 else ("3", "3.0", "3.1")
        if self.texts[0] != "OPENQASM" or self.texts[1] not in accepted:
            detail = f"expected OPENQASM {accepted[0]}; as the first statement"
            raise CircuitError("syntax", detail, line=self.line())
        self.position = 2
        self.expect(";")
        if self.accept("include"):
            library = "qelib1.inc" if self.version == 2 else "stdgates.inc"
            self.position += 1
            if self.texts[self.position - 1] != f'"{library}"':
                self.position -= 1
                raise self.foreign_include(library)
            self.expect(";")
            self.included = True

    def foreign_include(self, library: str) -> CircuitError:
        """Refusal of any other include."""
        return CircuitError(
            "forbidden",
            f"include of anything but {library}: {shown(self.texts[self.position])}",
            line=self.line(),
            hint="no file is ever opened; inline the definitions",
        )

    def statement(self, out: list[Statement]) -> None:
        """One statement, added to ``out``; a declaration of several names adds several."""
        word, kind = self.texts[self.position], self.kinds[self.position]
        if kind != "name":
            if word == "@":
                raise CircuitError("forbidden", "an annotation is not accepted", line=self.line())
            raise self.unexpected()
        if word in FORBIDDEN:
            hint = FORBIDDEN[word]
            raise CircuitError("forbidden", f"{word} is not accepted", line=self.line(), hint=hint)
        if word == "include":
            self.position += 1
            library = "a library before the first statement"
            raise self.foreign_include(library)
        if word in _REFUSED:
            raise CircuitError("unsupported", f"{word} is not supported", line=self.line())
        method = _STATEMENTS[self.version].get(word)
        out.append(method(self) if method else self.plain())

    def plain(self) -> Statement:
        """A gate application, a subroutine call, or an assignment."""
        line = self.line()
        modifiers = []
        while self.texts[self.position] in ("inv", "pow", "ctrl", "negctrl"):
            modifiers.append(self.modifier())
        start = self.position
        name = self.name()
        if not modifiers and self.texts[self.position] in ("=", "["):
            self.position = start
            return self.assignment(line)
        arguments: tuple[Expression, ...] = ()
        if self.accept("("):
            arguments = self.arguments()
        operands: tuple[Operand, ...] = ()
        if self.texts[self.position] != ";":
            operands = self.operands()
        self.expect(";")
        return Apply(line, tuple(modifiers), name, arguments, operands)

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
        if not self.accept("["):
            return Operand(name, None)
        select: Expression | Range | tuple[Expression, ...]
        select = self.elements() if self.texts[self.position] == "{" else self.range_or_index()
        self.expect("]")
        return Operand(name, select)

    def elements(self) -> tuple[Expression, ...]:
        """``{1, 2, 3}``."""
        self.expect("{")
        found = [self.expression()]
        while self.accept(","):
            found.append(self.expression())
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

    def assignment(self, line: int) -> Statement:
        """A measurement into bits, or a number into a variable."""
        target = self.operand()
        self.expect("=")
        if self.accept("measure"):
            source = self.operand()
            self.expect(";")
            return Measure(line, source, target)
        if target.select is not None:
            raise CircuitError("unsupported", "a bit is set only by a measurement", line=line)
        value = self.expression()
        self.expect(";")
        return Assign(line, "", False, target.name, value)

    def measure(self) -> Statement:
        """``measure q -> c``."""
        line = self.line()
        self.position += 1
        source = self.operand()
        if self.texts[self.position] != "->":
            raise CircuitError("syntax", "a measurement names no classical bit", line=line)
        self.position += 1
        target = self.operand()
        self.expect(";")
        return Measure(line, source, target)

    def simple(self) -> Statement:
        """``barrier`` and ``reset``."""
        line = self.line()
        kind = self.name()
        operands = () if self.texts[self.position] == ";" else self.operands()
        self.expect(";")
        return Simple(line, kind, operands)

    def register(self) -> Statement:
        """``qreg q[2];`` and ``creg c[2];``."""
        line = self.line()
        kind = "qubit" if self.name() == "qreg" else "bit"
        name = self.name()
        size: Expression | None = None
        if self.accept("["):
            size = self.expression()
            self.expect("]")
        elif self.version == 2:
            raise self.unexpected()
        self.expect(";")
        return Declare(line, kind, name, size, None)

    def declaration(self) -> Statement:
        """``qubit[2] q;`` and ``bit[2] c = measure q;``."""
        line = self.line()
        kind = self.name()
        size = self.designator()
        name = self.name()
        measured = None
        if kind == "bit" and self.accept("="):
            self.expect("measure")
            measured = self.operand()
        self.expect(";")
        return Declare(line, kind, name, size, measured)

    def designator(self) -> Expression | None:
        """``[4]`` or nothing."""
        if not self.accept("["):
            return None
        size = self.expression()
        self.expect("]")
        return size

    def number_type(self) -> str:
        """A type of numbers."""
        kind = self.name()
        if kind not in _NUMBERS:
            self.position -= 1
            raise self.unexpected()
        size = self.designator()
        if size is not None and size != 64 and kind in ("float", "angle"):
            # Narrower numbers would round, and every reader would have to round alike.
            raise CircuitError("unsupported", f"{kind} of any width but 64", line=self.line())
        return kind

    def variable(self) -> Statement:
        """``const int n = 4;`` and the like."""
        line = self.line()
        constant = self.accept("const")
        kind = self.number_type()
        name = self.name()
        self.expect("=")
        value = self.expression()
        self.expect(";")
        return Assign(line, kind, constant, name, value)

    def input(self) -> Statement:
        """A parameter."""
        line = self.line()
        self.position += 1
        kind = self.number_type()
        name = self.name()
        self.expect(";")
        return Input(line, kind, name)

    def names(self) -> tuple[str, ...]:
        """Distinct names."""
        found = [self.name()]
        while self.accept(","):
            found.append(self.name())
        if len(set(found)) != len(found):
            raise CircuitError("redefined", "a name is used twice in a definition")
        return tuple(found)

    def gate(self) -> Statement:
        """A gate definition."""
        line = self.line()
        self.position += 1
        name = self.name()
        parameters: tuple[str, ...] = ()
        if self.accept("(") and not self.accept(")"):
            parameters = self.names()
            self.expect(")")
        qubits = self.names()
        if set(qubits) & set(parameters):
            raise CircuitError("redefined", "a name is used twice in a definition", line=line)
        return GateDefinition(line, name, parameters, qubits, self.block())

    def subroutine(self) -> Statement:
        """A subroutine definition."""
        line = self.line()
        self.position += 1
        name = self.name()
        self.expect("(")
        arguments: list[Argument] = []
        while not self.accept(")"):
            if arguments:
                self.expect(",")
            arguments.append(self.argument())
        if self.texts[self.position] == "->":
            raise CircuitError("unsupported", "a subroutine with a result", line=line)
        if len({a.name for a in arguments}) != len(arguments):
            raise CircuitError("redefined", "a name is used twice in a definition", line=line)
        return Subroutine(line, name, tuple(arguments), self.block())

    def argument(self) -> Argument:
        """A formal argument."""
        if self.accept("qubit"):
            return Argument("qubit", self.designator(), self.name())
        return Argument(self.number_type(), None, self.name())

    def block(self) -> tuple[Statement, ...]:
        """``{ ... }``, or one statement."""
        self.blocks += 1
        if self.blocks > MAX_BLOCKS:
            raise CircuitError("too_large", "blocks are nested too deeply", line=self.line())
        out: list[Statement] = []
        if self.accept("{"):
            while not self.accept("}"):
                if self.kinds[self.position] == "end":
                    raise self.unexpected()
                self.statement(out)
        else:
            self.statement(out)
        self.blocks -= 1
        return tuple(out)

    def loop(self) -> Statement:
        """A loop over a range or a set."""
        line = self.line()
        self.position += 1
        self.number_type()
        name = self.name()
        self.expect("in")
        values: Range | tuple[Expression, ...]
        if self.texts[self.position] == "{":
            values = self.elements()
        else:
            self.expect("[")
            found = self.range_or_index()
            if not isinstance(found, Range):
                raise self.unexpected()
            self.expect("]")
            values = found
        return For(line, name, values, self.block())

    def branch(self) -> Statement:
        """``if`` and ``else``."""
        line = self.line()
        self.position += 1
        self.expect("(")
        condition = self.expression()
        self.expect(")")
        then = self.block()
        otherwise = self.block() if self.version == 3 and self.accept("else") else ()
        return If(line, condition, then, otherwise)


_COMMON = {
    "qreg": Grammar.register,
    "creg": Grammar.register,
    "measure": Grammar.measure,
    "barrier": Grammar.simple,
    "reset": Grammar.simple,
    "gate": Grammar.gate,
    "if": Grammar.branch,
}
_STATEMENTS = {
    2: _COMMON,
    3: {
        **_COMMON,
        "qubit": Grammar.declaration,
        "bit": Grammar.declaration,
        "const": Grammar.variable,
        **dict.fromkeys(sorted(_NUMBERS), Grammar.variable),
        "input": Grammar.input,
        "def": Grammar.subroutine,
        "for": Grammar.loop,
    },
}
