"""The grammar: statements by their first word, blocks with a depth limit.

Everything that is not in the subset is refused by name and line. Nothing here acts: the result
is a tree, and the interpreter decides what it means.
"""

from __future__ import annotations

from cryogate.circuits.errors import CircuitError, shown
from cryogate.circuits.rich.expressions import FUNCTIONS, TYPES
from cryogate.circuits.rich.lexer import Tokens
from cryogate.circuits.rich.operands import NUMBERS
from cryogate.circuits.rich.signatures import DefinitionParser
from cryogate.circuits.rich.tree import (
    Alias,
    Apply,
    Assign,
    Binary,
    Call,
    Declare,
    Expression,
    For,
    If,
    Input,
    Measure,
    Name,
    Operand,
    Range,
    Simple,
    Statement,
)
from cryogate.circuits.source import FORBIDDEN

MAX_BLOCKS = 16
_MAX_MODIFIERS = 16
_WHEN_IT_RUNS = "what it does is only known when it runs; nobody could count, price or approve it"
_VALUES = "only bits, numbers and qubits are known here"
#: Words that begin a statement which is refused, and why.
_REFUSED = {
    "while": _WHEN_IT_RUNS,
    "break": _WHEN_IT_RUNS,
    "continue": _WHEN_IT_RUNS,
    "end": _WHEN_IT_RUNS,
    "switch": "write it as conditions, one for each case",
    "output": "every bit of every register is returned",
    "array": _VALUES,
    "complex": _VALUES,
    "mutable": _VALUES,
    "readonly": _VALUES,
    "void": _VALUES,
}
_OPERATORS = ("+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>")
_COMPOUND = {f"{operator}=": operator for operator in _OPERATORS}


class Grammar(DefinitionParser):
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
        if self.version == 2 or self.texts[0] == "OPENQASM":
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
        if word in _REFUSED and self.version == 3:
            detail, hint = f"{word} is not supported", _REFUSED[word]
            raise CircuitError("unsupported", detail, line=self.line(), hint=hint)
        method = _STATEMENTS[self.version].get(word)
        out.append(method(self) if method else self.plain())

    def plain(self) -> Statement:
        """A gate application, a subroutine call, or an assignment."""
        line = self.line()
        modifiers = []
        while self.texts[self.position] in ("inv", "pow", "ctrl", "negctrl"):
            modifiers.append(self.modifier())
            if len(modifiers) > _MAX_MODIFIERS:
                raise CircuitError("too_large", "too many modifiers on one gate", line=line)
        start = self.position
        name = self.name()
        if not modifiers and (self.texts[self.position] in ("=", "[") or self.compound()):
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

    def compound(self) -> str:
        """The operator of ``+=`` and the like, if that is next."""
        return _COMPOUND.get(self.texts[self.position], "") if self.version == 3 else ""

    def assignment(self, line: int) -> Statement:
        """A measurement or a subroutine's result into bits, or a number into a variable."""
        target = self.operand()
        operator = self.compound()
        if operator:
            self.position += 1
        else:
            self.expect("=")
            given = self.bits_given(line)
            if isinstance(given, Operand):
                return Measure(line, given, target)
            if given is not None:
                return Call(line, target, given)
        value = self.expression()
        self.expect(";")
        if target.select is not None:
            raise CircuitError("unsupported", "a bit is set only by a measurement", line=line)
        if operator:
            value = Binary(operator, Name(target.name), value)
        return Assign(line, "", None, False, target.name, value)

    def bits_given(self, line: int) -> Operand | Apply | None:
        """What may be assigned to bits, to its semicolon: a measurement or a call; else None."""
        if self.accept("measure"):
            source = self.operand()
            self.expect(";")
            return source
        if self.kinds[self.position] != "name" or self.texts[self.position + 1] != "(":
            return None
        name = self.texts[self.position]
        if name in FUNCTIONS or name in TYPES:
            return None
        self.position += 2
        call = Apply(line, (), name, self.arguments(), ())
        self.expect(";")
        return call

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
        """``qubit[2] q;``, ``bit[2] c = measure q;`` and ``bit c = f(q);``."""
        line = self.line()
        kind = self.name()
        size = self.designator()
        name = self.name()
        if kind == "bit" and self.accept("="):
            given = self.bits_given(line)
            if given is None:
                raise CircuitError("unsupported", "a bit is set only by a measurement", line=line)
            return Declare(line, kind, name, size, given)
        self.expect(";")
        return Declare(line, kind, name, size, None)

    def alias(self) -> Statement:
        """``let name = q[0:1] ++ r;``."""
        line = self.line()
        self.position += 1
        name = self.name()
        self.expect("=")
        parts = [self.operand()]
        while self.accept("++"):
            parts.append(self.operand())
        self.expect(";")
        return Alias(line, name, tuple(parts))

    def variable(self) -> Statement:
        """``const int n = 4;`` and the like."""
        line = self.line()
        constant = self.accept("const")
        kind, width = self.number_type()
        name = self.name()
        if self.texts[self.position] == ";":
            detail = f"the variable {shown(name)} without a value"
            raise CircuitError("unsupported", detail, line=line)
        self.expect("=")
        value = self.expression()
        self.expect(";")
        return Assign(line, kind, width, constant, name, value)

    def input(self) -> Statement:
        """A parameter."""
        line = self.line()
        self.position += 1
        kind, width = self.number_type()
        name = self.name()
        self.expect(";")
        return Input(line, kind, width, name)

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
        **dict.fromkeys(sorted(NUMBERS), Grammar.variable),
        "input": Grammar.input,
        "let": Grammar.alias,
        "return": Grammar.returned,
        "def": Grammar.subroutine,
        "for": Grammar.loop,
    },
}
