r"""Lines of the log of the process: one event a line, whatever it says.

(1) a message cannot end its line or write another's: JSON is ASCII with escapes; in text every
    control character of a message is written as its escape, and a stack is indented behind ``|``
(2) what looks like a credential is taken out before anything is written, whoever logged it; a
    secret of ours cannot be printed anyway (`Secret`)
(3) a line has a bound, so that an error that quotes a megabyte does not fill a disk

These lines are for operators. What happened, for proof, is in the audit log.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, TextIO

from cryogate.telemetry.requests import request_id, trace_id

_MAX_MESSAGE: Final = 4_000
_MAX_STACK: Final = 16_000
_CONTROL: Final = re.compile(r"[^ -~\u00a0-\u2027\u202f-\u2065\u206a-\ud7ff\ue000-\U0010ffff]")
_CREDENTIAL: Final = re.compile(
    r"eyJ[\w-]{6,}\.[\w-]{4,}(?:\.[\w-]*)*"  # a JSON Web Token or Signature
    # a word is no credential: those have a digit somewhere
    r"|(?i:\b(?:bearer|dpop|apikey|basic|splunk)\s+)(?=[a-zA-Z_.~+/=-]*\d)[\w.~+/=-]{8,}"
    r"|\bwhsec_[\w+/=]{8,}|\bAKIA[0-9A-Z]{12,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.ASCII | re.DOTALL,
)
_MINTED: Final = re.compile(r"\b([a-z]{3})_[0-9a-hjkmnp-tv-z]{26}\b", re.ASCII)
_NAMED: Final = {
    "job": "job_id", "tok": "token_id", "ses": "session_id", "apr": "approval_id",
    "alt": "alert_id", "lea": "lease_id",
}  # fmt: skip
_LEVELS: Final[Mapping[str, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
# at `debug` these tell of every request and every byte, bodies included
_QUIET: Final = ("httpx", "httpcore", "asyncio", "hpack")


def configure(form: str, level: str, stream: TextIO | None = None) -> None:
    """Send every logger's lines, uvicorn's and Python's warnings included, to standard error."""
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(_LEVELS[level])
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, _LEVELS[level]))
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        theirs = logging.getLogger(name)
        theirs.handlers.clear()
        theirs.propagate = True
        theirs.setLevel(logging.NOTSET)
    logging.captureWarnings(capture=True)


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        message = _message(record)
        line: dict[str, object] = {
            "timestamp": _stamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message,
        }
        if request := request_id():
            line["request_id"] = request
        if trace := trace_id():
            line["trace_id"] = trace
        for found in _MINTED.finditer(message):
            if name := _NAMED.get(found[1]):
                line.setdefault(name, found[0])
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            line["stack"] = _stack(self, record)
        return json.dumps(line, separators=(",", ":"), ensure_ascii=True)  # (1)


class TextLines(logging.Formatter):
    """For people: a line, and the stack of an error indented below it."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        parts = [_stamp(record), record.levelname, record.name]
        if request := request_id():
            parts.append(request)
        parts.append(_CONTROL.sub(_escaped, _message(record)))  # (1)
        text = " ".join(parts)
        if record.exc_info and record.exc_info[0] is not None:
            stack = _stack(self, record).split("\n")
            text += "".join(f"\n    | {_CONTROL.sub(_escaped, line)}" for line in stack)
        return text


def _message(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except Exception:  # a broken log call must not become a broken request
        text = f"{record.msg!s} (its arguments do not fit)"
    return _cut(_CREDENTIAL.sub("<redacted>", text), _MAX_MESSAGE)  # (2) (3)


def _stack(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    assert record.exc_info is not None  # noqa: S101 - both callers have looked
    text = formatter.formatException(record.exc_info)
    text = _CREDENTIAL.sub("<redacted>", text)
    # the end says what went wrong
    return text if len(text) <= _MAX_STACK else f"...{text[-_MAX_STACK:]}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def _stamp(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
