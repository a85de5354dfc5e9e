"""Objects in S3 or what speaks its language: a batch an object, named by its entries.

A batch that is sent again has the name that it had. Signed with AWS Signature Version 4; the
object's SHA-256 is part of what is signed, so a changed byte is refused there.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, urlsplit

from cryogate.ports.sinks import Entry, Sink
from cryogate.sinks.http import sent
from cryogate.sinks.setup import SinkSetup

_PLACE: Final = re.compile(r"/[a-z0-9][a-z0-9.-]{2,62}(?:/[A-Za-z0-9._-]+)*/?", re.ASCII)
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9.-]")


class S3Sink(Sink):
    """``s3+https://endpoint/bucket/prefix``; `user` is the key's id, the token its secret."""

    batch = 1000
    linger_ms = 10_000

    def __init__(self, setup: SinkSetup) -> None:
        self._url = setup.https().rstrip("/")
        if _PLACE.fullmatch(urlsplit(self._url).path) is None:
            raise ValueError("write s3+https://endpoint/bucket/prefix")
        if not setup.user.isalnum() or not setup.region:
            raise ValueError("S3 needs user (the key's id) and region")
        self._send, self._line, self._now_ms = setup.send, setup.line, setup.now_ms
        self._user, self._region, self._secret = setup.user, setup.region, setup.secret()

    async def _deliver(self, entries: Sequence[Entry]) -> None:
        body = b"".join(self._line(entry) + b"\n" for entry in entries)
        first, last = entries[0], entries[-1]
        name = f"{_UNSAFE.sub('_', first.origin)}-{first.seq:016}-{last.seq:016}.jsonl"
        url = f"{self._url}/{name}"
        at = datetime.fromtimestamp(self._now_ms() / 1000, UTC)
        headers = signed("PUT", url, body, at, self._region, self._user, self._secret)
        await sent(self._send, "PUT", url, headers, body)


def signed(
    method: str, url: str, body: bytes, at: datetime, region: str, user: str, secret: str
) -> Mapping[str, str]:
    """The headers of a request to S3 without a query (Signature Version 4)."""
    parts = urlsplit(url)
    stamp = at.strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": parts.netloc, "x-amz-content-sha256": digest, "x-amz-date": stamp}
    names = ";".join(headers)
    listed = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = "\n".join((method, quote(parts.path), "", listed, names, digest))
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    request_hash = hashlib.sha256(request.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{request_hash}"
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    proof = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"Credential={user}/{scope}, SignedHeaders={names}, Signature={proof}"
    return {**headers, "authorization": f"AWS4-HMAC-SHA256 {credential}"}
