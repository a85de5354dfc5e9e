"""What Quantinuum Nexus says (JSON:API), as types: what is not in them is not read."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec

_UUID = r"\A[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z"
Uuid = Annotated[str, msgspec.Meta(pattern=_UUID)]


class Held(msgspec.Struct):
    """What a lease holds."""

    token: str
    project: Uuid
    user_group: str = ""

    def __repr__(self) -> str:
        return "Held(…)"


class Graph(msgspec.Struct):
    """The qubits of a device. With full connection only their number is given."""

    nodes: tuple[msgspec.Raw, ...] = ()
    n_nodes: int | None = None


class Misc(msgspec.Struct):
    """What a device says of itself."""

    system_type: str = ""
    n_shots: int | None = None


class Info(msgspec.Struct):
    """A device."""

    device: Graph
    gate_set: tuple[str, ...]
    device_name: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9._-]{1,60}\Z")] | None = None
    supports_fast_feedforward: bool = False
    supports_reset: bool = False
    supports_midcircuit_measurement: bool = False
    misc: Misc = msgspec.field(default_factory=Misc)


class Infos(msgspec.Struct):
    """Devices of one kind; ``is_local``: run by Nexus and not at a machine."""

    backend_info_list: tuple[Info, ...]
    is_local: bool = False


class State(msgspec.Struct):
    """What a machine is doing."""

    state: str


class Made(msgspec.Struct):
    """The id of what was made."""

    id: Uuid


class Receipt(msgspec.Struct):
    """The answer to making something."""

    data: Made


class Status(msgspec.Struct):
    """Where a job, or one item of it, is."""

    status: str
    cost: Decimal | None = None
    queue_position: int | None = None
    running_time: datetime | None = None
    completed_time: datetime | None = None


class Item(msgspec.Struct):
    """One program of a job."""

    program_id: Uuid
    n_shots: int
    status: Status | None = None
    result_id: Uuid | None = None
    result_type: str | None = None


class Machine(msgspec.Struct):
    """Where a job runs."""

    device_name: str = ""


class Definition(msgspec.Struct):
    """What a job is of."""

    items: tuple[Item, ...] = ()
    backend_config: Machine = msgspec.field(default_factory=Machine)


class JobAttributes(msgspec.Struct):
    """A job."""

    name: str
    status: Status
    properties: dict[str, Any] = {}
    definition: Definition = msgspec.field(default_factory=Definition)


class Job(msgspec.Struct):
    """A job with its id."""

    id: Uuid
    attributes: JobAttributes


class JobDocument(msgspec.Struct):
    """One job."""

    data: Job


class Named(msgspec.Struct):
    """A name."""

    name: str


class Listed(msgspec.Struct):
    """A job in a list. Of what others have put into the project no more is read than its name."""

    id: Uuid
    attributes: Named


class JobPage(msgspec.Struct):
    """A page of jobs."""

    data: tuple[Listed, ...]


class Link(msgspec.Struct):
    """The id and type of a related thing."""

    id: Uuid
    type: str


class Related(msgspec.Struct):
    """A related thing."""

    data: Link


class ResultLinks(msgspec.Struct):
    """What a result is of."""

    program: Related


class Readouts(msgspec.Struct):
    """Rows of bits, eight to a byte, the first bit highest."""

    width: int
    array: tuple[tuple[int, ...], ...]


class Count(msgspec.Struct):
    """How often one row came."""

    outcome: Readouts
    count: int


class ResultAttributes(msgspec.Struct):
    """Shots, or counts."""

    bits: tuple[tuple[str, tuple[int, ...]], ...]
    shots: Readouts | None = None
    counts: tuple[Count, ...] | None = None


class Result(msgspec.Struct):
    """A result."""

    id: Uuid
    attributes: ResultAttributes
    relationships: ResultLinks


class ResultDocument(msgspec.Struct):
    """One result."""

    data: Result


class Circuit(msgspec.Struct):
    """A circuit, its members among the attributes."""

    id: Uuid
    attributes: dict[str, msgspec.Raw]


class CircuitDocument(msgspec.Struct):
    """One circuit."""

    data: Circuit
