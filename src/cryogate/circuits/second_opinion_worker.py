"""The worker's side of a second opinion.

A parser is imported when a dialect first needs it: qiskit takes more than a second and most of the
memory, and a restarted server must not wait for it to look at IonQ's JSON. The limits were set
before any of this was imported.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from cryogate.circuits.cirq import parse_cirq
from cryogate.circuits.definitions import OPENQASM2_DEFINITIONS
from cryogate.circuits.emission import emit
from cryogate.circuits.gates import CANONICAL
from cryogate.circuits.ionq import parse_ionq
from cryogate.circuits.model import STORED, Dialect
from cryogate.circuits.program import Program
from cryogate.circuits.pytket import parse_pytket
from cryogate.circuits.quil import parse_quil

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

#: Dialects without another parser that could be installed here; tests hold them against the
#: vendors' own packages.
_OURS = {
    Dialect.IONQ_JSON: parse_ionq,
    Dialect.PYTKET: parse_pytket,
    Dialect.QUIL: parse_quil,
    Dialect.CIRQ: parse_cirq,
}


def entrypoint(payload: bytes) -> bytes:
    """The fingerprint another parser finds, a line feed, and QPY if asked for."""
    head, _, text = payload.partition(b"\n")
    dialect = Dialect(head.decode("ascii"))
    body = b""
    if dialect is Dialect.QISKIT:
        body = emit(Program.from_bytes(text), dialect)
        text = body
    return reread(text, dialect).fingerprint.encode("ascii") + b"\n" + body


def reread(text: bytes, dialect: Dialect) -> Program:
    """What another parser makes of ``text``. Raises whatever that parser raises."""
    ours = _OURS.get(dialect)
    if ours is not None:
        return ours(text, STORED)
    if dialect in (Dialect.OPENQASM3, Dialect.BRAKET):
        from cryogate.circuits.reference_reader import read_openqasm3

        return read_openqasm3(text, STORED)
    from cryogate.circuits.qiskit_reader import from_qiskit

    if dialect is Dialect.QISKIT:
        from qiskit import qpy

        (circuit,) = qpy.load(io.BytesIO(text))
        return from_qiskit(circuit, STORED)
    return from_qiskit(_openqasm2(text), STORED)


def _openqasm2(text: bytes) -> QuantumCircuit:
    from qiskit import qasm2

    from cryogate.circuits.qiskit_bridge import GATES

    known = list(qasm2.LEGACY_CUSTOM_INSTRUCTIONS)
    for name in OPENQASM2_DEFINITIONS:
        gate = CANONICAL[name]
        known.append(qasm2.CustomInstruction(name, gate.params, gate.qubits, GATES[name]))
    return qasm2.loads(text.decode("ascii"), include_path=(), custom_instructions=known)
