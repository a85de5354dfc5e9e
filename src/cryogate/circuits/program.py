"""The program: one immutable value whose text is the Foata normal form of a circuit.

The text is OpenQASM 2 with flat qubit indices ``q[i]`` and classical registers ``c0, c1, ...`` in
their order of declaration. What may never change, since fingerprints and approvals are made of it:

1. gates have their canonical names and angles are ``repr(float)``, never reduced modulo 2 pi;
2. the level of an operation is one more than the highest level on its wires, where a condition's
   bits are wires too; operations are sorted by (level, lowest wire);
3. a condition is written as in ``conditions.py``, one ``if`` for each test;
4. the header says how many qubits there are and the size of every classical register.

Two circuits that differ only in the order of independent operations have the same text; that is
the Cartier-Foata theorem on traces. `Program.fingerprint` is SHA-256 of the text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from cryogate.circuits.model import Facts

HEADER = 'OPENQASM 2.0;\ninclude "qelib1.inc";\n'


class Condition(NamedTuple):
    """Run only if classical bits ``bits``, ascending, read ``value``, the first bit its lowest."""

    bits: tuple[int, ...]
    value: int


class Operation(NamedTuple):
    """One operation of a program; qubits and clbits are flat indices."""

    name: str
    params: tuple[float, ...]
    qubits: tuple[int, ...]
    clbits: tuple[int, ...]
    condition: Condition | None


class Program:
    """An immutable circuit in canonical form. Equal programs have equal text."""

    __slots__ = ("_facts", "_fingerprint", "_registers", "_text")

    def __init__(self, text: bytes, facts: Facts, registers: tuple[int, ...]) -> None:
        """Not for callers: only the builder knows that ``text`` is canonical."""
        self._text = text
        self._facts = facts
        self._registers = registers
        self._fingerprint: str | None = None

    @property
    def qubits(self) -> int:
        """Number of declared qubits."""
        return self._facts.qubits

    @property
    def clbits(self) -> int:
        """Number of declared classical bits, over all registers."""
        return self._facts.clbits

    @property
    def registers(self) -> tuple[int, ...]:
        """Sizes of the classical registers, in order of declaration."""
        return self._registers

    @property
    def text(self) -> bytes:
        """The canonical text."""
        return self._text

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the canonical text, lower-case hex."""
        if self._fingerprint is None:
            self._fingerprint = hashlib.sha256(self._text).hexdigest()
        return self._fingerprint

    @property
    def facts(self) -> Facts:
        """Exact counts, depths and features."""
        return self._facts

    def operations(self) -> Iterator[Operation]:
        """The operations in canonical order."""
        starts = [0]
        for size in self._registers:
            starts.append(starts[-1] + size)
        lines = iter(self._text.decode("ascii").splitlines())
        for _ in range(HEADER.count("\n") + 1 + len(self._registers)):
            next(lines)
        for line in lines:
            yield _operation(line, starts)

    def to_bytes(self) -> bytes:
        """The canonical text, for storage; `from_bytes` reads it back."""
        return self._text

    @staticmethod
    def from_bytes(data: bytes) -> Program:
        """Read a stored program. Raises `CircuitError` (``not_canonical`` among others)."""
        from cryogate.circuits.flat import parse_canonical

        return parse_canonical(data)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Program) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return f"Program({self.fingerprint[:12]}, qubits={self.qubits}, gates={self.facts.gates})"


def _operation(line: str, starts: list[int]) -> Operation:
    condition = None
    while line.startswith("if("):
        test, _, line = line[3:].partition(") ")
        text, _, value = test.partition("==")
        bits, number = _bits(text, starts), int(value)
        if condition is not None:
            # Canonical text has its tests in the order of their bits.
            number = condition.value | number << len(condition.bits)
            bits = condition.bits + bits
        condition = Condition(bits, number)
    head, _, tail = line[:-1].partition(" ")
    clbits: tuple[int, ...] = ()
    if head == "measure":
        tail, _, target = tail.partition(" -> ")
        clbits = _bits(target, starts)
    name, _, angles = head.partition("(")
    params = tuple(float(x) for x in angles[:-1].split(",")) if angles else ()
    qubits = tuple(int(x[2:-1]) for x in tail.split(","))
    return Operation(name, params, qubits, clbits, condition)


def _bits(text: str, starts: list[int]) -> tuple[int, ...]:
    register, bracket, index = text[1:].partition("[")
    start = starts[int(register)]
    if bracket:
        return (start + int(index[:-1]),)
    return tuple(range(start, starts[int(register) + 1]))
