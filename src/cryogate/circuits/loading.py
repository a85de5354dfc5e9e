"""The way in: the flat parser first, the guarded worker for what only it may parse."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from cryogate.circuits.angles import finite
from cryogate.circuits.errors import CircuitError, NeedsRichParser, WorkerFailed
from cryogate.circuits.flat import parse_canonical, parse_flat
from cryogate.circuits.ionq import parse_ionq
from cryogate.circuits.model import Format, ParseLimits
from cryogate.circuits.pool import GuardedPool
from cryogate.circuits.program import Program
from cryogate.circuits.qpy_reader import check_header
from cryogate.circuits.refusals import read_refusal

RICH_ENTRYPOINT = "cryogate.circuits.rich:entrypoint"
#: The same, for pools that also read QPY: its workers import qiskit when they start.
QPY_ENTRYPOINT = "cryogate.circuits.qpy_worker:entrypoint"
_IN_PLACE = 1 << 16
_OPERATIONS_IN_PLACE = 10_000
_MAX_PARAMETERS = 1000


async def load(
    source: bytes,
    format: Format,  # noqa: A002
    limits: ParseLimits | None = None,
    pool: GuardedPool | None = None,
    *,
    parameters: Mapping[str, float] | None = None,
) -> Program:
    """The program of ``source``. Raises `CircuitError`, nothing else but cancellation.

    ``pool`` runs `RICH_ENTRYPOINT` or `QPY_ENTRYPOINT`; without one, rich input is refused
    (``needs_rich_parser``).
    ``parameters`` binds OpenQASM 3 ``input`` declarations, each exactly once.

    The worker's answer is canonical text, and as hostile as what it parsed: it is parsed here
    again and must be canonical, so a subverted worker can say no more than its input could.
    """
    limits = limits or ParseLimits()
    if len(source) > limits.max_bytes:
        raise CircuitError("too_large", f"the source is over {limits.max_bytes} bytes")
    if format is Format.QPY:
        check_header(source)
    if format is not Format.QPY and not parameters:
        try:
            return await _parse(source, format, limits)
        except NeedsRichParser as error:
            if pool is None:
                raise
            reason = error
    elif pool is None:
        raise NeedsRichParser("this format" if format is Format.QPY else "bound parameters")
    else:
        reason = NeedsRichParser("")
    request = _request(source, format, limits, parameters or {})
    try:
        reply = await pool.call(request)
    except WorkerFailed as error:
        raise _refusal(error, reason) from None
    return await _answer(reply, limits)


async def _parse(source: bytes, format: Format, limits: ParseLimits) -> Program:  # noqa: A002
    if len(source) <= _IN_PLACE:
        try:
            return _parsed(source, format, _bounded(limits))
        except CircuitError as error:
            if error.code != "too_large" or limits.max_operations <= _OPERATIONS_IN_PLACE:
                raise
    # What is large, or becomes large, would hold the event loop, so it goes to a thread, where
    # other requests need not wait for it.
    return await asyncio.to_thread(_parsed, source, format, limits)


def _parsed(source: bytes, format: Format, limits: ParseLimits) -> Program:  # noqa: A002
    if format is Format.IONQ_JSON:
        return parse_ionq(source, limits)
    return parse_flat(source, format, limits)


@lru_cache(maxsize=8)
def _bounded(limits: ParseLimits) -> ParseLimits:
    """A few hundred bytes of broadcasts can stand for a million gates."""
    return replace(limits, max_operations=min(limits.max_operations, _OPERATIONS_IN_PLACE))


def _request(
    source: bytes,
    format: Format,  # noqa: A002
    limits: ParseLimits,
    parameters: Mapping[str, float],
) -> bytes:
    if len(parameters) > _MAX_PARAMETERS:
        raise CircuitError("too_large", f"more than {_MAX_PARAMETERS} parameters")
    head = {
        "format": format.value,
        "max_bytes": limits.max_bytes,
        "max_qubits": limits.max_qubits,
        "max_clbits": limits.max_clbits,
        "max_operations": limits.max_operations,
        "parameters": {str(k): finite(v) for k, v in parameters.items()},
    }
    return json.dumps(head).encode("ascii") + b"\n" + source


def _refusal(error: WorkerFailed, reason: CircuitError) -> CircuitError:
    if error.reason in ("timeout", "memory", "crash"):
        return CircuitError(
            "too_large",
            f"parsing did not finish within its limits ({error.reason})",
            line=reason.line,
            hint="use fewer definitions, shorter loops, or a flat circuit",
        )
    return CircuitError("unsupported", f"the guarded parser failed ({error.reason})")


async def _answer(reply: bytes, limits: ParseLimits) -> Program:
    status, body = reply[:1], reply[1:]
    if status == b"e":
        raise read_refusal(body)
    if status != b"p":
        raise CircuitError("unsupported", "the guarded parser gave no answer")
    if len(body) > _IN_PLACE:
        program = await asyncio.to_thread(parse_canonical, body)
    else:
        program = parse_canonical(body)
    facts = program.facts
    if facts.qubits > limits.max_qubits or facts.clbits > limits.max_clbits:
        raise CircuitError("too_large", f"more than {limits.max_qubits} qubits")
    if facts.gates + facts.measurements + facts.resets > limits.max_operations:
        raise CircuitError("too_large", f"more than {limits.max_operations} operations")
    return program
