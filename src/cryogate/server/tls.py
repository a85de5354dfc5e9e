"""Native TLS: the server's certificate, and the client's, handed to the application.

 (1) TLS 1.3 only; nobody has to be served that cannot speak it
 (2) a client's certificate is asked for where that is configured, and one that leads to no anchor
     ends the handshake. Anchors are the configured authorities, and the self-signed certificates
     that were registered: OpenSSL knows no other way to take those
 (3) an anchor of the second kind can vouch for nothing but itself: registration refuses one that
     could sign others (`certificates.require_self_signed`), and the broker builds its own path
     from the authorities alone
 (4) certificate and key are read again when their files change, so that short-lived ones can be
     replaced while we serve; a pair that does not fit is logged, and the old one serves on
 (5) anchors are only added. One that was removed from its agent opens a connection and no more

uvicorn gives the application no certificate. Its protocol class is public, and the handshake is
over when `connection_made` is called, so a subclass can put it into the scope.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from cryogate.tokens.certificates import PeerCertificate

log = logging.getLogger("cryogate.server")


class ServerTls:
    """The TLS side of one listener. ``client_certs`` is ``off``, ``optional`` or ``required``."""

    def __init__(
        self, cert: str, key: str, *, client_certs: str = "off", client_ca: str = ""
    ) -> None:
        self.context = context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3  # (1)
        self._cert, self._key = cert, key
        self._seen = self._times()
        context.load_cert_chain(cert, key)
        self._asks = client_certs != "off"
        self._trusted: set[bytes] = set()
        if self._asks:  # (2)
            required = client_certs == "required"
            context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
            context.verify_flags |= ssl.VERIFY_X509_STRICT
            if client_ca:
                context.load_verify_locations(cafile=client_ca)

    async def follow(self, every_s: float) -> None:
        """Step (4), for ever."""
        while True:
            await asyncio.sleep(every_s)
            self.reload()

    def reload(self) -> None:
        """Read certificate and key again, if a file has changed."""
        try:
            now = self._times()
            if now == self._seen:
                return
            # first into a context of its own: half a change must not reach the one that serves
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._cert, self._key)
            self.context.load_cert_chain(self._cert, self._key)
            self._seen = now
            log.info("the server's certificate was read again")
        except (OSError, ValueError):
            log.warning("the server's new certificate cannot be used yet", exc_info=True)

    def _times(self) -> tuple[int, ...]:
        return tuple(Path(name).stat().st_mtime_ns for name in (self._cert, self._key))

    def trust(self, certificates: Iterable[bytes]) -> None:
        """Take these self-signed certificates (DER) in handshakes from now on."""
        for der in certificates:
            if not self._asks or der in self._trusted:
                continue
            try:
                self.context.load_verify_locations(cadata=der)
            except ssl.SSLError as error:
                log.warning("a registered certificate cannot be an anchor: %s", error.reason)
            self._trusted.add(der)


class CertificateMixin(HttpToolsProtocol):
    """Puts the client's certificate into ``scope["extensions"]["tls"]``; see `PeerCertificates`."""

    _peer: PeerCertificate | None = None
    _tls = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol.connection_made`."""
        super().connection_made(transport)
        connection: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        if connection is not None:
            self._tls = True
            der = connection.getpeercert(binary_form=True)
            if der is not None:
                self._peer = PeerCertificate(der, _sent_along(connection))

    def on_message_begin(self) -> None:
        """See `httptools.HttpRequestParser`."""
        super().on_message_begin()
        if self._tls:
            extensions = self.scope.setdefault("extensions", {})
            extensions["tls"] = {"cryogate.client_cert": self._peer}


def with_certificates(base: type[HttpToolsProtocol]) -> type[HttpToolsProtocol]:
    """``base`` with `CertificateMixin` in front of it."""
    return type("CertifiedProtocol", (CertificateMixin, base), {})


def _sent_along(connection: Any) -> tuple[bytes, ...]:
    # Since Python 3.13. Before, intermediates belong into the file of authorities.
    chain = getattr(connection, "get_unverified_chain", None)
    return () if chain is None else tuple(chain()[1:])


def event_loop(handshake_s: float) -> asyncio.AbstractEventLoop:
    """uvloop whose listeners give up a TLS handshake after ``handshake_s`` seconds (P1).

    A connection is watched from its handshake on; before it, only this bounds how long somebody
    may hold a descriptor. asyncio's own bound is a minute, and uvicorn has no setting for it.
    """
    import uvloop

    class Loop(uvloop.Loop):
        async def create_server(self, *args: Any, **kwargs: Any) -> Any:
            if kwargs.get("ssl") is not None:
                kwargs.setdefault("ssl_handshake_timeout", handshake_s)
            return await super().create_server(*args, **kwargs)

    return Loop()
