"""One RFC 5424 message. The payload is a format's line, so ASCII without line breaks.

Nothing from an event reaches the header but a time stamp and a message id, each either of the
strict form or left out (``-``). Facility 13 is "log audit".
"""

from __future__ import annotations

import re
from typing import Final

from cryogate.ports.sinks import Entry
from cryogate.sinks.formats.facts import level, text
from cryogate.sinks.setup import Format

_AUDIT: Final = 13
_STAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z", re.ASCII).fullmatch
_ID: Final = re.compile(r"[!-~]{1,32}").fullmatch
_NAME: Final = re.compile(r"[!-~]{1,255}").fullmatch
_VALUE: Final = re.compile(r'[\\"\]]')
# 32473 is the enterprise number that RFC 5612 keeps for documentation: we have none of our own
_ELEMENT: Final = "cryogate@32473"


def syslog_line(entry: Entry, host: str, line: Format) -> bytes:
    """The message, without framing."""
    stamp, action = text(entry, "timestamp"), text(entry, "action")
    head = " ".join(
        (
            f"<{_AUDIT * 8 + level(entry)}>1",
            stamp if _STAMP(stamp) else "-",
            host if _NAME(host) else "-",
            "cryogate -",
            action if _ID(action) else "-",
            f'[{_ELEMENT} origin="{_escaped(entry.origin)}" seq="{entry.seq}"] ',
        )
    )
    return head.encode("ascii") + line(entry)


def _escaped(value: str) -> str:
    plain = value.encode("ascii", "replace").decode()
    return _VALUE.sub(lambda found: "\\" + found[0], "".join(c for c in plain if " " <= c <= "~"))
