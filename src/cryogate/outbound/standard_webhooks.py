"""Signatures of Standard Webhooks: HMAC-SHA256 over id, time and body.

A receiver can refuse what is forged, altered or old, and tell a repetition by its id.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

PREFIX = "whsec_"
MIN_SECRET_BYTES = 24


def secret_bytes(secret: str) -> bytes:
    """The key in ``whsec_…`` (base64).

    Raises:
        ValueError: another form, or fewer than 24 bytes.
    """
    text = secret.strip()
    if not text.startswith(PREFIX):
        raise ValueError("a webhook secret is whsec_ and base64")
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("a webhook secret is whsec_ and base64") from error
    if len(key) < MIN_SECRET_BYTES:
        raise ValueError(f"a webhook secret has at least {MIN_SECRET_BYTES} bytes")
    return key


def signature(key: bytes, message_id: str, stamp: str, body: bytes) -> str:
    """``webhook-signature`` of a message."""
    signed = f"{message_id}.{stamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
