"""Programs that a vendor echoes, held against what it was sent (S3)."""

from __future__ import annotations

import asyncio

from cryogate.circuits import CircuitError, Dialect, Format, Program, check_returned, emit
from cryogate.ports.provider import VendorLied


async def check_echo(
    source: bytes,
    notation: Format,
    program: Program,
    dialect: Dialect,
) -> None:
    """Return if ``source`` is ``program``: our very bytes, or the same circuit in other words.

    Raises:
        VendorLied: another circuit, or none that can be read.
    """
    try:
        if source == await asyncio.to_thread(emit, program, dialect):
            return
        await check_returned(source, notation, program)
    except CircuitError as error:
        raise VendorLied("it ran another circuit") from error
