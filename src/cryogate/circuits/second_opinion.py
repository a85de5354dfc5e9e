"""A second opinion: another parser reads what we emit, and must find the same program (C5).

Asked before a dialect's text is first sent to hardware. The other parser is qiskit for OpenQASM 2
(``include_path=()``, so that it opens no file) and for QPY, and the reference parser of OpenQASM 3
for the two dialects of that language. For IonQ's JSON there is no other parser; ours reads it in
the worker. All of it happens in a guarded worker: a parser is not trusted with our own text either.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from cryogate.circuits.emission import emit
from cryogate.circuits.errors import CircuitError, WorkerFailed
from cryogate.circuits.model import STORED, Dialect
from cryogate.circuits.pool import GuardedPool
from cryogate.circuits.program import Program

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

SECOND_OPINION_ENTRYPOINT = "cryogate.circuits.second_opinion:entrypoint"


async def second_opinion(program: Program, dialect: Dialect, pool: GuardedPool) -> bytes:
    """The text of ``program`` in ``dialect``, read back by another parser and found equal.

    ``pool`` runs `SECOND_OPINION_ENTRYPOINT`. Raises `CircuitError` (``disagreement``) when the
    other parser finds another program or gives no answer: nothing is sent then.
    """
    text = b"" if dialect is Dialect.QISKIT else emit(program, dialect)
    sent = program.text if dialect is Dialect.QISKIT else text
    try:
        reply = await pool.call(dialect.value.encode("ascii") + b"\n" + sent)
    except WorkerFailed as error:
        raise _disagreement(f"no second opinion ({error.reason})") from None
    fingerprint, _, body = reply.partition(b"\n")
    if fingerprint.decode("ascii", "replace") != program.fingerprint:
        raise _disagreement("another parser reads another program")
    return text or body


def _disagreement(detail: str) -> CircuitError:
    return CircuitError("disagreement", detail)


def entrypoint(payload: bytes) -> bytes:
    """In the worker: the fingerprint another parser finds, a line feed, and QPY if asked for."""
    head, _, text = payload.partition(b"\n")
    dialect = Dialect(head.decode("ascii"))
    body = b""
    if dialect is Dialect.QISKIT:
        body = emit(Program.from_bytes(text), dialect)
        text = body
    return reread(text, dialect).fingerprint.encode("ascii") + b"\n" + body


def reread(text: bytes, dialect: Dialect) -> Program:
    """What another parser makes of ``text``. Only inside a worker."""
    if dialect is Dialect.IONQ_JSON:
        from cryogate.circuits.ionq import parse_ionq

        return parse_ionq(text, STORED)
    if dialect in (Dialect.OPENQASM3, Dialect.BRAKET):
        from cryogate.circuits.reference_reader import read_openqasm3

        return read_openqasm3(text, STORED)
    from cryogate.circuits.qiskit_reader import from_qiskit

    if dialect is Dialect.QISKIT:
        from qiskit import qpy

        (circuit,) = qpy.load(io.BytesIO(text))
        return from_qiskit(circuit, STORED)
    return from_qiskit(_qiskit_openqasm2(text), STORED)


def _qiskit_openqasm2(text: bytes) -> QuantumCircuit:
    from qiskit import qasm2

    from cryogate.circuits.definitions import OPENQASM2_DEFINITIONS
    from cryogate.circuits.gates import CANONICAL
    from cryogate.circuits.qiskit_bridge import GATES

    known = list(qasm2.LEGACY_CUSTOM_INSTRUCTIONS)
    for name in OPENQASM2_DEFINITIONS:
        gate = CANONICAL[name]
        known.append(qasm2.CustomInstruction(name, gate.params, gate.qubits, GATES[name]))
    return qasm2.loads(text.decode("ascii"), include_path=(), custom_instructions=known)
