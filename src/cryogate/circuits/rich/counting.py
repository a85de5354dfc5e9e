"""How many operations a program has, counted without expanding loops or definitions.

Counts are exact big integers: a body is counted once and multiplied by its trips. Only where the
size of an inner loop or the choice of a branch depends on an outer loop's variable is the count a
lower bound; the operation limit holds while such a loop runs.
"""

from __future__ import annotations

from cryogate.circuits.errors import CircuitError
from cryogate.circuits.rich.definitions import Definitions
from cryogate.circuits.rich.expressions import NotConstant, value
from cryogate.circuits.rich.scope import UNKNOWN, Scope, Variable, Wires, resolve, sequence, whole
from cryogate.circuits.rich.tree import (
    Alias,
    Apply,
    Call,
    Declare,
    For,
    If,
    Measure,
    Operand,
    Return,
    Simple,
    Statement,
    Subroutine,
)

_DEEPEST_CALL = 64
_MOST_CALLS = 10_000


class Counter:
    """Counts statements under a scope."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._memo: dict[tuple[str, tuple[object, ...]], int] = {}

    def count(self, body: tuple[Statement, ...], scope: Scope, depth: int = 0) -> int:
        """Operations of a block. Never raises for what only running it can decide."""
        if depth > _DEEPEST_CALL:
            raise CircuitError("too_large", "subroutine calls are nested too deeply")
        total = 0
        for statement in body:
            try:
                total += self._one(statement, scope, depth)
            except CircuitError as error:
                # What is wrong, or varies, comes out when it runs: this bounds from below.
                if error.code == "too_large":
                    raise
        return total

    def _one(self, statement: Statement, scope: Scope, depth: int) -> int:
        if isinstance(statement, Apply):
            return self._apply(statement, scope, depth)
        if isinstance(statement, Measure):
            return len(resolve(statement.source, scope).indices)
        if isinstance(statement, Call):
            return self._apply(statement.call, scope, depth)
        if isinstance(statement, Return):
            measured = statement.measured
            return 0 if measured is None else len(resolve(measured, scope).indices)
        if isinstance(statement, Declare):
            return self._declare(statement, scope, depth)
        if isinstance(statement, Alias):
            parts = [resolve(part, scope) for part in statement.parts]
            indices = tuple([i for part in parts for i in part.indices])
            several = len(parts) > 1 or parts[0].whole
            scope.rebind(statement.name, Wires(parts[0].quantum, indices, several))
            return 0
        if isinstance(statement, Simple) and statement.kind == "reset":
            return sum(len(resolve(x, scope).indices) for x in statement.operands)
        if isinstance(statement, For):
            values = sequence(statement.values, scope)
            inner = Scope(scope)
            inner.rebind(statement.name, UNKNOWN)
            return len(values) * max(1, self.count(statement.body, inner, depth))
        if isinstance(statement, If):
            branches = (statement.then, statement.otherwise)
            try:
                chosen = branches[0] if value(statement.condition, scope) else branches[1]
            except NotConstant:
                return min(self.count(x, Scope(scope), depth) for x in branches)
            return self.count(chosen, Scope(scope), depth)
        return 1

    def _declare(self, statement: Declare, scope: Scope, depth: int) -> int:
        if scope.outer is not None:  # the interpreter declares what is outside of blocks
            size = 1 if statement.size is None else whole(statement.size, scope)
            wires = Wires(False, range(size), statement.size is not None)
            scope.rebind(statement.name, wires)
        if isinstance(statement.given, Operand):
            return len(resolve(statement.given, scope).indices)
        return 0 if statement.given is None else self._apply(statement.given, scope, depth)

    def _apply(self, statement: Apply, scope: Scope, depth: int) -> int:
        found = scope.find(statement.name)
        if isinstance(found, Subroutine):
            return self._call(found, statement, scope, depth)
        count, _, _ = self._definitions.applied(statement, scope)
        broadcast = 1
        for operand in statement.operands:
            if type(operand.select) is int:
                continue
            try:
                wires = resolve(operand, scope)
            except NotConstant:
                continue
            if wires.whole:
                broadcast = max(broadcast, len(wires.indices))
        return count * broadcast

    def _call(self, callee: Subroutine, statement: Apply, scope: Scope, depth: int) -> int:
        inner = Scope(_outermost(scope), closed=True)
        key: list[object] = []
        for formal, actual in zip(callee.arguments, statement.arguments, strict=False):
            if formal.kind == "qubit":
                size = 1 if formal.size is None else whole(formal.size, scope)
                inner.rebind(formal.name, Wires(True, range(size), formal.size is not None))
                continue
            try:
                number = value(actual, scope)
                inner.rebind(formal.name, Variable(formal.kind, number, constant=True))
                key.append(number)
            except NotConstant:
                inner.rebind(formal.name, UNKNOWN)
                key.append(None)
        memo = (callee.name, tuple(key))
        if memo not in self._memo:
            if len(self._memo) >= _MOST_CALLS:
                raise CircuitError("too_large", "too many different calls of subroutines")
            self._memo[memo] = self.count(callee.body, inner, depth + 1)
        return self._memo[memo]


def _outermost(scope: Scope) -> Scope:
    while scope.outer is not None:
        scope = scope.outer
    return scope
