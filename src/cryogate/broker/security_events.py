"""Security event tokens (SET, RFC 8417) as they are used here: types, subjects, one spelling."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from cryogate.ports.revocations import RevokedKind

TYPE: Final = "secevent+jwt"
MEDIA_TYPE: Final = "application/secevent+jwt"
CAEP: Final = "https://schemas.openid.net/secevent/caep/event-type/"
SESSION_REVOKED: Final = CAEP + "session-revoked"
CREDENTIAL_CHANGE: Final = CAEP + "credential-change"
VERIFICATION: Final = "https://schemas.openid.net/secevent/ssf/event-type/verification"


def subject(kind: RevokedKind, name: str, issuer: str) -> dict[str, str]:
    """``sub_id`` (RFC 9493) for what a revocation names."""
    match kind:
        case RevokedKind.TOKEN:
            return {"format": "jwt_id", "iss": issuer, "jti": name}
        case RevokedKind.AGENT:
            return {"format": "iss_sub", "iss": issuer, "sub": name}
        case RevokedKind.OWNER if "@" in name:
            return {"format": "email", "email": name}
        case _:
            return {"format": "opaque", "id": f"{kind.value}:{name}"}


def claims_of(
    kind: RevokedKind,
    name: str,
    reason: str,
    at_ms: int,
    rev_seq: int,
    *,
    issuer: str,
    audience: str,
    now_ms: int,
) -> dict[str, object]:
    """The claims of the SET that tells of a revocation.

    ``jti`` follows from what is told and to whom, so a SET that is sent twice is one event to its
    receiver (RFC 8417 section 2.2).
    """
    about = f"{issuer}\n{audience}\n{rev_seq}".encode()
    event: dict[str, object] = {
        "event_timestamp": at_ms // 1000,
        "initiating_entity": "admin",
        "reason_admin": {"en": reason[:512]},
    }
    event_type = SESSION_REVOKED
    if kind is RevokedKind.KEY:
        event_type = CREDENTIAL_CHANGE
        event |= {"credential_type": "jwk", "change_type": "revoke"}
    return {
        "iss": issuer,
        "aud": audience,
        "iat": now_ms // 1000,
        "jti": hashlib.sha256(about).hexdigest()[:32],
        "sub_id": subject(kind, name, issuer),
        "events": {event_type: event},
    }


def subject_in(claims: Mapping[str, object], event: Mapping[str, object]) -> Mapping[str, str]:
    """Whom a SET is about: ``sub_id``, or ``subject`` in the event as CAEP had it earlier."""
    found = claims.get("sub_id", event.get("subject"))
    if not isinstance(found, dict):
        return {}
    # A complex subject names the user beside the session and the device.
    user = found.get("user")
    plain = user if isinstance(user, dict) else found
    return {k: v for k, v in plain.items() if isinstance(v, str) and len(v) <= 512}
