"""What Google's Quantum Engine says, as types: what is not in them is not read."""

from __future__ import annotations

from typing import Annotated

import msgspec

Name = Annotated[
    str, msgspec.Meta(pattern=r"\Aprojects/[A-Za-z0-9:._-]{1,64}/[A-Za-z0-9/_-]{1,256}\Z")
]
Qubit = Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{1,3}_[0-9]{1,3}\Z")]
Duration = Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{1,12}(\.[0-9]{1,9})?s\Z")]
#: 64-bit numbers are texts in protobuf's JSON.
Whole = int | Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{1,18}\Z")]


class Target(msgspec.Struct):
    """Qubits that a gate can be between."""

    ids: tuple[str, ...] = ()


class Targets(msgspec.Struct):
    """Pairs of qubits that are coupled."""

    targets: tuple[Target, ...] = ()


class Specification(msgspec.Struct, rename="camel"):
    """What a processor can do."""

    valid_gates: tuple[dict[str, msgspec.Raw], ...] = ()
    valid_qubits: tuple[Qubit, ...] = ()
    valid_targets: tuple[Targets, ...] = ()


class Activity(msgspec.Struct, rename="camel"):
    """How busy a processor is."""

    active_jobs_count: Whole = 0


class Processor(msgspec.Struct, rename="camel"):
    """A processor; its specification only where it was asked for alone."""

    name: Name
    health: str = "HEALTH_UNSPECIFIED"
    device_spec: Specification | None = None
    current_calibration: str = ""
    activity_stats: Activity | None = None


class Processors(msgspec.Struct, rename="camel"):
    """A page of processors."""

    processors: tuple[Processor, ...] = ()
    next_page_token: str = ""


class Budget(msgspec.Struct, rename="camel"):
    """Processor time that was granted to the project."""

    processor_names: tuple[str, ...] = ()
    granted_duration: Duration = "0s"
    available_duration: Duration = "0s"
    expire_time: str = ""


class Budgets(msgspec.Struct, rename="camel"):
    """A page of them."""

    reservation_budgets: tuple[Budget, ...] = ()


class Failure(msgspec.Struct, rename="camel"):
    """Why a job failed."""

    error_code: str | int = ""


class Timing(msgspec.Struct, rename="camel"):
    """When a job ran."""

    started_time: str = ""
    completed_time: str = ""


class Execution(msgspec.Struct, rename="camel"):
    """Where a job is."""

    state: str = "STATE_UNSPECIFIED"
    processor_name: str = ""
    failure: Failure | None = None
    timing: Timing | None = None


class Job(msgspec.Struct, rename="camel"):
    """A job."""

    name: Name
    labels: dict[str, str] = {}
    description: str = ""
    execution_status: Execution = msgspec.field(default_factory=Execution)


class Program(msgspec.Struct):
    """A program with its code, where that was asked for."""

    name: Name
    code: dict[str, object] = {}


class Made(msgspec.Struct):
    """The receipt of a program or job."""

    name: Name


class Measured(msgspec.Struct):
    """The bits of one qubit, eight repetitions a byte, in Base64."""

    results: str = ""


class Measurement(msgspec.Struct, rename="camel"):
    """One measurement key."""

    key: str
    qubit_measurement_results: tuple[Measured, ...]
    instances: int = 1


class Parameterized(msgspec.Struct, rename="camel"):
    """The result of one set of parameters."""

    measurement_results: tuple[Measurement, ...] = ()


class Sweep(msgspec.Struct, rename="camel"):
    """The results of one sweep."""

    repetitions: int
    parameterized_results: tuple[Parameterized, ...]


class Sweeps(msgspec.Struct, rename="camel"):
    """Everything that came out of a job."""

    sweep_results: tuple[Sweep, ...]


class Result(msgspec.Struct):
    """A result, and whose it is."""

    parent: str
    result: Sweeps
