"""Circuits: hostile source in, one canonical program with facts and a fingerprint out."""

from cryogate.circuits.batch import Batch, Execution, batch_of, load_sweep
from cryogate.circuits.cirq import parse_cirq
from cryogate.circuits.drawing import drawing, svg
from cryogate.circuits.emission import emit, inexpressible
from cryogate.circuits.errors import CircuitError, NeedsRichParser, WorkerFailed
from cryogate.circuits.flat import parse_flat
from cryogate.circuits.inspection import inspection
from cryogate.circuits.ionq import parse_ionq, parse_ionq_batch
from cryogate.circuits.loading import QPY_ENTRYPOINT, RICH_ENTRYPOINT, load
from cryogate.circuits.model import Dialect, Facts, Format, ParseLimits
from cryogate.circuits.pool import GuardedPool, WorkerLimits
from cryogate.circuits.program import Condition, Operation, Program
from cryogate.circuits.pytket import parse_pytket, same_circuit
from cryogate.circuits.returned import check_returned
from cryogate.circuits.second_opinion import SECOND_OPINION_ENTRYPOINT, second_opinion
from cryogate.circuits.similarity import similarity

__all__ = [
    "QPY_ENTRYPOINT",
    "RICH_ENTRYPOINT",
    "SECOND_OPINION_ENTRYPOINT",
    "Batch",
    "CircuitError",
    "Condition",
    "Dialect",
    "Execution",
    "Facts",
    "Format",
    "GuardedPool",
    "NeedsRichParser",
    "Operation",
    "ParseLimits",
    "Program",
    "WorkerFailed",
    "WorkerLimits",
    "batch_of",
    "check_returned",
    "drawing",
    "emit",
    "inexpressible",
    "inspection",
    "load",
    "load_sweep",
    "parse_cirq",
    "parse_flat",
    "parse_ionq",
    "parse_ionq_batch",
    "parse_pytket",
    "same_circuit",
    "second_opinion",
    "similarity",
    "svg",
]
