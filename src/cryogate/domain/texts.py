"""Text that people are shown: what it may hold (H4)."""

from __future__ import annotations

from cryogate.domain.errors import Malformed


def is_plain(text: str) -> bool:
    """Whether every character can be seen: no control, bidirectional or invisible ones."""
    return all(c.isprintable() or c == "\n" for c in text)


def require_plain(text: str, most: int, what: str) -> str:
    """Return ``text``, which is safe to show and to log.

    Raises:
        Malformed: longer than ``most``, or with characters that cannot be seen.
    """
    if len(text) > most or not is_plain(text):
        raise Malformed(f"malformed_{what}", f"a {what} is at most {most} printable characters")
    return text
