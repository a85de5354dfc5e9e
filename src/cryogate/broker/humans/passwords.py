"""Passwords at rest: scrypt (RFC 7914) from the standard library, one at a time.

What may never change: the stored form ``scrypt$log2(N)$r$p$salt$hash``; other forms may be added.
Each stored hash carries its own cost, so the cost can be raised without locking anybody out.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
from typing import Final

from cryogate.domain.errors import Malformed, Unavailable

# OWASP's choice for scrypt at 32 MiB: three passes, about a seventh of a second here.
LOG_N, _R, P = 15, 8, 3
_SALT_BYTES, _HASH_BYTES = 16, 32
_MOST_MEMORY: Final = 64 << 20
_MOST_WAITING: Final = 8

MIN_LENGTH: Final = 12
MAX_LENGTH: Final = 256
# Crockford's letters: none can be read as another when typed from a terminal.
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_COMMON: Final = frozenset(
    {"password1234", "passwordpassword", "123456789012", "1234567890123", "qwertyuiopas",
     "qwerty123456", "administrator", "letmeinletmein", "welcome12345", "iloveyou1234",
     "changemechangeme", "correcthorsebatterystaple", "quantumquantum"}
)  # fmt: skip


def one_time_password() -> str:
    """A fresh one-time password: 125 random bits in groups that can be read aloud."""
    letters = [secrets.choice(_ALPHABET) for _ in range(25)]
    return "-".join("".join(letters[i : i + 5]) for i in range(0, 25, 5))


def require_acceptable(password: str, name: str) -> str:
    """``password``, if it may guard the account ``name``.

    Length counts, mixtures of signs do not (NIST SP 800-63B section 3.1.1.2).

    Raises:
        Malformed: it is too short or too easy; says why.
    """
    folded = password.casefold()
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise Malformed("weak_password", f"a password has {MIN_LENGTH} to {MAX_LENGTH} characters")
    if not password.isprintable():
        raise Malformed("weak_password", "a password has printable characters only")
    if len(set(folded)) < 6 or folded in _COMMON:
        raise Malformed("weak_password", "this password is among the first that anybody would try")
    if folded.replace(name, "").replace("cryogate", "") != folded and len(set(folded)) < 12:
        raise Malformed("weak_password", "leave out your name and ours, or choose a longer one")
    return password


class PasswordHasher:
    """Hashes off the event loop, one at a time: a flood of sign-ins costs one core and 32 MiB.

    ``log_n`` and ``p`` are the cost of new hashes.
    """

    def __init__(self, log_n: int = LOG_N, p: int = P) -> None:
        self._log_n, self._p = log_n, p
        self._turn = asyncio.Lock()
        self._waiting = 0
        # What an unknown name is compared with, so that it costs what a known one costs.
        self._nobody = self._form(
            secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_HASH_BYTES)
        )

    async def hash(self, password: str) -> str:
        """The stored form of ``password`` under a fresh salt."""
        salt = secrets.token_bytes(_SALT_BYTES)
        return self._form(salt, await self._derive(password, self._log_n, _R, self._p, salt))

    async def verify(self, password: str, form: str | None) -> bool:
        """Whether ``password`` is the one in ``form``; None and unreadable forms are no one's.

        Takes the same time for all of them.
        """
        found = _parse(form) or _parse(self._nobody)
        if found is None:
            return False
        log_n, r, p, salt, expected = found
        actual = await self._derive(password, log_n, r, p, salt)
        return hmac.compare_digest(actual, expected)

    def _form(self, salt: bytes, value: bytes) -> str:
        return f"scrypt${self._log_n}${_R}${self._p}${_text(salt)}${_text(value)}"

    async def _derive(self, password: str, log_n: int, r: int, p: int, salt: bytes) -> bytes:
        if self._waiting >= _MOST_WAITING:
            raise Unavailable("too many people sign in at once")
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(
                    hashlib.scrypt, password.encode("utf-8", "surrogatepass"), salt=salt,
                    n=1 << log_n, r=r, p=p, maxmem=_MOST_MEMORY, dklen=_HASH_BYTES,
                )  # fmt: skip
        finally:
            self._waiting -= 1


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _parse(form: str | None) -> tuple[int, int, int, bytes, bytes] | None:
    parts = (form or "").split("$")
    if len(parts) != 6 or parts[0] != "scrypt":
        return None
    try:
        log_n, r, p = map(int, parts[1:4])
        salt, value = (base64.b64decode(part, validate=True) for part in parts[4:])
    except ValueError:
        return None
    # A row that somebody altered must not choose our memory and time.
    if not (14 <= log_n <= 18 and r == 8 and 1 <= p <= 4 and len(value) == _HASH_BYTES):
        return None
    return log_n, r, p, salt, value
