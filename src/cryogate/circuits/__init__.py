"""Circuits: hostile source in, one canonical program with facts and a fingerprint out."""

from cryogate.circuits.emission import emit
from cryogate.circuits.errors import CircuitError, NeedsRichParser, WorkerFailed
from cryogate.circuits.flat import parse_flat
from cryogate.circuits.ionq import parse_ionq
from cryogate.circuits.loading import RICH_ENTRYPOINT, load
from cryogate.circuits.model import Dialect, Facts, Format, ParseLimits
from cryogate.circuits.pool import GuardedPool, WorkerLimits
from cryogate.circuits.program import Condition, Operation, Program
from cryogate.circuits.similarity import similarity

__all__ = [
    "RICH_ENTRYPOINT",
    "CircuitError",
    "Condition",
    "Dialect",
    "Facts",
    "Format",
    "GuardedPool",
    "NeedsRichParser",
    "Operation",
    "ParseLimits",
    "Program",
    "WorkerFailed",
    "WorkerLimits",
    "emit",
    "load",
    "parse_flat",
    "parse_ionq",
    "similarity",
]
