"""What IonQ says, as types: what is not in them is not read."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

import msgspec

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"\A[A-Za-z0-9_-]+\Z")]


class Device(msgspec.Struct):
    """A device in the list."""

    backend: str
    status: str
    qubits: int
    average_queue_time: float = 0
    degraded: bool = False
    supported_gates: tuple[str, ...] | None = None
    supported_native_gates: tuple[str, ...] | None = None


class Calibration(msgspec.Struct):
    """When a device was calibrated."""

    date: str = ""


class Calibrations(msgspec.Struct):
    """A device's calibrations, newest first."""

    characterizations: tuple[Calibration, ...] | None = None


class Failure(msgspec.Struct):
    """Why a job failed."""

    code: str = ""


class Job(msgspec.Struct):
    """A job."""

    id: Id
    status: str
    backend: str = ""
    metadata: dict[str, str] | None = None
    submitted_at: str = ""
    execution_duration_ms: int | None = None
    predicted_wait_time_ms: int | None = None
    failure: Failure | None = None
    shots: int | None = None
    session_id: Id | None = None


class Jobs(msgspec.Struct):
    """A page of jobs."""

    jobs: tuple[Job, ...]
    next: str | None = None


class Created(msgspec.Struct):
    """The receipt of a job."""

    id: Id


class Amount(msgspec.Struct):
    """An amount of money."""

    value: Decimal
    unit: str


class Cost(msgspec.Struct):
    """What a job cost, and was expected to."""

    cost: Amount | None = None
    estimated_cost: Amount | None = None


class Estimate(msgspec.Struct):
    """What a job would cost."""

    estimated_total_cost: Decimal
    estimated_unit: str


class Session(msgspec.Struct):
    """A session: jobs under one limit."""

    id: Id
