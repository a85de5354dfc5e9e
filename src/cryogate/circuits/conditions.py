"""Conditions: what a set of classical bits must read, in one canonical spelling.

A condition is a conjunction. It is written register by register in their order: a register whose
bits are all tested as ``c0==5``, else each tested bit as ``c0[1]==1``, lowest first. So equal
conditions have equal text, whatever tests they were nested from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cryogate.circuits.errors import CircuitError
from cryogate.circuits.program import Condition


class Test(NamedTuple):
    """One test: all bits of a register if ``bit`` is None."""

    register: int
    bit: int | None
    value: int


def condition_of(wanted: Iterable[tuple[int, int]]) -> Condition:
    """The condition that each bit reads its value. Raises `CircuitError` if it cannot hold."""
    values: dict[int, int] = {}
    for bit, value in wanted:
        if values.setdefault(bit, value) != value:
            # Dropping what can never run would be one more thing to agree on.
            raise CircuitError("unsupported", "a condition that can never hold")
    bits = tuple(sorted(values))
    return Condition(bits, sum(values[bit] << place for place, bit in enumerate(bits)))


def equals(bits: Sequence[int], value: int) -> Condition:
    """The condition that ``bits``, the first least significant, read ``value``."""
    if not 0 <= value < 1 << len(bits):
        raise CircuitError("unsupported", "a condition compares bits with a value out of range")
    return condition_of((bit, value >> place & 1) for place, bit in enumerate(bits))


def both(outer: Condition | None, inner: Condition) -> Condition:
    """The conjunction. Raises `CircuitError` if it cannot hold."""
    return inner if outer is None else condition_of((*wanted(outer), *wanted(inner)))


def wanted(condition: Condition) -> list[tuple[int, int]]:
    """Each bit of a condition and what it must read."""
    return [(bit, condition.value >> place & 1) for place, bit in enumerate(condition.bits)]


def tests(condition: Condition, registers: Sequence[int]) -> list[Test]:
    """The canonical tests of a condition; ``registers`` are the sizes of all registers."""
    values = dict(wanted(condition))
    found: list[Test] = []
    start = 0
    for register, size in enumerate(registers):
        here = [bit for bit in condition.bits if start <= bit < start + size]
        if len(here) == size:
            whole = sum(values[start + place] << place for place in range(size))
            found.append(Test(register, None, whole))
        else:
            found += [Test(register, bit - start, values[bit]) for bit in here]
        start += size
    return found


def prefix(condition: Condition, registers: Sequence[int]) -> str:
    """A condition as it stands before its operation, in OpenQASM 2 with bits, and in 3."""
    return "".join(
        f"if(c{register}=={value}) " if bit is None else f"if(c{register}[{bit}]=={value}) "
        for register, bit, value in tests(condition, registers)
    )
