"""What Braket says, as types: what is not in them is not read."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

_ARN: Final = r"\Aarn:aws[a-z-]*:braket:[a-z0-9-]*:[0-9]*:[A-Za-z0-9/_.-]{1,256}\Z"
Arn = Annotated[str, msgspec.Meta(pattern=_ARN)]


class Keys(msgspec.Struct):
    """Temporary AWS credentials of a lease."""

    access_key_id: str
    secret_access_key: str
    session_token: str = ""

    def __repr__(self) -> str:
        return "Keys(…)"


class Summary(msgspec.Struct, rename="camel"):
    """A device in the list."""

    device_arn: Arn
    device_name: str
    device_status: str
    device_type: str


class Summaries(msgspec.Struct, rename="camel"):
    """A page of devices."""

    devices: tuple[Summary, ...]
    next_token: str | None = None


class Queue(msgspec.Struct, rename="camel"):
    """One queue of a device."""

    queue: str
    queue_size: str = "0"
    queue_priority: str = ""


class Device(msgspec.Struct, rename="camel"):
    """A device in full."""

    device_arn: Arn
    device_capabilities: str
    device_queue_info: tuple[Queue, ...] = ()


class Action(msgspec.Struct, rename="camel"):
    """What a device takes as a program."""

    supported_operations: tuple[str, ...] = ()


class Service(msgspec.Struct, rename="camel"):
    """Limits of a device."""

    shots_range: tuple[int, int]
    updated_at: str | None = None


class Paradigm(msgspec.Struct, rename="camel"):
    """Qubits and native gates."""

    qubit_count: int
    native_gate_set: tuple[str, ...] = ()


class Capabilities(msgspec.Struct):
    """A device's capabilities document."""

    action: dict[str, msgspec.Raw]
    service: Service
    paradigm: Paradigm


Dollars = Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{1,12}(\.[0-9]{1,6})?\Z")]


class Period(msgspec.Struct, rename="camel"):
    """When a spending limit holds, in seconds since the epoch."""

    start_at: float
    end_at: float


class SpendingLimit(msgspec.Struct, rename="camel"):
    """What AWS lets a device cost, and what it has cost and will."""

    device_arn: Arn
    spending_limit: Dollars
    total_spend: Dollars
    queued_spend: Dollars
    time_period: Period | None = None


class SpendingLimits(msgspec.Struct, rename="camel"):
    """A page of spending limits."""

    spending_limits: tuple[SpendingLimit, ...]
    next_token: str | None = None


class Created(msgspec.Struct, rename="camel"):
    """The receipt of a task."""

    quantum_task_arn: Arn


class Position(msgspec.Struct, rename="camel"):
    """A task's place in the queue."""

    position: str = ""


class Task(msgspec.Struct, rename="camel"):
    """A task."""

    quantum_task_arn: Arn
    status: str
    device_arn: str = ""
    tags: dict[str, str] = {}
    shots: int | None = None
    failure_reason: str = ""
    output_s3_bucket: str = ""
    output_s3_directory: str = ""
    queue_info: Position | None = None


class Tasks(msgspec.Struct, rename="camel"):
    """A page of tasks."""

    quantum_tasks: tuple[Task, ...]
    next_token: str | None = None


class TaskMetadata(msgspec.Struct):
    """Which task a result is of."""

    id: str
    shots: int


class Source(msgspec.Struct):
    """The program that ran."""

    source: str


class Additional(msgspec.Struct):
    """What a result echoes."""

    action: Source


class Result(msgspec.Struct, rename="camel"):
    """A gate-model result."""

    measurements: tuple[tuple[int, ...], ...]
    measured_qubits: tuple[int, ...]
    task_metadata: TaskMetadata
    additional_metadata: Additional
