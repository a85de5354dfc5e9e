"""How an event becomes bytes.

The canonical form is the RFC 8785 subset where every encoder agrees: keys in ASCII order, no
white space, strings escaped to ASCII, integers below 2**53, no floats, absent fields left out.
What may never change: the bytes of an event that is in a log.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from cryogate.domain.events import Event

_MAX_INT = 2**53 - 1
_FIELDS = Event._fields
MAX_EVENT_BYTES = 16_384


@lru_cache(maxsize=4)
def _second(epoch_s: int) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def rfc3339(epoch_ms: int) -> str:
    """UTC time stamp with milliseconds, as RFC 3339 writes it."""
    seconds, millis = divmod(epoch_ms, 1000)
    return f"{_second(seconds)}.{millis:03d}Z"


def event_fields(event: Event) -> dict[str, object]:
    """The event as a JSON object without ``seq``.

    Raises:
        ValueError: a value is outside the canonical subset, so it must not be logged.
    """
    fields: dict[str, object] = {}
    for name, value in zip(_FIELDS, event, strict=True):
        if value is None:
            continue
        if isinstance(value, tuple):
            if not all(isinstance(item, str) for item in value):
                raise ValueError(f"event field {name} must hold strings only")
        elif type(value) is int:
            if not -_MAX_INT <= value <= _MAX_INT:
                raise ValueError(f"event field {name} is beyond 2**53")
        elif not isinstance(value, str):
            raise ValueError(f"event field {name} has a type that is not logged")
        fields[name] = value
    del fields["timestamp_ms"]
    fields["timestamp"] = rfc3339(event.timestamp_ms)
    return fields


def canonical(fields: object) -> bytes:
    """Canonical JSON bytes of an already checked value."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


_PLAIN = re.compile(rb"[ !#-\[\]-~\"]*").fullmatch
_sorted = msgspec.json.Encoder(order="sorted").encode


def encode_event(event: Event) -> bytes:
    """Canonical bytes of an event before the log gives it its ``seq``.

    Printable ASCII without a backslash is written alike by every encoder that sorts keys and leaves
    no white space, so the fast one is asked first; what it had to escape is written by `canonical`.

    Raises:
        ValueError: outside the canonical subset or longer than `MAX_EVENT_BYTES`.
    """
    fields = event_fields(event)
    try:
        body = _sorted(fields)
    except UnicodeEncodeError:  # half of a surrogate pair, which only an escape can carry
        body = b"\\"
    if not _PLAIN(body):
        body = canonical(fields)
    if len(body) > MAX_EVENT_BYTES:
        raise ValueError("event is too long to be logged")
    return body


def leaf_bytes(body: bytes, seq: int) -> bytes:
    """The log entry: the event's canonical object with its ``seq`` in place.

    ``body`` is what `encode_event` gave; it is parsed again so that a stored row that is not
    canonical can never enter the log unnoticed.

    Raises:
        ValueError: ``body`` is not a canonical object, or carries a ``seq`` already.
    """
    fields = json.loads(body)
    if not isinstance(fields, dict) or "seq" in fields or canonical(fields) != body:
        raise ValueError("stored event is not canonical")
    fields["seq"] = seq
    return canonical(fields)
