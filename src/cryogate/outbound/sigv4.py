"""AWS Signature Version 4, for the few calls that are made of AWS.

Why not an SDK: theirs retry by themselves, follow redirects to other regions, read answers of any
size, and block. A call that may cost money must do none of this (ADR 22). The signature itself is
four HMACs; AWS's own client proves in CI that it comes to the same.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, urlsplit

from cryogate.domain.secrets import Secret

_ALGORITHM: Final = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class AwsKeys:
    """A key pair; ``session_token`` goes with temporary ones."""

    access_key_id: str
    secret: Secret
    session_token: Secret | None = None


def sign(
    keys: AwsKeys,
    *,
    service: str,
    region: str,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    now_ms: int,
) -> dict[str, str]:
    """``headers`` and those that AWS needs. The URL's query must be sorted and encoded already."""
    at = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    parts = urlsplit(url)
    digest = hashlib.sha256(body).hexdigest()
    signed = {name.lower(): value for name, value in headers.items()}
    signed |= {"host": parts.netloc, "x-amz-date": at}
    if service == "s3":
        signed["x-amz-content-sha256"] = digest
    if keys.session_token is not None:
        signed["x-amz-security-token"] = keys.session_token.text()
    names = ";".join(sorted(signed))
    # S3 takes the path as it is; everybody else encodes it once more
    path = parts.path or "/"
    canonical_path = path if service == "s3" else quote(path, safe="/-_.~")
    lines = [f"{name}:{' '.join(signed[name].split())}\n" for name in sorted(signed)]
    request = "\n".join([method, canonical_path, parts.query, "".join(lines), names, digest])
    scope = f"{at[:8]}/{region}/{service}/aws4_request"
    hashed = hashlib.sha256(request.encode()).hexdigest()
    text = f"{_ALGORITHM}\n{at}\n{scope}\n{hashed}"
    key = b"AWS4" + keys.secret.reveal()
    for word in (at[:8], region, service, "aws4_request"):
        key = hmac.digest(key, word.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    authorization = (
        f"{_ALGORITHM} Credential={keys.access_key_id}/{scope}, SignedHeaders={names}, "
        f"Signature={signature}"
    )
    return {**signed, "authorization": authorization}
