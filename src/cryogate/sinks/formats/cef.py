r"""ArcSight Common Event Format, version 0.

(1) a header field escapes backslash and pipe, a value of the extension backslash and equals
(2) a line break in a value is written ``\n`` or ``\r``, in a header field it becomes a space:
    that is all the format has
(3) every other character that is not printable ASCII is written as its code, ``<U+001B>``: no
    terminal, parser or log reader is made to do anything by it
"""

from __future__ import annotations

import re
from typing import Final

from cryogate import __version__
from cryogate.ports.sinks import Entry
from cryogate.sinks.formats.facts import epoch_ms, level, number, outcome, text

_ODD: Final = re.compile(r"[^ -~]")
_SEVERITY: Final = {3: 8, 4: 6, 6: 3}
# (extension key, field of the entry): what it has a key for
_NAMED: Final = (
    ("suser", "agent_id"),
    ("suid", "token_id"),
    ("duser", "human_owner"),
    ("dvchost", "qpu"),
    ("reason", "decision_reasons"),
    ("fileHash", "circuit_sha256"),
)
# custom strings, six of them, each with its label
_CUSTOM: Final = (
    ("cs1", "experiment_id"),
    ("cs2", "job_id"),
    ("cs3", "session_id"),
    ("cs4", "approval_id"),
    ("cs5", "policy_digest"),
    ("cs6", "actor_chain"),
)
_NUMBERS: Final = (("cn1", "shots"), ("cn2", "cost_estimate_cents"), ("cn3", "cost_actual_cents"))


def cef(entry: Entry) -> bytes:
    """One CEF line, without a syslog header."""
    action = text(entry, "action")
    head = ("Cryogate", "Cryogate", __version__, action, f"{action} {outcome(entry)}")
    severity = _SEVERITY[level(entry)]
    pairs = [
        f"rt={epoch_ms(entry)}",
        f"externalId={entry.seq}",
        f"deviceExternalId={value(entry.origin)}",
        f"act={value(action)}",
        f"outcome={outcome(entry)}",
    ]
    pairs += [f"{key}={value(found)}" for key, name in _NAMED if (found := text(entry, name))]
    for key, name in _CUSTOM:
        if found := text(entry, name):
            pairs += [f"{key}Label={name}", f"{key}={value(found)}"]
    for key, name in _NUMBERS:
        if (counted := number(entry, name)) is not None:
            pairs += [f"{key}Label={name}", f"{key}={counted}"]
    return f"CEF:0|{'|'.join(map(header, head))}|{severity}|{' '.join(pairs)}".encode("ascii")


def header(found: str) -> str:
    """A header field (1) (2) (3)."""
    one_line = found.replace("\r", " ").replace("\n", " ")
    return _coded(one_line.replace("\\", "\\\\").replace("|", "\\|"))


def value(found: str) -> str:
    """A value of the extension (1) (2) (3)."""
    escaped = found.replace("\\", "\\\\").replace("=", "\\=")
    return _coded(escaped.replace("\r", "\\r").replace("\n", "\\n"))


def _coded(found: str) -> str:
    return _ODD.sub(lambda odd: f"<U+{ord(odd[0]):04X}>", found)
