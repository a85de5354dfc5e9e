"""Errors of this package.

::

    ValueError
    └── CircuitError          the input is refused; every field is safe to show
        └── NeedsRichParser   well-formed so far, but it belongs to the guarded worker
    RuntimeError
    └── WorkerFailed          a guarded worker died or ran out; it was replaced
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryogate.circuits.model import Facts

_ECHO = 40


def shown(text: str | bytes) -> str:
    """At most 40 characters of hostile input, printable ASCII only, one line."""
    if isinstance(text, bytes):
        text = text[: 4 * _ECHO].decode("latin-1")
    head = " ".join(text[: 4 * _ECHO].split())
    clean = "".join(ch if " " <= ch <= "~" else "?" for ch in head)
    return clean if len(clean) <= _ECHO else clean[: _ECHO - 3] + "..."


class CircuitError(ValueError):
    """A circuit that is refused, with a reason its author can act on.

    ``code`` is a stable snake_case reason, ``line`` is 1-based or None, ``detail`` and ``hint``
    are bounded printable ASCII and never carry more than 40 characters of the input.
    """

    def __init__(self, code: str, detail: str, *, line: int | None = None, hint: str = "") -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.line = line
        self.hint = hint
        #: Of a program that is too large, where they could be found.
        self.facts: Facts | None = None

    def at(self, line: int) -> CircuitError:
        """The same error, placed on ``line`` unless a line is already known."""
        if self.line is None:
            self.line = line
        return self

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line is not None else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.code}: {place}{self.detail}{hint}"


class NeedsRichParser(CircuitError):
    """The flat parser met a construct that only the guarded worker may parse."""

    def __init__(self, detail: str, *, line: int | None = None) -> None:
        super().__init__(
            "needs_rich_parser",
            detail,
            line=line,
            hint="definitions, loops and classical control are parsed by the guarded worker",
        )


class WorkerFailed(RuntimeError):
    """A guarded worker did not answer.

    ``reason`` is ``timeout``, ``memory``, ``crash``, ``error``, ``start`` or ``closed``.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
