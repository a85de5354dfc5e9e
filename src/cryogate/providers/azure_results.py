"""Results of Azure Quantum, in each vendor's own form, over the program's classical bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from cryogate.circuits import Program
from cryogate.ports.provider import RawResult, VendorLied
from cryogate.providers.azure_targets import IONQ, QUANTINUUM, RIGETTI, Notation
from cryogate.providers.http import Answer
from cryogate.providers.probabilities import counts_of
from cryogate.providers.readouts import joined, of_memory, of_states


def read_result(notation: Notation, answer: Answer, shots: str, program: Program) -> RawResult:
    """What ``answer`` says; ``shots`` is how many the job says that it ran, as it says it.

    Raises:
        VendorLied: it cannot be a result of the program.
    """
    return _READERS[notation.output_format](answer, shots, program)


class _Histogram(msgspec.Struct):
    histogram: dict[str, float]


def _histogram(answer: Answer, told: str, program: Program) -> RawResult:
    if not (told.isascii() and told.isdigit() and len(told) < 10):
        raise VendorLied("it does not say how many shots it ran")
    shots = int(told)
    counts = counts_of(answer.read(_Histogram).histogram, shots, program.qubits)
    return of_states(counts, shots, program)


def _registers(answer: Answer, told: str, program: Program) -> RawResult:
    said = answer.read(dict[str, tuple[str, ...]])
    names = [f"c{number}" for number in range(len(program.registers))]
    if not set(names) <= said.keys() or len({len(said[name]) for name in names}) != 1:
        raise VendorLied("its result lacks a register of the program")
    return of_memory(joined([said[name] for name in names]))


class _Readout(msgspec.Struct):
    ro: tuple[tuple[int, ...], ...]


def _readout(answer: Answer, told: str, program: Program) -> RawResult:
    memory = []
    for row in answer.read(_Readout).ro:
        if len(row) != program.clbits or not {0, 1}.issuperset(row):
            raise VendorLied("its result has a row that is none")
        memory.append("".join(map(str, reversed(row))))
    return of_memory(memory)


_READERS: Final[Mapping[str, Callable[[Answer, str, Program], RawResult]]] = MappingProxyType(
    {
        IONQ.output_format: _histogram,
        QUANTINUUM.output_format: _registers,
        RIGETTI.output_format: _readout,
    }
)
