"""A second opinion: another parser reads what we emit, and must find the same program (C5).

Asked before a dialect's text is first sent to hardware. The other parser is qiskit for OpenQASM 2
(``include_path=()``, so that it opens no file) and for QPY, and the reference parser of OpenQASM 3
for the two dialects of that language. For IonQ's JSON, pytket's, Google's and Quil there is no
other parser here: a reader of ours, which shares the table of gates with the writer and nothing
else, reads them. All of it happens in a guarded worker: a parser is not trusted with our own text
either.
"""

from __future__ import annotations

import asyncio

from cryogate.circuits.emission import emit
from cryogate.circuits.errors import CircuitError, WorkerFailed
from cryogate.circuits.model import Dialect
from cryogate.circuits.pool import GuardedPool
from cryogate.circuits.program import Program

_IN_PLACE = 1 << 16
SECOND_OPINION_ENTRYPOINT = "cryogate.circuits.second_opinion_worker:entrypoint"


async def second_opinion(program: Program, dialect: Dialect, pool: GuardedPool) -> bytes:
    """The text of ``program`` in ``dialect``, read back by another parser and found equal.

    ``pool`` runs `SECOND_OPINION_ENTRYPOINT`. The reference parser of OpenQASM 3 takes about 0.2 ms
    for each gate, so the pool's time limit bounds what can be confirmed in that language.

    Nothing may be sent unless this returns. Raises `CircuitError`: ``unsupported`` when the dialect
    cannot say the program, ``disagreement`` when the other parser finds another program,
    ``unconfirmed`` when it gives no answer; and `WorkerFailed` when there is no worker to ask.
    """
    if dialect is Dialect.QISKIT:
        text, sent = b"", program.text
    else:
        # A large text would hold the event loop while it is written.
        large = len(program.text) > _IN_PLACE
        text = await asyncio.to_thread(emit, program, dialect) if large else emit(program, dialect)
        sent = text
    try:
        reply = await pool.call(dialect.value.encode("ascii") + b"\n" + sent)
    except WorkerFailed as error:
        if error.reason in ("start", "closed"):
            raise
        hint = "the other parser found no answer within its limits"
        raise CircuitError(
            "unconfirmed", f"no second opinion ({error.reason})", hint=hint
        ) from None
    fingerprint, _, body = reply.partition(b"\n")
    if fingerprint.decode("ascii", "replace") != program.fingerprint:
        raise CircuitError("disagreement", "another parser reads another program")
    return text or body
