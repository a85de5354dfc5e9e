"""P1 and P3 on the wire: a real server process, spoken to in bytes."""

from __future__ import annotations

import contextlib
import resource
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import httpx
import pytest
from tests.support.process import ServerProcess, running
from tests.support.tls import issue

CONNECTIONS = 600
_PATIENCE_S = 20.0
FORM = (
    b"POST /oauth2/token HTTP/1.1\r\nHost: {host}\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running(
        tmp_path_factory.mktemp("http"),
        server__header_timeout_s=1,
        server__request_timeout_s=1,
        server__max_connections=CONNECTIONS,
        server__max_body_bytes=65_536,
        circuits__workers=0,
    ) as started:
        yield started


class Wire:
    """A connection of which every byte is the test's."""

    def __init__(self, server: ServerProcess, receive_buffer: int | None = None) -> None:
        host, port = server.address
        self._host = f"{host}:{port}"
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(_PATIENCE_S)
        self.socket.connect(server.address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, text: bytes) -> None:
        self.socket.sendall(text.replace(b"{host}", self._host.encode()))

    def until_closed(self) -> bytes:
        """Everything that comes until the server ends the connection."""
        got = b""
        with contextlib.suppress(ConnectionError):
            while part := self.socket.recv(65_536):
                got += part
        return got

    def answer(self) -> bytes:
        """What comes first."""
        try:
            return self.socket.recv(65_536)
        except ConnectionError:
            return b""

    def drip(self, text: bytes, every_s: float = 0.2) -> float:
        """Send ``text`` again and again until the server has had enough; seconds it took."""
        began = time.monotonic()
        try:
            while time.monotonic() - began < _PATIENCE_S:
                self.send(text)
                time.sleep(every_s)
        except ConnectionError:
            return time.monotonic() - began
        raise AssertionError("the server let a slow client go on")


def healthy(server: ServerProcess) -> bool:
    answer = httpx.get(f"{server.url}/healthz", timeout=_PATIENCE_S, trust_env=False)
    return answer.status_code == 200


# -- slow clients --------------------------------------------------------------------------------


@pytest.mark.attack("P1")
@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"", b"\r\n"),
        (b"GET /healthz HTTP/1.1\r\nHost: {host}\r\n", b"X-A: b\r\n"),
        (FORM + b"Content-Length: 60000\r\n\r\n", b"a"),
        (b"POST /v1/jobs HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n",
         b"1\r\na\r\n"),
    ],
    ids=["nothing", "headers", "body", "body-nobody-reads"],
)  # fmt: skip
def test_a_slow_client_is_given_up(server: ServerProcess, start: bytes, more: bytes) -> None:
    with Wire(server) as wire:
        wire.send(start)
        wire.drip(more)
    assert healthy(server)


@pytest.mark.attack("P1")
def test_a_silent_client_is_given_up(server: ServerProcess) -> None:
    with Wire(server) as wire:
        assert wire.until_closed() == b""


@pytest.mark.attack("P1")
def test_a_client_that_never_reads_is_given_up(server: ServerProcess) -> None:
    with Wire(server, receive_buffer=2048) as wire:
        # few enough at a time not to be a flood; their answers fill every buffer between us
        wire.drip(b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: {host}\r\n\r\n" * 4, 0.004)
    assert healthy(server)


@pytest.mark.attack("P1")
def test_a_tls_handshake_that_never_comes_is_given_up(tmp_path: Path) -> None:
    cert, key = issue("server", "127.0.0.1").write(tmp_path, "server")
    with running(
        tmp_path, server__tls_cert=str(cert), server__tls_key=str(key), circuits__workers=0,
        server__header_timeout_s=1,
    ) as server:  # fmt: skip
        assert server.url.startswith("https://")
        with Wire(server) as wire:
            assert wire.until_closed() == b""
        with Wire(server) as wire:
            wire.send(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a hello
            assert wire.until_closed() == b""
        answer = httpx.get(
            f"{server.url}/console/login", trust_env=False,
            verify=ssl.create_default_context(cafile=cert),
        )  # fmt: skip
        assert answer.headers["set-cookie"].startswith("__Host-cryogate-form=")
        assert "; Secure" in answer.headers["set-cookie"]
        # the name is everybody's on this machine
        assert "strict-transport-security" not in answer.headers


# -- many connections ----------------------------------------------------------------------------


@pytest.mark.attack("P1")
def test_idle_connections_by_the_thousand_keep_nobody_out(server: ServerProcess) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    before = server.descriptors()
    with contextlib.ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(2500):
            stack.enter_context(socket.create_connection(server.address))
        assert healthy(server)
        assert server.descriptors() <= before + CONNECTIONS + 20
    assert healthy(server)


@pytest.mark.attack("P1")
def test_a_flood_of_pipelined_requests_costs_one_connection(server: ServerProcess) -> None:
    with Wire(server) as wire, contextlib.suppress(ConnectionError):
        wire.send(b"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n" * 2000)
        assert wire.until_closed().count(b"200 OK") < 100
    assert healthy(server)


# -- too much ------------------------------------------------------------------------------------


@pytest.mark.attack("P1")
def test_headers_without_end_are_cut(server: ServerProcess) -> None:
    with Wire(server) as wire, contextlib.suppress(ConnectionError):
        wire.send(b"GET /healthz HTTP/1.1\r\nHost: {host}\r\n")
        for _ in range(2000):
            wire.send(b"X-Filler: " + b"a" * 1000 + b"\r\n")
        pytest.fail("two megabytes of headers were taken")
    assert healthy(server)


@pytest.mark.attack("P1")
@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\nHost: {host}\r\nX-A: " + b"a" * 40_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\nHost: {host}\r\n\r\n",
    ],
    ids=["header", "path"],
)
def test_oversized_headers_and_paths_are_refused(server: ServerProcess, head: bytes) -> None:
    with Wire(server) as wire:
        wire.send(head)
        assert wire.answer().startswith(b"HTTP/1.1 431 ")


@pytest.mark.attack("P1")
def test_a_large_body_is_refused_and_an_endless_one_cut(server: ServerProcess) -> None:
    with Wire(server) as wire:
        wire.send(FORM + b"Content-Length: 999999999\r\n\r\n")
        assert wire.answer().startswith(b"HTTP/1.1 413 ")
    with Wire(server) as wire:
        wire.send(FORM + b"Transfer-Encoding: chunked\r\n\r\n")
        wire.drip(b"4000\r\n" + b"a" * 0x4000 + b"\r\n", 0.0)
    assert healthy(server)


# -- one reading of every request ----------------------------------------------------------------

POST = b"POST /oauth2/token HTTP/1.1\r\nHost: {host}\r\n"
GET = b"GET /healthz HTTP/1.1\r\nHost: {host}\r\n"
HIDDEN = b"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n"

SMUGGLED = {
    "both lengths": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "the other way": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: 40\r\n\r\n",
    "one length twice": POST + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "list of lengths": POST + b"Content-Length: 0, 0\r\n\r\n",
    "signed length": POST + b"Content-Length: +0\r\n\r\n",
    "hexadecimal length": POST + b"Content-Length: 0x0\r\n\r\n",
    "length beyond 64 bit": POST + b"Content-Length: 18446744073709551616\r\n\r\n",
    "unknown encoding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "chunked not last": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "another encoding inside": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "encoding twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    "space before colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "folded encoding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "folded header": GET + b"X-A: b\r\n c\r\n\r\n",
    "chunked in 1.0": POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bare line feeds": (GET + b"\r\n").replace(b"\r\n", b"\n"),
    "bare carriage return": GET + b"X-A: b\rX-B: c\r\n\r\n",
    "NUL": GET + b"X-A: b\0c\r\n\r\n",
    "chunk size with 0x": POST + b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
    "chunk size beyond 64 bit": POST + b"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n",
    "chunk ended by line feed": POST + b"Transfer-Encoding: chunked\r\n\r\n0;a\n\n",
    "two hosts": GET + b"Host: evil.example\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "a URL as target": GET.replace(b" /", b" http://evil.example/") + b"\r\n",
    "a URL of ours as target": GET.replace(b" /", b" http://{host}/") + b"\r\n",
    "CONNECT": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "upgrade to HTTP/2": GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
    "HTTP/2 in clear": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "unknown version": GET.replace(b"1.1", b"2.0") + b"\r\n",
}  # fmt: skip


@pytest.mark.attack("P1")
@pytest.mark.parametrize("text", SMUGGLED.values(), ids=SMUGGLED.keys())
def test_what_proxies_may_read_differently_is_refused(server: ServerProcess, text: bytes) -> None:
    with Wire(server) as wire:
        wire.send(text + HIDDEN)
        answer = wire.until_closed()
    # refused; or, where the application had been called already, ended without a word
    assert not answer or answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") <= 1


@pytest.mark.attack("P1")
def test_trailer_fields_are_no_headers(server: ServerProcess) -> None:
    # A proxy strips or sets headers and lets trailers pass: they must not count as what it checked.
    with Wire(server) as wire:
        wire.send(
            b"GET /healthz HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n"
            b"Connection: close\r\n\r\n0\r\nHost: evil.example\r\n\r\n"
        )
        assert wire.until_closed().startswith(b"HTTP/1.1 200 ")


@pytest.mark.attack("P1")
def test_honest_clients_pipeline_and_stay(server: ServerProcess) -> None:
    with Wire(server) as wire:
        wire.send(HIDDEN * 3)
        got = b""
        while got.count(b'"status":"ok"') < 3:
            got += wire.answer()
        wire.send(POST + b"Content-Type: x/y\r\nTransfer-Encoding: chunked\r\n\r\n"
                  b"1\r\na\r\n0\r\n\r\n" + HIDDEN)  # fmt: skip
        got = b""
        while b'"status":"ok"' not in got:
            got += wire.answer()
        assert got.startswith(b"HTTP/1.1 400 ")  # the form's content type, in our own words
        assert b"invalid_request" in got


# -- other names, other sites --------------------------------------------------------------------


@pytest.mark.attack("P3")
@pytest.mark.parametrize("path", ["/healthz", "/v1/jobs", "/admin/v1/agents", "/oauth2/token"])
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1.nip.example:{port}",
             "localhost.:{port}", "0.0.0.0:{port}", "127.1:{port}"],
)  # fmt: skip
def test_only_our_own_names_are_answered(server: ServerProcess, path: str, host: str) -> None:
    name = host.replace("{port}", str(server.address[1]))
    answer = httpx.get(server.url + path, headers={"host": name}, trust_env=False)
    assert answer.status_code == 421


@pytest.mark.attack("P3")
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1:{port}", "http://127.0.0.1",
               "http://127.0.0.1:1", "http://127.0.0.1:{port}.evil.example", ""],
)  # fmt: skip
def test_pages_of_other_sites_get_no_answer(server: ServerProcess, origin: str) -> None:
    name = origin.replace("{port}", str(server.address[1]))
    for method, path in (("GET", "/healthz"), ("POST", "/oauth2/token"), ("OPTIONS", "/v1/jobs")):
        answer = httpx.request(method, server.url + path, headers={"origin": name}, trust_env=False)
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.attack("P1")
def test_a_path_cannot_forge_a_line_of_the_log(server: ServerProcess) -> None:
    answer = httpx.get(server.url + "/v1/jobs/%0aERROR%20forged", trust_env=False)
    assert answer.status_code == 400
