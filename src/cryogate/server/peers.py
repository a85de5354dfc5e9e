"""The client's certificate of a request, from the one place where it can be believed (T6).

 (1) the connection comes from a configured proxy: the certificate is what its header says, and
     nothing else. The proxy's own certificate is the proxy's.
 (2) any other connection: the certificate is the connection's own, and the header means nothing,
     for anybody could have written it

The peer is the address of the socket. No header changes it: the server is started without
uvicorn's ``proxy_headers``.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final
from urllib.parse import unquote_to_bytes

from starlette.types import Scope

from cryogate.domain.errors import Unauthenticated
from cryogate.tokens import certificates
from cryogate.tokens.certificates import MAX_CHAIN, PeerCertificate
from cryogate.tokens.errors import MalformedToken

HEADER: Final = "client-cert"
CHAIN: Final = b"client-cert-chain"
_MAX_HEADER: Final = 24 << 10


class PeerCertificates:
    """``proxies`` are the networks of the proxies, ``header`` the field that they overwrite: as in
    RFC 9440 (``:base64 of DER:``), or URL-encoded PEM (nginx ``$ssl_client_escaped_cert``).
    """

    def __init__(
        self, proxies: Sequence[IPv4Network | IPv6Network] = (), header: str = HEADER
    ) -> None:
        self._proxies = tuple(proxies)
        self._header = header.lower().encode("ascii")

    def of(self, scope: Scope) -> PeerCertificate | None:
        """The certificate, or None.

        Raises:
            Unauthenticated: a proxy sent something that is not one certificate.
        """
        if self._by_proxy(scope):  # (1)
            return self._from_headers(scope)
        tls = scope.get("extensions", {}).get("tls")  # (2)
        found = None if tls is None else tls.get("cryogate.client_cert")
        return found if isinstance(found, PeerCertificate) else None

    def thumbprint(self, scope: Scope) -> str | None:
        """Its ``x5t#S256``."""
        found = self.of(scope)
        return None if found is None else found.thumbprint

    def _by_proxy(self, scope: Scope) -> bool:
        if not self._proxies or not scope.get("client"):
            return False
        try:
            peer = ip_address(scope["client"][0])
        except ValueError:
            return False
        return any(peer.version == net.version and peer in net for net in self._proxies)

    def _from_headers(self, scope: Scope) -> PeerCertificate | None:
        given = [value for name, value in scope["headers"] if name == self._header]
        if not given or given == [b""]:
            return None
        if len(given) != 1 or len(given[0]) > _MAX_HEADER:
            raise _unreadable()
        chains = [value for name, value in scope["headers"] if name == CHAIN]
        try:
            if not given[0].startswith(b":"):
                return PeerCertificate(certificates.load_pem(unquote_to_bytes(given[0])))
            if len(chains) > 1:
                raise _unreadable()
            chain = [_item(part.strip()) for part in chains[0].split(b",")] if chains else []
            if len(chain) > MAX_CHAIN:
                raise _unreadable()
            der = _item(given[0].strip())
            certificates.load(der)
            return PeerCertificate(der, tuple(chain))
        except (MalformedToken, binascii.Error, ValueError):
            raise _unreadable() from None


def _item(field: bytes) -> bytes:
    # RFC 8941 section 3.3.5: a byte sequence is base64 between colons
    if len(field) < 2 or not (field.startswith(b":") and field.endswith(b":")):
        raise ValueError("not a byte sequence")
    return base64.b64decode(field[1:-1], validate=True)


def _unreadable() -> Unauthenticated:
    return Unauthenticated(
        "malformed_certificate", "the proxy's certificate header is not readable"
    )
