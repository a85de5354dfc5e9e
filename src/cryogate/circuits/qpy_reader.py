"""QPY, Qiskit's binary format, read only inside guarded workers.

Versions below 13 can execute code while they are read (CVE-2025-2000); the version and the number
of circuits are checked in the header, before qiskit sees a byte.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping

from cryogate.circuits.errors import CircuitError
from cryogate.circuits.model import ParseLimits
from cryogate.circuits.program import Program

QPY_MINIMUM = 13
_HEADER = struct.Struct(">6sBBBBQ")


def check_header(source: bytes) -> None:
    """Refuse what is not one circuit in QPY 13 or later. Raises `CircuitError`."""
    if len(source) < _HEADER.size:
        raise CircuitError("syntax", "the source is not QPY")
    magic, version, _, _, _, circuits = _HEADER.unpack_from(source)
    if magic != b"QISKIT":
        raise CircuitError("syntax", "the source is not QPY")
    if version < QPY_MINIMUM:
        raise CircuitError(
            "forbidden", f"QPY version {version}", hint=f"write version {QPY_MINIMUM} or later"
        )
    if circuits != 1:
        raise CircuitError("unsupported", "a QPY source must hold exactly one circuit")


def read_qpy(source: bytes, limits: ParseLimits, parameters: Mapping[str, float]) -> Program:
    """The program of the one circuit in ``source``. Raises `CircuitError`."""
    check_header(source)
    from qiskit import QuantumCircuit, qpy

    from cryogate.circuits.qiskit_reader import from_qiskit

    try:
        (circuit,) = qpy.load(io.BytesIO(source))
    except MemoryError:
        raise
    except Exception:  # a damaged file may raise anything
        raise CircuitError("syntax", "the QPY source is damaged") from None
    if not isinstance(circuit, QuantumCircuit):
        raise CircuitError("unsupported", "the QPY source holds no circuit")
    return from_qiskit(circuit, limits, parameters)
