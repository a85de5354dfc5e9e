"""Our own OpenQASM 3 output, read by the language's reference parser; only inside workers.

It understands the statements that `emission` writes and nothing more: it is a check, not an input.
"""

from __future__ import annotations

import math
from typing import Any

import openqasm3
from openqasm3 import ast

from cryogate.circuits.conditions import both, equals
from cryogate.circuits.definitions import OPENQASM3_DEFINITIONS
from cryogate.circuits.errors import CircuitError
from cryogate.circuits.gates import OPENQASM3
from cryogate.circuits.model import ParseLimits
from cryogate.circuits.operations import Builder
from cryogate.circuits.program import Condition, Program


def read_openqasm3(text: bytes, limits: ParseLimits) -> Program:
    """The program of emitted OpenQASM 3. Raises `CircuitError`."""
    reader = _Reader(limits)
    for statement in openqasm3.parse(text.decode("ascii")).statements:
        reader.statement(statement, None)
    return reader.builder.program()


class _Reader:
    def __init__(self, limits: ParseLimits) -> None:
        self.builder = Builder(limits)
        self.start: dict[str, tuple[int, int]] = {}

    def statement(self, node: Any, condition: Condition | None) -> None:
        kind = type(node)
        if kind is ast.QuantumGate:
            if node.modifiers or node.name.name not in OPENQASM3:
                raise _unexpected(node)
            name = OPENQASM3[node.name.name].name
            angles = [_number(x) for x in node.arguments]
            self.builder.gate(name, angles, [self.index(q) for q in node.qubits], condition)
        elif kind is ast.QuantumMeasurementStatement:
            qubit, bit = self.index(node.measure.qubit), self.index(node.target)
            self.builder.measure(qubit, bit, condition)
        elif kind is ast.QuantumReset:
            self.builder.reset(self.index(node.qubits), condition)
        elif kind is ast.QuantumBarrier:
            self.builder.barrier([self.index(q) for q in node.qubits])
        elif kind is ast.BranchingStatement and not node.else_block:
            tested = both(condition, self.condition(node.condition))
            for inner in node.if_block:
                self.statement(inner, tested)
        else:
            self.declaration(node)

    def declaration(self, node: Any) -> None:
        layout = self.builder.layout
        if isinstance(node, ast.QubitDeclaration):
            size = int(_number(node.size))
            self.start[node.qubit.name] = (layout.add_qubits(size), size)
        elif isinstance(node, ast.ClassicalDeclaration) and isinstance(node.type, ast.BitType):
            size = int(_number(node.type.size))
            self.start[node.identifier.name] = (layout.add_register(size), size)
        elif isinstance(node, ast.Include) and node.filename == "stdgates.inc":
            return  # a name, not a file
        elif (
            not isinstance(node, ast.QuantumGateDefinition)
            or node.name.name not in OPENQASM3_DEFINITIONS
        ):
            raise _unexpected(node)

    def condition(self, node: Any) -> Condition:
        if not isinstance(node, ast.BinaryExpression) or node.op.name != "==":
            raise _unexpected(node)
        value = int(_number(node.rhs))
        if isinstance(node.lhs, ast.Identifier):
            start, size = self.start[node.lhs.name]
            return equals(range(start, start + size), value)
        return equals((self.index(node.lhs),), value)

    def index(self, node: Any) -> int:
        if isinstance(node, ast.IndexedIdentifier):
            ((position,),) = node.indices
            name = node.name.name
        elif isinstance(node, ast.IndexExpression):
            (position,) = node.index
            name = node.collection.name
        else:
            raise _unexpected(node)
        start, size = self.start[name]
        offset = int(_number(position))
        if not 0 <= offset < size:
            raise _unexpected(node)
        return start + offset


def _number(node: Any) -> float:
    if isinstance(node, ast.UnaryExpression) and node.op.name == "-":
        return -_number(node.expression)
    if isinstance(node, ast.IntegerLiteral | ast.FloatLiteral):
        return float(node.value)
    if isinstance(node, ast.Identifier) and node.name == "pi":
        return math.pi
    raise _unexpected(node)


def _unexpected(node: object) -> CircuitError:
    return CircuitError("unsupported", f"unexpected {type(node).__name__}")
