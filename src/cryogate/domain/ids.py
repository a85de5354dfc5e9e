"""Names and identifiers.

People choose *slugs* for agents and experiments; we mint everything else. Both alphabets are
lower-case ASCII, so two different names can never look alike or compare equal after folding (A4).
What may never change: ids are stored, signed and logged, so their alphabets only ever narrow.
"""

from __future__ import annotations

import os
import re
import time

from cryogate.domain.errors import Malformed

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32: no i, l, o, u
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_MINTED = re.compile(r"[a-z]{3}_[0-9a-hjkmnp-tv-z]{26}", re.ASCII)
_BACKEND = re.compile(r"[a-z][a-z0-9]{0,15}:[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)

TOKEN, SESSION, JOB, APPROVAL = "tok", "ses", "job", "apr"
BUDGET, GRANT, CORRECTION = "bud", "grt", "cor"


_PAIRS = tuple(a + b for a in _ALPHABET for b in _ALPHABET)


def new_id(prefix: str) -> str:
    """A fresh id: three-letter prefix, 48 bits of the time in ms, 82 random bits.

    It cannot be guessed, and later ids sort after earlier ones, so that rows which come together
    lie together in every index (the reason for UUIDv7, RFC 9562).
    """
    return f"{prefix}_{_spelled(time.time_ns() // 1_000_000 << 82 | _random(82))}"


def new_secret() -> str:
    """130 random bits in the alphabet of ids, for what only its holder may know."""
    return _spelled(_random(130))


def _random(bits: int) -> int:
    # as `secrets.randbits` does, in one step
    return int.from_bytes(os.urandom((bits + 7) // 8)) >> (-bits % 8)


def _spelled(value: int) -> str:
    return "".join([_PAIRS[value >> shift & 1023] for shift in range(120, -10, -10)])


def is_minted(value: str, prefix: str) -> bool:
    """Whether ``value`` has the form of an id minted with ``prefix``."""
    return value.startswith(prefix + "_") and _MINTED.fullmatch(value) is not None


def is_slug(value: str) -> bool:
    """Whether ``value`` is a well-formed agent or experiment name (a DNS label)."""
    return _SLUG.fullmatch(value) is not None


def is_backend(value: str) -> bool:
    """Whether ``value`` is a well-formed backend name, ``scheme:device``."""
    return _BACKEND.fullmatch(value) is not None


def require_slug(value: str, what: str) -> str:
    """Return ``value`` or raise `Malformed` naming ``what`` it should have been."""
    if not is_slug(value):
        raise Malformed(
            "malformed_name",
            f"{what} must be 1 to 63 lower-case letters, digits or hyphens, "
            "beginning and ending with a letter or digit",
        )
    return value
