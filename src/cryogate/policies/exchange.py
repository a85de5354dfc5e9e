"""One bounded question to a policy server over HTTP/1.1: late, large or odd is no answer.

A decision waits for this, so it is no general client: a POST of JSON on a kept connection, an
answer with status 200 and a known length. Why it is safe:

 (1) the whole of it has one deadline, and an answer of more than `MAX_ANSWER_BYTES` is none
 (2) no redirect is followed, no proxy of the environment used, no compression accepted: the answer
     comes from the configured server, as it was sent, or there is none
 (3) a connection carries one question at a time, and is used again only after a complete answer
     with nothing behind it; so no answer is ever of another question
 (4) a kept connection that the server closed meanwhile is replaced, once, and only if not a byte
     of an answer had come: asking twice changes nothing
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Final, cast
from urllib.parse import urlsplit

import httptools

from cryogate.policies.answer import MAX_ANSWER_BYTES, MalformedAnswer

_MOST_HEADER_BYTES: Final = 32 << 10
_KEPT: Final = 16


class Exchange:
    """Posts JSON and reads a JSON answer. ``timeout_ms`` bounds the whole of it."""

    def __init__(self, base_url: str, timeout_ms: int) -> None:
        url = urlsplit(base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError("a policy server has an http or https URL")
        self._timeout_s = timeout_ms / 1000
        self._host, self._netloc = url.hostname, url.netloc.rpartition("@")[2]
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._prefix = url.path.rstrip("/")
        self._tls = ssl.create_default_context() if url.scheme == "https" else None
        self._idle: list[_Connection] = []

    async def post(
        self, path: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> tuple[bytes, Mapping[str, str]]:
        """The answer's bytes, and its headers by lower-case name.

        Raises:
            MalformedAnswer: another status, a compressed, huge or broken answer.
            TimeoutError: late.
            OSError: no connection.
        """
        head = (
            f"POST {self._prefix}{path} HTTP/1.1\r\nHost: {self._netloc}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Accept-Encoding: identity\r\n"
        )
        more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        request = f"{head}{more}\r\n".encode("ascii") + body
        async with asyncio.timeout(self._timeout_s):  # (1)
            return await self._ask(request)

    async def _ask(self, request: bytes) -> tuple[bytes, Mapping[str, str]]:
        while self._idle:
            kept = self._idle.pop()
            if kept.closed:
                continue
            try:
                return await self._on(kept, request)
            except ConnectionError:
                if kept.began:
                    raise
                break  # (4)
        return await self._on(await self._connect(), request)

    async def _connect(self) -> _Connection:
        _, made = await asyncio.get_running_loop().create_connection(
            _Connection, self._host, self._port, ssl=self._tls
        )
        return made

    async def _on(self, connection: _Connection, request: bytes) -> tuple[bytes, Mapping[str, str]]:
        complete = False
        try:
            status, headers, body = await connection.ask(request)
            if status != 200:  # (2)
                raise MalformedAnswer(f"the policy server answered {status}")
            if "content-encoding" in headers:
                raise MalformedAnswer("the policy server compressed its answer, unasked")
            complete = True
            return body, headers
        finally:
            # (3) also when the caller went away in mid-answer
            kept = connection.reusable and not connection.closed and len(self._idle) < _KEPT
            if complete and kept:
                self._idle.append(connection)
            else:
                connection.close()

    async def close(self) -> None:
        """Close the connections."""
        while self._idle:
            self._idle.pop().close()


class _Connection(asyncio.Protocol):
    """One connection, and the answer that it waits for."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[int, dict[str, str], bytes]] | None = None
        self._fresh()
        self.closed = False
        self.reusable = False

    def _fresh(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._received = 0
        self._complete = False
        self.began = False

    async def ask(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send a request and wait for status, headers and body."""
        if self._transport is None or self.closed:
            raise ConnectionResetError("the connection is closed")
        self._fresh()
        self.reusable = False
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Close, whatever is on the way."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self.began = True
        self._received += len(data)
        if self._answer is None or self._answer.done():
            self.close()  # (3) bytes that nobody asked for
        elif self._received > MAX_ANSWER_BYTES + _MOST_HEADER_BYTES:
            self._fail(MalformedAnswer("the policy server's answer is too large"))
        else:
            try:
                self._parser.feed_data(data)
            except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
                self._fail(MalformedAnswer(f"the policy server speaks no HTTP: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.closed = True
        self._fail(ConnectionResetError("the policy server closed the connection"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, chunk: bytes) -> None:
        """See httptools."""
        self._body += chunk

    def on_message_complete(self) -> None:
        """See httptools."""
        if self._complete:
            self.close()  # (3) a second answer behind the first
            return
        self._complete = True
        if self._answer is None or self._answer.done():
            return
        if len(self._body) > MAX_ANSWER_BYTES:
            self._fail(MalformedAnswer("the policy server's answer is too large"))
            return
        self.reusable = bool(self._parser.should_keep_alive())
        found = (self._parser.get_status_code(), self._headers, bytes(self._body))
        self._answer.set_result(found)

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        self.close()
