"""Spans as they are recorded, and the trace ids that make them one story.

What may never change, or traces of old and new processes fall apart: a job's trace id and its first
span's id are derived from the job's id alone, so that every replica, also after a crash, adds to
the same trace, and whoever knows the job finds the trace.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, NamedTuple

Value = str | int
_TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}", re.ASCII)


class Place(NamedTuple):
    """A span's ids, lower-case hex: what others can point at."""

    trace_id: str
    span_id: str


@dataclass(slots=True)
class Span:
    """One span. Times are nanoseconds since the epoch; ``error`` is a code or a type's name."""

    name: str
    place: Place
    parent: str
    begun_ns: int
    server: bool = False
    ended_ns: int = 0
    attributes: dict[str, Value] = field(default_factory=dict)
    links: tuple[Place, ...] = ()
    error: str = ""


def place_of_job(job_id: str) -> Place:
    """Where a job's trace begins."""
    digest = sha256(b"cryogate job trace\n" + job_id.encode()).hexdigest()
    return Place(digest[:32], digest[32:48])


def read_traceparent(values: list[bytes]) -> Place | None:
    """Where a client says that its request comes from (W3C Trace Context, version 00 alone).

    Anything but exactly one header of exactly this form is nothing: no error, no span of theirs.
    """
    if len(values) != 1 or len(values[0]) != 55:
        return None
    found = _TRACEPARENT.fullmatch(values[0].decode("latin-1"))
    if found is None or set(found[1]) == {"0"} or set(found[2]) == {"0"}:
        return None
    return Place(found[1], found[2])
