"""What IBM Quantum says, as types: what is not in them is not read."""

from __future__ import annotations

from typing import Annotated

import msgspec

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"\A[A-Za-z0-9_-]+\Z")]
Name = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9_]{1,60}\Z")]


class Held(msgspec.Struct):
    """What a lease holds."""

    token: str
    crn: str

    def __repr__(self) -> str:
        return "Held(…)"


class Status(msgspec.Struct):
    """A device's status."""

    name: str


class Listed(msgspec.Struct):
    """A device in the list."""

    name: Name
    status: Status
    is_simulator: bool = False
    queue_length: int | None = None


class Devices(msgspec.Struct):
    """The list of devices."""

    devices: tuple[Listed, ...]


class Configuration(msgspec.Struct):
    """A device's limits and gates."""

    n_qubits: int
    basis_gates: tuple[str, ...]
    max_shots: int
    coupling_map: tuple[tuple[int, int], ...] | None = None


class Properties(msgspec.Struct):
    """When a device was calibrated."""

    last_update_date: str = ""


class Created(msgspec.Struct):
    """The receipt of a job."""

    id: Id


class State(msgspec.Struct):
    """A job's state."""

    status: str
    reason_code: int | None = None


class Job(msgspec.Struct):
    """A job."""

    id: Id
    state: State
    tags: tuple[str, ...] = ()
    backend: str = ""


class Jobs(msgspec.Struct):
    """A page of jobs."""

    jobs: tuple[Job, ...]


class Usage(msgspec.Struct):
    """The time that a job is charged for."""

    qpu_charge_time_seconds: float | None = None


class Metrics(msgspec.Struct):
    """What is known of a job beside its state."""

    usage: Usage = msgspec.field(default_factory=Usage)
    position_in_queue: int | None = None


class Bits(msgspec.Struct):
    """The samples of a register."""

    samples: tuple[str, ...]
    num_bits: int


class Pub(msgspec.Struct):
    """The result of one circuit."""

    data: dict[str, Bits]


class Result(msgspec.Struct):
    """A result."""

    results: tuple[Pub, ...]


class Asked(msgspec.Struct):
    """What a job was asked to run: circuit, parameters and shots of each PUB."""

    pubs: tuple[tuple[msgspec.Raw, ...], ...] = ()


class Ran(msgspec.Struct):
    """A job with what it was asked to run, where IBM tells: an `Asked`, if it is one."""

    id: Id
    params: msgspec.Raw = msgspec.Raw(b"null")


class Instance(msgspec.Struct):
    """How much of its time an instance has used."""

    usage_consumed_seconds: float | None = None
    usage_limit_seconds: float | None = None
    usage_remaining_seconds: float | None = None
