"""What the protocol core and its transport say to each other: plain values, no I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from cryogate.domain.errors import Malformed

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_CONTROL = re.compile(r"[\x00-\x20\x7f-\U0010ffff]")
MAX_REPLY_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Call:
    """One API call. ``repeatable``: a lost answer may be answered by sending it again."""

    method: str
    path: str
    body: object = None
    repeatable: bool = True
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Send:
    """Send this and tell what came back. ``wait_s`` is how long the server may hold it."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    content: bytes | None = field(repr=False)
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Lost:
    """No answer. ``sent`` is False only when the server certainly never saw the request."""

    reason: str
    sent: bool


def origin_of(url: str, *, insecure_http: bool = False) -> str:
    """The server's origin: ``https://host[:port]``, or http on loopback.

    Raises:
        Malformed: not such a URL. Plain http elsewhere would show every request, and would let
            anyone on the way answer, so it must be asked for by name.
    """
    if _CONTROL.search(url):
        raise Malformed("malformed_url", "the server's URL has characters a URL cannot have")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise Malformed("malformed_url", "the server's URL cannot be read") from None
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc:
        raise Malformed("malformed_url", "the server's URL must be https://host[:port]")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise Malformed("malformed_url", "the server's URL is its origin only, without a path")
    if parts.scheme == "http" and host not in _LOOPBACK and not insecure_http:
        raise Malformed(
            "insecure_url",
            "plain http is for this machine only; use https, or insecure_http=True in a test",
        )
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{name}" + (f":{port}" if port is not None else "")
