"""A few calls to a bucket of S3, or of what speaks its language (path style, Signature Version 4).

Keys and parameters are ours, answers are not: they are bounded by the fetcher, and only their
status, their ETag and their body are read.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, urlsplit

from cryogate.outbound.fetcher import Answer
from cryogate.outbound.sigv4 import AwsKeys, sign

Send = Callable[[str, str, Mapping[str, str], bytes | None], Awaitable[Answer]]
_PLACE: Final = re.compile(r"/[a-z0-9][a-z0-9.-]{2,62}(?:/[A-Za-z0-9._-]+)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Bucket:
    """``url`` is ``https://endpoint/bucket``, or with a prefix for all keys after it."""

    url: str
    region: str
    keys: AwsKeys = field(repr=False)
    send: Send
    now_ms: Callable[[], int]

    async def get(self, key: str) -> Answer:
        """The object at ``key``; 404 if there is none."""
        return await self._call("GET", key, {}, b"")

    async def put(self, key: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Write the object at ``key``."""
        return await self._call("PUT", key, headers, body)

    async def about(self, parameter: str) -> Answer:
        """What the bucket says of itself, such as ``object-lock``."""
        parts = urlsplit(self.url)
        root = f"{parts.scheme}://{parts.netloc}/{parts.path.split('/')[1]}"
        return await self._send("GET", f"{root}?{quote(parameter)}=", {}, b"")

    async def _call(self, method: str, key: str, headers: Mapping[str, str], body: bytes) -> Answer:
        return await self._send(method, f"{self.url}/{quote(key)}", headers, body)

    async def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        signed = sign(
            self.keys, service="s3", region=self.region, method=method, url=url,
            headers=headers, body=body, now_ms=self.now_ms(),
        )  # fmt: skip
        return await self.send(method, url, signed, body if method == "PUT" else None)


def place(url: str) -> str:
    """The https URL in ``s3+https://endpoint/bucket/prefix`` (``s3+http`` for this machine).

    Raises:
        ValueError: another spelling.
    """
    kind, _, rest = url.partition("+")
    parts = urlsplit(rest)
    path = parts.path.rstrip("/")
    if kind != "s3" or parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("write s3+https://endpoint/bucket/prefix")
    if parts.query or parts.fragment or "@" in parts.netloc or _PLACE.fullmatch(path) is None:
        raise ValueError("write s3+https://endpoint/bucket/prefix, without a query")
    return f"{parts.scheme}://{parts.netloc}{path}"
