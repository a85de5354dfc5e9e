"""How an event becomes bytes.

The canonical form is the RFC 8785 subset where every encoder agrees: keys in ASCII order, no
white space, strings escaped to ASCII, integers below 2**53, no floats, absent fields left out.
What may never change: the bytes of an event that is in a log.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any

import msgspec

from cryogate.domain.events import Event, Outcome

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


_encode = msgspec.json.Encoder().encode
_KINDS = frozenset((str, int, tuple, type(None), Outcome))
_WORDS = frozenset((str,))
# The same fields in the order of their names, so that what is encoded needs no sorting.
_NAMES = sorted((*(name for name in _FIELDS if name != "timestamp_ms"), "timestamp"))
_in_order = itemgetter(*(_FIELDS.index(name) for name in _NAMES if name != "timestamp"))
_AT = _NAMES.index("timestamp")
_Body = msgspec.defstruct(
    "_Body",
    [(name, Any, None) for name in _NAMES],
    omit_defaults=True,
)


def encode_event(event: Event) -> bytes:
    """Canonical bytes of an event before the log gives it its ``seq``.

    Printable ASCII without a backslash is written alike by every encoder that keeps the order of
    keys and leaves no white space, so the fast one is asked first; what it had to escape, or left
    as it is where the other escapes (DEL), and what holds anything but plain values, is checked
    and written by `event_fields` and `canonical`.

    Raises:
        ValueError: outside the canonical subset or longer than `MAX_EVENT_BYTES`.
    """
    body = _quickly(event) if _KINDS.issuperset(map(type, event)) else b"\\"
    if b"\\" in body or b"\x7f" in body or not body.isascii():
        body = canonical(event_fields(event))
    if len(body) > MAX_EVENT_BYTES:
        raise ValueError("event is too long to be logged")
    return body


def _quickly(event: Event) -> bytes:
    for words in (event.gate_set, event.decision_reasons, event.actor_chain):
        if words and not _WORDS.issuperset(map(type, words)):
            return b"\\"
    numbers = [value for value in event if type(value) is int]
    if min(numbers) < -_MAX_INT or max(numbers) > _MAX_INT:
        return b"\\"
    values = _in_order(event)
    try:
        return _encode(_Body(*values[:_AT], rfc3339(event.timestamp_ms), *values[_AT:]))
    except UnicodeEncodeError:  # half of a surrogate pair, which only an escape can carry
        return b"\\"


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
