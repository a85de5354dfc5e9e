"""Text from outside, made fit for a terminal or a page (H4).

A name, a purpose or an error may hold anything: escape sequences that repaint the screen,
direction marks that turn "deny" into what looks like "approve", invisible letters. Each such
character becomes a visible U+FFFD. Nothing is parsed, so there is no sequence to get around.
"""

from __future__ import annotations

import json
import unicodedata

_MARK = "\ufffd"
# Control, format (direction marks, zero width, tags), surrogate, private, unassigned, separators.
_FOREIGN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_COMBINING = frozenset({"Mn", "Me"})
_MOST_COMBINING = 2
MAX_TEXT = 4_000


def clean(value: object, *, lines: bool = False, limit: int = MAX_TEXT) -> str:
    """``value`` as printable text of at most ``limit`` characters; line feeds only if ``lines``."""
    text = value if isinstance(value, str) else str(value)
    out: list[str] = []
    combining = 0
    for char in text[:limit]:
        if " " <= char <= "~":
            out.append(char)
            combining = 0
            continue
        kind = unicodedata.category(char)
        if kind in _COMBINING:
            combining += 1
            if combining <= _MOST_COMBINING:
                out.append(char)
            continue
        combining = 0
        if char == "\n" and lines:
            out.append(char)
        elif char in "\n\r\t" or kind == "Zs":
            out.append(" ")
        else:
            out.append(_MARK if kind in _FOREIGN else char)
    if len(text) > limit:
        out.append("…")
    return "".join(out)


def to_json(document: object) -> str:
    """``document`` as one JSON text in printable ASCII: safe to print, and the same for parsers."""
    text = json.dumps(document, ensure_ascii=True, indent=2, sort_keys=False, allow_nan=False)
    return text.replace("\x7f", "\\u007f")
