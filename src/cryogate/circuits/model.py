"""Values of this package: formats, limits, facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Format(StrEnum):
    """What a submitted circuit is written in."""

    OPENQASM2 = "openqasm2"
    OPENQASM3 = "openqasm3"
    IONQ_JSON = "ionq.circuit.v1"
    QPY = "qpy"


class Dialect(StrEnum):
    """What a program can be written out as. ``QISKIT`` (QPY bytes) only inside a worker."""

    OPENQASM2 = "openqasm2"
    OPENQASM3 = "openqasm3"
    BRAKET = "braket"
    IONQ_JSON = "ionq.circuit.v1"
    PYTKET = "pytket"
    QUIL = "quil"
    CIRQ = "cirq.google.api.v2"
    QISKIT = "qiskit"


@dataclass(frozen=True, slots=True)
class ParseLimits:
    """Bounds checked while parsing, before anything of that size is built.

    ``max_operations`` counts every operation after broadcast and expansion; ``max_statement``
    is the length of one statement in characters.
    """

    max_bytes: int = 1 << 20
    max_qubits: int = 1024
    max_clbits: int = 4096
    max_operations: int = 1_000_000
    max_statement: int = 1 << 16


#: For programs that were accepted before: what is stored must stay readable.
STORED = ParseLimits(
    max_bytes=1 << 30, max_qubits=1 << 16, max_clbits=1 << 18, max_operations=1 << 24
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a program uses, exactly.

    ``depth`` counts gates, measurements and resets on the longest chain; a barrier orders but
    adds nothing. ``two_qubit_depth`` counts only gates on two or more qubits along that chain.
    Feature ``parameters`` means that some gate carries an angle.
    """

    qubits: int
    used_qubits: int
    clbits: int
    gate_counts: Mapping[str, int]
    gate_set: tuple[str, ...]
    gates: int
    one_qubit_gates: int
    two_qubit_gates: int
    multi_qubit_gates: int
    measurements: int
    resets: int
    depth: int
    two_qubit_depth: int
    features: tuple[str, ...]
