"""JSON from outside, decoded within bounds: ASCII, shallow, finite numbers, no member twice."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from cryogate.circuits.errors import CircuitError
from cryogate.circuits.model import ParseLimits

_MAX_NESTING = 8
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def decode(source: bytes, limits: ParseLimits, *, nesting: int = _MAX_NESTING) -> Any:
    """The value. Raises `CircuitError`, nothing else."""
    if len(source) > limits.max_bytes:
        raise CircuitError("too_large", f"the source is over {limits.max_bytes} bytes")
    if not source.isascii():
        raise CircuitError("encoding", "only ASCII is accepted")
    depth = deepest = 0
    # The decoder recurses once per bracket, so brackets are counted before it runs. Brackets in
    # strings are counted too: that can only refuse more.
    for byte in source.translate(None, _NOT_BRACKETS):
        depth += 1 if byte in b"[{" else -1
        deepest = max(deepest, depth)
    if deepest > nesting:
        raise CircuitError("too_large", "the JSON is nested too deeply")
    try:
        return json.loads(source, object_pairs_hook=_unique, parse_constant=_constant)
    except CircuitError:
        raise
    except (ValueError, RecursionError):
        raise CircuitError("syntax", "the source is not JSON") from None


def syntax(detail: str) -> NoReturn:
    """Raises `CircuitError` (``syntax``)."""
    raise CircuitError("syntax", detail)


def index(value: object, what: str) -> int:
    """``value`` if it can be an index. Raises `CircuitError`."""
    if type(value) is not int or not 0 <= value <= 1 << 20:
        syntax(f"{what} must be a small whole number")
    return value


def _constant(_: str) -> NoReturn:
    raise CircuitError("not_finite", "a number is not finite")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        syntax("a JSON object names a member twice")
    return out
