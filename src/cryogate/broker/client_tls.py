"""Which of a client's credentials a certificate proves (RFC 8705 section 2).

 (1) the certificate is in its time
 (2) self-signed: it *is* a registered one, byte for byte, and proves nothing else
 (3) else one of the configured authorities vouches for it, and it carries a registered name

A SPIFFE ID counts only when it is the certificate's one and only URI, as the X.509-SVID
specification demands: a second one would make it two workloads at once.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from cryogate.broker.credentials import Held, NamedCertificate, OwnCertificate
from cryogate.tokens import certificates
from cryogate.tokens.certificates import Authorities, PeerCertificate


def matching(
    held: Sequence[Held], peer: PeerCertificate, authorities: Authorities | None, now_ms: int
) -> Held | None:
    """The credential that ``peer`` proves, or None.

    Raises:
        TokenError: the certificate cannot be read, or nobody vouches for it.
    """
    cert = certificates.load(peer.der)
    if not certificates.in_time(cert, now_ms):  # (1)
        return None
    if certificates.is_self_signed(cert):  # (2)
        shown = peer.thumbprint
        for one in held:
            if isinstance(one.credential, OwnCertificate) and hmac.compare_digest(one.kid, shown):
                return one
        return None
    if authorities is None:
        return None
    names = certificates.names(authorities.verify(peer, now_ms))  # (3)
    for one in held:
        if not isinstance(one.credential, NamedCertificate):
            continue
        name = one.credential.name()
        if name is None:
            continue
        kind, value = name
        found = names.get(kind, frozenset())
        if kind == "san_uri" and value.startswith("spiffe://") and len(found) != 1:
            continue
        if value in found:
            return one
    return None
