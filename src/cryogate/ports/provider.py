"""A vendor, or a simulator, seen as ten verbs.

A program reaches a provider only as our own `Program`; the adapter emits it. The job id is the
idempotency key or tag, so `find` can answer "did you get this?" after a crash.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import msgspec

from cryogate.circuits import Dialect, Program
from cryogate.domain.errors import CryogateError
from cryogate.domain.money import Money
from cryogate.ports.credentials import Lease


class ProviderError(CryogateError):
    """The provider did not do as asked. ``sent`` tells whether it may have accepted the job.

    ``detail`` is ours and safe to show; the vendor's own words stay in the log.
    """

    def __init__(self, detail: str, *, sent: bool, retryable: bool, status: int = 0) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.sent = sent
        self.retryable = retryable


class VendorLied(ProviderError):
    """The vendor's answer cannot be true: another job, another circuit, impossible numbers.

    It may be a passing confusion, so it is asked again a few times; then the job fails.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail, sent=True, retryable=True)


class Control(StrEnum):
    """What a vendor enforces or offers on our behalf, and the adapter sets on every job."""

    IDEMPOTENCY = "idempotency"  # a repeated submission is recognized by the vendor
    TAGS = "tags"  # experiment and cost center are on the vendor's bill or job
    MAX_COST = "max_cost"  # the vendor stops at a price
    MAX_TIME = "max_time"  # the vendor stops after a time
    DRY_RUN = "dry_run"  # the vendor checks a job without running it
    ESTIMATE = "estimate"  # the vendor says what a job would cost
    SCOPED_LEASE = "scoped_lease"  # a lease can do nothing but what it is for


@dataclass(frozen=True, slots=True)
class VendorLimit:
    """A bound that the vendor enforces: of each job, or of everything under a device or account.

    ``most`` and ``used`` are in ``unit``: ``seconds``, or a currency's code for its cents. No
    ``most``: what was reserved for the job. ``by_gateway``: we set it, on every job; otherwise it
    is an operator's, and we can only look at it.
    """

    control: Control
    per: str
    unit: str
    most: int | None = None
    used: int | None = None
    until_ms: int | None = None
    by_gateway: bool = False

    @property
    def left(self) -> int | None:
        """What may still be used, as far as is known."""
        if self.most is None or self.used is None:
            return None
        return max(0, self.most - self.used)


@dataclass(frozen=True, slots=True)
class Noise:
    """What a noisy simulator gets wrong, by its profile's name: chances for each step.

    ``seeded``: the same program with the same shots gives the same counts.
    """

    profile: str
    one_qubit_error: float
    two_qubit_error: float
    readout_error: float
    reset_error: float
    seeded: bool = False


@dataclass(frozen=True, slots=True)
class Backend:
    """A device and its limits. What is not declared here is not allowed there.

    ``dialect`` is what its adapter sends programs in. None is for simulators whose worker reads
    the canonical text itself: hardware without a dialect cannot be declared.
    """

    name: str
    scheme: str
    simulator: bool
    qubits: int
    max_shots: int
    gate_set: frozenset[str]
    features: frozenset[str]
    status: str = "online"
    calibrated_ms: int | None = None  # when the vendor last calibrated it; None: not known
    dialect: Dialect | None = None
    native_gates: frozenset[str] = frozenset()
    queue: int | None = None  # jobs before the next one
    wait_ms: int | None = None  # how long the vendor says that one waits
    degraded: bool = False
    seen_ms: int | None = None  # when the vendor last said all this; set by the registry
    noise: Noise | None = None
    vendor_limits: tuple[VendorLimit, ...] = ()

    def __post_init__(self) -> None:
        if self.dialect is None and not self.simulator:
            raise ValueError(f"{self.name}: hardware must declare the dialect it is sent")


class VendorState(StrEnum):
    """What a vendor says of a job, reduced to what we act on."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class VendorStatus(msgspec.Struct, frozen=True):
    """State, and once final what it cost (cents, ``None`` when the vendor does not say).

    ``currency`` is that of the cost; empty means the currency of the backend's price. ``job_id``,
    ``backend`` and ``fingerprint`` are what the vendor says it ran, empty where it says nothing: an
    answer about another job, device or program is a lie. ``part_of_bound`` (a fraction) is for
    vendors that name no amount because they bill by a price list: so much of what was held for the
    job is its price.
    """

    state: VendorState
    cost_cents: int | None = None
    runtime_ms: int | None = None
    detail: str = ""
    currency: str = ""
    job_id: str = ""
    fingerprint: str = ""
    queue_position: int | None = None
    eta_ms: int | None = None
    part_of_bound: tuple[int, int] | None = None
    backend: str = ""


class RawResult(msgspec.Struct, frozen=True):
    """Counts by bit string (classical bit 0 rightmost), and per-shot memory where offered."""

    counts: Mapping[str, int]
    shots: int
    memory: tuple[str, ...] | None = None
    metadata: Mapping[str, str] = msgspec.field(default_factory=dict)


class Ended(NamedTuple):
    """A job's final status, and its result if it has one."""

    status: VendorStatus
    result: RawResult | None


class Submission(msgspec.Struct, frozen=True):
    """One checked program, exactly as it must run.

    ``text`` is the program in the backend's dialect, read back by another parser and found to be
    the same program (C5): an adapter sends these bytes and emits nothing itself. Empty where the
    backend declares no dialect. ``cost_ceiling_cents`` is in the currency of the backend's price,
    as a vendor's bill is.
    """

    job_id: str
    backend: str
    program: Program
    shots: int
    experiment_id: str
    cost_ceiling_cents: int
    text: bytes = b""


class Provider(ABC):
    """Adapters raise `ProviderError` only; anything else counts as "may have been sent"."""

    scheme: str
    #: What the vendor can enforce, and this adapter has it enforce.
    controls: frozenset[Control] = frozenset()
    #: Whether `result` needs the program.
    reads_program: bool = False
    #: Whether `backends` needs a lease.
    lists_with_lease: bool = False
    #: Whether looking for many jobs at once costs the vendor no more than looking for one.
    finds_together: bool = False

    @abstractmethod
    async def backends(self, lease: Lease | None = None) -> Sequence[Backend]:
        """Devices this provider offers now, with what each can do."""

    async def validate(self, submission: Submission, lease: Lease) -> Sequence[str]:
        """What the vendor would refuse, where it can be asked; nothing is run or billed.

        Raises:
            ProviderError: it did not say.
        """
        return ()

    @abstractmethod
    async def submit(self, submission: Submission, lease: Lease) -> str:
        """Hand the job over, once: the same ``job_id`` again gives the same vendor id."""

    def ended(self, vendor_id: str) -> Ended | None:
        """How a job ended that was just submitted, if that is known here without asking anybody."""
        return None

    @abstractmethod
    async def find(self, job_id: str, lease: Lease) -> str | None:
        """The vendor id under which ``job_id`` was accepted, or None when it never was."""

    @abstractmethod
    async def status(self, vendor_id: str, lease: Lease) -> VendorStatus:
        """Where the job is."""

    @abstractmethod
    async def result(
        self, vendor_id: str, lease: Lease, program: Program | None = None
    ) -> RawResult:
        """The result of a job that is done. ``program`` is given where `reads_program` says so."""

    @abstractmethod
    async def cancel(self, vendor_id: str, lease: Lease) -> None:
        """Ask for the job to stop. Returns when the vendor has taken note."""

    #: Whether `estimate` can be asked. A price book entry of model ``vendor_estimate`` needs it.
    estimates: bool = False

    async def estimate(self, backend: str, program: Program, shots: int, lease: Lease) -> Money:
        """What the vendor says a job would cost. Nothing is run or reserved by asking.

        Raises:
            ProviderError: it does not say.
        """
        raise ProviderError("this provider gives no estimates", sent=False, retryable=False)

    async def wait(self, vendor_id: str, lease: Lease) -> VendorStatus | None:
        """Block until the job is final where the provider can tell; None: poll `status`."""
        return None

    async def close(self) -> None:
        """Release processes and connections."""
        return
