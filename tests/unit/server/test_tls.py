"""The listener's certificate, and what a proxy may say about a client's."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import random
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.support.tls import Issued, authority, issue

from cryogate.domain.errors import Unauthenticated
from cryogate.outbound.addresses import networks
from cryogate.server.peers import PeerCertificates
from cryogate.server.tls import ServerTls
from cryogate.tokens.certificates import (
    Authorities,
    PeerCertificate,
    is_self_signed,
    load,
    names,
    require_self_signed,
)
from cryogate.tokens.errors import TokenError

PROXIES = networks(["10.0.0.0/24", "fd00::/64"])


async def _served(tls: ServerTls, ca: Issued) -> int:
    """The serial number of the certificate that a client is shown."""

    async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(ignore, "127.0.0.1", 0, ssl=tls.context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        context = ssl.create_default_context(cadata=ca.cert_pem.decode())
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        found: dict[str, Any] = writer.get_extra_info("peercert")
        writer.close()
        return int(found["serialNumber"], 16)


async def test_a_replaced_certificate_is_served_without_a_restart(tmp_path: Path) -> None:
    ca = authority()
    first, second = (issue("127.0.0.1", "127.0.0.1", issuer=ca) for _ in range(2))
    cert, key = first.write(tmp_path, "server")
    tls = ServerTls(str(cert), str(key))
    assert await _served(tls, ca) == first.cert.serial_number
    cert.write_bytes(second.cert_pem)  # the key has not come yet
    os.utime(cert, ns=(1, 1))
    tls.reload()
    assert await _served(tls, ca) == first.cert.serial_number
    second.write(tmp_path, "server")
    tls.reload()
    assert await _served(tls, ca) == second.cert.serial_number


async def test_a_required_certificate_is_required(tmp_path: Path) -> None:
    ca, clients = authority(), authority("Clients")
    cert, key = issue("127.0.0.1", "127.0.0.1", issuer=ca).write(tmp_path, "server")
    (tmp_path / "clients.pem").write_bytes(clients.cert_pem)
    tls = ServerTls(
        str(cert), str(key), client_certs="required", client_ca=str(tmp_path / "clients.pem")
    )
    shown: list[bytes | None] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shown.append(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
        writer.write(b"x")
        writer.close()

    mine = issue("agent", issuer=clients, client=True)
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls.context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        for made in (mine, None, issue("agent", client=True)):
            context = ssl.create_default_context(cadata=ca.cert_pem.decode())
            if made is not None:
                context.load_cert_chain(*made.write(tmp_path, "client"))
            with contextlib.suppress(ssl.SSLError, ConnectionError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
                assert await reader.read() in (b"x", b"")
                writer.close()
    assert shown == [mine.der]


def _scope(host: str, *headers: tuple[bytes, bytes], own: object = None) -> dict[str, Any]:
    extensions: Mapping[str, Any] = {"tls": {"cryogate.client_cert": own}}
    return {"client": (host, 1), "headers": list(headers), "extensions": extensions}


@pytest.mark.attack("T6")
def test_a_header_counts_only_from_a_proxy_and_there_nothing_else_does() -> None:
    made, own = issue("x", client=True), PeerCertificate(issue("own", client=True).der)
    said = (b"client-cert", b":" + base64.b64encode(made.der) + b":")
    peers = PeerCertificates(PROXIES)
    assert peers.of(_scope("10.0.0.7", said, own=own)) == PeerCertificate(made.der)
    assert peers.of(_scope("fd00::7", said)) == PeerCertificate(made.der)
    assert peers.of(_scope("10.0.0.7", own=own)) is None
    for host in ("10.0.1.7", "127.0.0.1", "::ffff:10.0.0.7", "testclient", ""):
        assert peers.of(_scope(host, said, own=own)) is own
        assert peers.of(_scope(host, said)) is None
    assert PeerCertificates().of(_scope("10.0.0.7", said)) is None


@pytest.mark.attack("T6")
@pytest.mark.parametrize(
    "value", [b":*:", b":AAAA", b"AAAA", b"::", b":" + b"A" * 40_000 + b":", b"%2D%2D", b"\xff"]
)
def test_what_is_no_certificate_in_a_proxys_header_is_refused(value: bytes) -> None:
    peers = PeerCertificates(PROXIES)
    with pytest.raises(Unauthenticated):
        peers.of(_scope("10.0.0.7", (b"client-cert", value)))
    twice = [(b"client-cert", b":AAAA:")] * 2
    with pytest.raises(Unauthenticated):
        peers.of(_scope("10.0.0.7", *twice))


@pytest.mark.attack("T6")
@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_a_bent_certificate_is_refused_and_nothing_else_happens() -> None:
    ca = authority()
    sound = [
        issue("x", "spiffe://a/b", "x.example", "192.0.2.1", issuer=ca, client=True).der,
        issue("own", client=True).der,
    ]
    signed = [load(der).tbs_certificate_bytes for der in sound]
    believed, dice, now_ms = Authorities(ca.cert_pem), random.Random(6), time.time_ns() // 10**6
    for _ in range(3000):
        bent = bytearray(dice.choice(sound))
        for _ in range(dice.choice((1, 1, 2, 4))):
            place = dice.randrange(len(bent))
            bent[place] = dice.choice((0, 1, 255, bent[place] ^ (1 << dice.randrange(8))))
        peer = PeerCertificate(bytes(bent))
        if peer.der in sound:
            continue
        with contextlib.suppress(TokenError):
            is_self_signed(load(peer.der))
        # A signature has more than one spelling, and that alone may differ: what was signed is the
        # same, and the thumbprint is another.
        with contextlib.suppress(TokenError):
            assert require_self_signed(peer.der, now_ms).tbs_certificate_bytes in signed
        with contextlib.suppress(TokenError):
            assert believed.verify(peer, now_ms).tbs_certificate_bytes in signed


def test_names_in_a_certificate() -> None:
    made = issue("x", "spiffe://a/b", "X.Example", "192.0.2.1", issuer=authority(), client=True)
    found = names(made.cert)
    assert found["san_uri"] == {"spiffe://a/b"}
    assert found["san_dns"] == {"x.example"}
    assert found["san_ip"] == {"192.0.2.1"}
    assert found["subject_dn"] == {"CN=x"}
