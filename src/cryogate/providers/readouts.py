"""What comes back from every vendor: counts over the program's classical bits."""

from __future__ import annotations

from collections.abc import Sequence

from cryogate.circuits import Program
from cryogate.ports.provider import ProviderError, RawResult


def needed(program: Program | None) -> Program:
    """The program, where `Provider.reads_program` promised it.

    Raises:
        ProviderError: it was not given.
    """
    if program is None:
        raise ProviderError("the program is needed to read a result", sent=True, retryable=False)
    return program


def reported(program: Program) -> list[int | None]:
    """Which qubit each classical bit reports at the end, highest bit first."""
    found: list[int | None] = [None] * program.clbits
    for op in program.operations():
        if op.name == "measure":
            found[op.clbits[0]] = op.qubits[0]
    return found[::-1]


def joined(registers: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """One text a shot out of one a register: the last register holds the highest bits."""
    return tuple("".join(reversed(row)) for row in zip(*registers, strict=True))


def of_memory(memory: Sequence[str]) -> RawResult:
    """Counts of what each shot gave."""
    counts: dict[str, int] = {}
    for text in memory:
        counts[text] = counts.get(text, 0) + 1
    return RawResult(counts, len(memory), tuple(memory))


def of_states(counts: dict[int, int], shots: int, program: Program) -> RawResult:
    """Counts of states of all qubits, brought over the bits that report them."""
    bits = reported(program)
    found: dict[str, int] = {}
    for state, count in counts.items():
        text = "".join("1" if q is not None and state >> q & 1 else "0" for q in bits)
        found[text] = found.get(text, 0) + count
    return RawResult(found, shots, metadata={"counts": "from probabilities"})
