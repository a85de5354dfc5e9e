"""What every format says of an entry, and how text is made harmless in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from cryogate.ports.sinks import Entry

MAX_TEXT: Final = 4000
# syslog's severity: warning for what was refused, error for what failed
LEVELS: Final[Mapping[str, int]] = {"refused": 4, "failure": 3}
_KNOWN: Final = ("intent", "success", "refused", "failure")


def text(entry: Entry, name: str) -> str:
    """A field as text, empty when it is absent, cut to `MAX_TEXT`."""
    value = entry.fields.get(name, "")
    if isinstance(value, list):
        value = " ".join(value)
    shown = str(value)
    return shown if len(shown) <= MAX_TEXT else shown[: MAX_TEXT - 3] + "..."


def number(entry: Entry, name: str) -> int | None:
    """A field that is a number."""
    value = entry.fields.get(name)
    return value if isinstance(value, int) else None


def outcome(entry: Entry) -> str:
    """One of the outcomes; what is none of them counts as a failure."""
    found = text(entry, "outcome")
    return found if found in _KNOWN else "failure"


def level(entry: Entry) -> int:
    """Syslog severity: 6 for what went as asked, 4 for a refusal, 3 for a failure."""
    if text(entry, "action").startswith("alert.raised"):
        return 3
    return LEVELS.get(outcome(entry), 6)


def epoch_ms(entry: Entry) -> int:
    """When it happened; 0 for a stamp that is none."""
    try:
        at = datetime.fromisoformat(text(entry, "timestamp"))
        return round(at.timestamp() * 1000)
    except (ValueError, OverflowError):
        return 0


def compact(value: object) -> bytes:
    """JSON on one line, ASCII only: no character in it can end a line or a frame."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True).encode()
