"""Definitions of gates and subroutines: their names, arguments, results and ends."""

from __future__ import annotations

from abc import abstractmethod

from cryogate.circuits.errors import CircuitError, shown
from cryogate.circuits.rich.lexer import Tokens
from cryogate.circuits.rich.operands import OperandParser
from cryogate.circuits.rich.tree import (
    Argument,
    Expression,
    GateDefinition,
    Return,
    Statement,
    Subroutine,
)


class DefinitionParser(OperandParser):
    """Reads definitions; what a block is, the grammar knows."""

    def __init__(self, tokens: Tokens, version: int) -> None:
        super().__init__(tokens, version)
        self.returns = -1  # -1 outside of a subroutine, else how many were read

    @abstractmethod
    def block(self) -> tuple[Statement, ...]:
        """``{ ... }``, or one statement."""

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
        bits = self.result()
        if len({a.name for a in arguments}) != len(arguments):
            raise CircuitError("redefined", "a name is used twice in a definition", line=line)
        if self.returns >= 0:
            raise CircuitError("syntax", "a subroutine inside of a subroutine", line=line)
        self.returns = 0
        body = self.block()
        ends = bool(body) and isinstance(body[-1], Return)
        if self.returns != int(ends) or ends != (bits is not None):
            detail = "a subroutine with a result returns it once, at its end"
            raise CircuitError("unsupported", detail, line=line)
        self.returns = -1
        return Subroutine(line, name, tuple(arguments), bits, body)

    def result(self) -> Expression | None:
        """The size of a subroutine's result; None without one."""
        if not self.accept("->"):
            return None
        if not self.accept("bit"):
            kind = shown(self.texts[self.position])
            detail = f"a subroutine with a result of type {kind}"
            raise CircuitError("unsupported", detail, line=self.line(), hint="return bits")
        size = self.designator()
        return 1 if size is None else size

    def returned(self) -> Statement:
        """``return b;`` or ``return measure q;``."""
        line = self.line()
        self.position += 1
        if self.returns < 0:
            raise CircuitError("syntax", "return outside of a subroutine", line=line)
        self.returns += 1
        if self.accept("measure"):
            source = self.operand()
            self.expect(";")
            return Return(line, "", source)
        if self.kinds[self.position] != "name" or self.texts[self.position + 1] != ";":
            detail = "a result that is neither a register nor a measurement"
            raise CircuitError("unsupported", detail, line=line)
        name = self.name()
        self.expect(";")
        return Return(line, name, None)

    def argument(self) -> Argument:
        """A formal argument."""
        if self.accept("qubit"):
            return Argument("qubit", self.designator(), self.name())
        kind, width = self.number_type()
        return Argument(kind, width, self.name())
