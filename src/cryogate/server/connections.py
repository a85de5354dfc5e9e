"""How long and how much one TCP connection may keep of us (P1).

uvicorn parses requests strictly, but it waits for ever: for the rest of a header, for a body that
comes a byte a minute, for a client that does not read its answer. Each such connection costs a
file descriptor, and a few thousand of them cost everybody the service. So:

 (1) headers must be complete within ``header_s`` of their first byte, or of the connection
 (2) a request must be complete within ``request_s``
 (3) a connection without a request in it is closed after ``idle_s``
 (4) an answer that nobody reads is given up after ``write_s``
 (5) headers and body are bounded in bytes, whatever the application does with them
 (6) at ``max_connections`` those that have waited longest without a request make room, so that a
     flood of idle connections cannot keep an honest client out
 (7) there is one reading of every request: what proxies are known to read differently is refused
     (request smuggling), and trailer fields are never taken for headers

One sweep a second looks at all connections: a request costs no timer of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_SWEEP_S: Final = 1.0
_RESET: Final = struct.pack("ii", 1, 0)
_VERSIONS: Final = ("1.1", "1.0")
_MAX_PIPELINE: Final = 16
_WATCHED: Final = frozenset({b"transfer-encoding", b"upgrade", b"host"})


class NotHttp(Exception):
    """A request that two parsers could read in two ways. The parser answers it with 400."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """See the module."""

    header_s: float = 10.0
    request_s: float = 30.0
    idle_s: float = 60.0
    write_s: float = 30.0
    max_head_bytes: int = 64 << 10
    max_body_bytes: int = 8 << 20
    max_connections: int = 4096


class Phase(IntEnum):
    """Where a connection is."""

    IDLE = 0  # answered everything so far
    HEAD = 1  # new, or in the middle of headers
    BODY = 2
    BUSY = 3  # the request is whole; the answer is our doing


class Watch:
    """All connections of one process."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._open: set[GuardedProtocol] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def protocol(self) -> type[GuardedProtocol]:
        """The protocol class to give to uvicorn: its connections belong to this watch."""
        return type("Protocol", (GuardedProtocol,), {"watch": self})

    def __len__(self) -> int:
        return len(self._open)

    def add(self, connection: GuardedProtocol) -> None:
        """A new connection; may cost older ones their place."""
        self._open.add(connection)
        self._loop = connection.loop
        if self._timer is None:
            self._timer = self._loop.call_later(_SWEEP_S, self._sweep)
        if len(self._open) > self.limits.max_connections:
            self._make_room(connection)

    def remove(self, connection: GuardedProtocol) -> None:
        """A connection that has ended."""
        self._open.discard(connection)

    def _make_room(self, newest: GuardedProtocol) -> None:
        # A twentieth at a time, so that sorting is not done for every connection of a flood.
        waiting = sorted((c for c in self._open if c.phase <= Phase.HEAD), key=lambda c: c.since)
        for connection in waiting[: max(1, len(self._open) // 20)] or (newest,):
            connection.cut()

    def _sweep(self) -> None:
        self._timer = None
        loop = self._loop
        if loop is None:
            return
        now = loop.time()
        for connection in tuple(self._open):
            if connection.overdue(now):
                connection.cut()
        if self._open:
            self._timer = loop.call_later(_SWEEP_S, self._sweep)


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 under a `Watch`; made by `Watch.protocol`."""

    watch: ClassVar[Watch]

    phase: Phase
    since: float

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol.connection_made`."""
        self.phase, self.since = Phase.HEAD, self.loop.time()
        self._head_bytes = self._body_bytes = 0
        self._unread_since: float | None = None
        HttpToolsProtocol.connection_made(self, transport)
        self.watch.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol.connection_lost`."""
        self.watch.remove(self)
        HttpToolsProtocol.connection_lost(self, exc)

    def overdue(self, now: float) -> bool:
        """Whether (1) to (4) say that this connection ends."""
        limits = self.watch.limits
        unread = self._unread_since
        if unread is not None and now - unread > limits.write_s:
            return True
        if self.phase is Phase.BUSY:
            return False
        bounds = (limits.idle_s, limits.header_s, limits.request_s)
        return now - self.since > bounds[self.phase]

    def cut(self) -> None:
        """End the connection without another word.

        With a reset: the kernel would otherwise keep trying to deliver what was written, for
        minutes and outside of our count, to a client that does not read.
        """
        self.watch.remove(self)
        sock = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):  # closed meanwhile
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol.data_received`."""
        if self.phase > Phase.HEAD:
            HttpToolsProtocol.data_received(self, data)
            return
        self._head_bytes += len(data)
        HttpToolsProtocol.data_received(self, data)
        # still no end of the headers: (5)
        if self.phase <= Phase.HEAD and self._head_bytes > self.watch.limits.max_head_bytes:
            self.cut()

    # -- the parser's callbacks; what they raise becomes a 400 and the end of the connection ----

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self.phase, self.since = Phase.HEAD, self.loop.time()
        HttpToolsProtocol.on_message_begin(self)

    def on_headers_complete(self) -> None:
        """All headers are there: the application is called, unless (7) forbids it."""
        headers, version = self.headers, self.parser.get_http_version()
        # llhttp has refused already: both lengths, a repeated or odd Content-Length, folded lines,
        # bare CR, LF or NUL, a space before the colon, and an encoding that does not end the body.
        hosts = 0
        for name, value in headers:
            if name in _WATCHED:
                if name == b"host":
                    hosts += 1
                elif name == b"upgrade":
                    raise NotHttp("nothing to upgrade to")
                elif value.lower() != b"chunked" or version != "1.1":
                    raise NotHttp("only 'chunked', and only in HTTP/1.1")
        if hosts != 1:
            raise NotHttp("exactly one Host")
        if self.url[:1] != b"/":
            raise NotHttp("only origin form: a URL or '*' as target names another host")
        if version not in _VERSIONS:
            raise NotHttp("HTTP/1.1 or 1.0")
        if len(self.pipeline) >= _MAX_PIPELINE:
            raise NotHttp("one read can hold thousands of small requests: (5)")
        self.phase = Phase.BODY
        self._head_bytes = self._body_bytes = 0
        HttpToolsProtocol.on_headers_complete(self)
        # The application has the list. Trailer fields, which come after the body and which proxies
        # let pass unseen, go into another one that nobody reads (7).
        self.headers = []

    def on_body(self, body: bytes) -> None:
        """A part of the body: counted even when nobody wants it any more (5)."""
        self._body_bytes += len(body)
        if self._body_bytes > self.watch.limits.max_body_bytes:
            raise NotHttp("larger than anything that is read here")
        HttpToolsProtocol.on_body(self, body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        HttpToolsProtocol.on_message_complete(self)
        if self.cycle.response_complete:
            self._rest()
        else:
            self.phase = Phase.BUSY

    def on_response_complete(self) -> None:
        """An answer is out; a queued request may follow."""
        last = not self.pipeline
        HttpToolsProtocol.on_response_complete(self)
        if last and self.phase is Phase.BUSY:
            self._rest()

    def _rest(self) -> None:
        self.phase, self.since, self._head_bytes = Phase.IDLE, self.loop.time(), 0

    def send_400_response(self, msg: str) -> None:
        """400, unless an earlier answer is on its way: two answers must never mix."""
        if getattr(self.cycle, "response_complete", True):  # None before the first request
            HttpToolsProtocol.send_400_response(self, msg)
        else:
            self.cut()

    def pause_writing(self) -> None:
        """The client does not read as fast as we write."""
        self._unread_since = self.loop.time()
        HttpToolsProtocol.pause_writing(self)

    def resume_writing(self) -> None:
        """It has caught up."""
        self._unread_since = None
        HttpToolsProtocol.resume_writing(self)

    def _unsupported_upgrade_warning(self) -> None:
        """Not worth a line in the log for each: anybody can cause it."""
