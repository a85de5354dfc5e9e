"""Source text: what bytes are accepted at all, comments, line numbers, and the words that matter.

Only printable ASCII, tab, line feed, and carriage return before a line feed. Anything else can
make two readers see two programs: bidirectional marks reorder what a human approves, NUL ends a
string for some parsers, a lone carriage return ends a comment for some (C8).
"""

from __future__ import annotations

import re

from cryogate.circuits.errors import CircuitError
from cryogate.circuits.gates import words

_ACCEPTED = bytes(range(0x20, 0x7F)) + b"\t\n\r"
_LINE_COMMENT = re.compile(r"//[^\n]*+")
_COMMENT = re.compile(r"//[^\n]*+|/\*(?:[^*]++|\*(?!/))*+\*/")

#: Words that are refused wherever a statement may begin, and why (C4).
FORBIDDEN = {
    "pragma": "directives change what a vendor does with the program",
    "defcal": "pulse definitions replace what a gate means",
    "defcalgrammar": "pulse definitions replace what a gate means",
    "cal": "pulse blocks are not accepted",
    "extern": "external functions are not accepted",
    "opaque": "a gate without a body cannot be inspected",
    "box": "timing is not accepted",
    "delay": "timing is not accepted",
    "stretch": "timing is not accepted",
    "duration": "timing is not accepted",
    "durationof": "timing is not accepted",
    "nop": "timing is not accepted",
    "dim": "directives are not accepted",
}
#: Words that open a construct of the rich path, by language version.
RICH = {
    2: frozenset({"gate"}),
    3: frozenset(
        words(
            "gate def for while if else switch const input output int uint float angle bool let "
            "array complex return break continue end ctrl negctrl inv pow gphase measure mutable "
            "readonly"
        )
    ),
}
_KEYWORDS = words(
    "OPENQASM include qreg creg barrier reset measure if pi U CX sin cos tan exp ln sqrt"
)
#: Words that can name no register, by language version.
RESERVED = {
    2: frozenset(_KEYWORDS).union(FORBIDDEN, RICH[2]),
    3: frozenset(words("qubit bit tau euler true false in void")).union(
        _KEYWORDS, FORBIDDEN, RICH[3]
    ),
}


def read_source(source: bytes, max_bytes: int, *, block_comments: bool) -> str:
    """Checked text with comments blanked out, lines kept. Raises `CircuitError`."""
    if len(source) > max_bytes:
        raise CircuitError("too_large", f"the source is over {max_bytes} bytes")
    bad = source.translate(None, _ACCEPTED)
    if bad:
        at = source.index(bad[:1])
        raise CircuitError(
            "encoding",
            f"only printable ASCII is accepted, not {_named(source[at : at + 4])}",
            line=source[:at].count(b"\n") + 1,
            hint="spell out pi",
        )
    if b"\r" in source:
        source = source.replace(b"\r\n", b"\n")
        if b"\r" in source:
            line = source[: source.index(b"\r")].count(b"\n") + 1
            raise CircuitError("encoding", "a carriage return without a line feed", line=line)
    text = source.decode("ascii")
    if "//" in text or (block_comments and "/*" in text):
        text = _COMMENT.sub(_blank, text) if block_comments else _LINE_COMMENT.sub("", text)
    if "/*" in text:
        raise CircuitError(
            "syntax", "a block comment", line=line_of(text, text.index("/*")), hint="use //"
        )
    return text


def _named(data: bytes) -> str:
    """The first character of ``data`` by its number, never as itself."""
    for size in range(1, len(data) + 1):
        try:
            return f"U+{ord(data[:size].decode('utf-8')):04X}"
        except UnicodeDecodeError:
            continue
    return f"the byte {data[0]:#04x}"


def _blank(match: re.Match[str]) -> str:
    return "\n" * match[0].count("\n") or " "


def line_of(text: str, offset: int) -> int:
    """1-based line of an offset."""
    return text.count("\n", 0, offset) + 1
