"""Circuits that a vendor sends back: read as an agent's are, believed only if they are ours (S3).

Vendors echo what they were sent, or say what they ran. That is their word and not ours: it goes
through the same parsers and limits as any hostile source, and is worth something only when its
fingerprint is the one in the audit log.
"""

from __future__ import annotations

from cryogate.circuits.errors import CircuitError
from cryogate.circuits.loading import load
from cryogate.circuits.model import Format, ParseLimits
from cryogate.circuits.pool import GuardedPool
from cryogate.circuits.program import Program

#: More than any text we emit needs, whatever the vendor sends.
_LIMITS = ParseLimits(max_bytes=1 << 26)


async def check_returned(
    source: bytes,
    format: Format,  # noqa: A002
    program: Program,
    pool: GuardedPool | None = None,
) -> None:
    """Return if the vendor's ``source`` is ``program``. Raises `CircuitError` for all else.

    ``disagreement`` when it is another circuit; what cannot be read is refused as from an agent.
    """
    found = await load(source, format, _LIMITS, pool)
    if found.fingerprint != program.fingerprint:
        raise CircuitError("disagreement", "the vendor speaks of another circuit")
