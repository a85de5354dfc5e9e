"""A connection to a receiver that is no HTTP server, with its name checked where it is TLS."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import ssl
import struct
import termios
from typing import Final

from cryogate.ports.sinks import SinkUnavailable
from cryogate.sinks.setup import SinkSetup

CONNECT_S: Final = 10.0
_UNACKNOWLEDGED_MS: Final = 20_000
_LOOK_S: Final = 0.002
_FINISH_S: Final = 10.0


class Stream:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self._writer = reader, writer

    def write(self, data: bytes) -> None:
        """Begin to send a batch. No waiting here: who sends waits for the acknowledgement of each
        batch, so no more than one is ever buffered.
        """
        self._writer.write(data)

    async def arrived(self) -> None:
        """Wait until the other machine has acknowledged every byte.

        Its kernel has them then, its program perhaps not yet. Seen twice, with a turn of the loop
        between: an empty kernel buffer is filled from ours in that turn, if ours holds anything.

        Raises:
            SinkUnavailable: the connection has ended.
        """
        sock: socket.socket = self._writer.get_extra_info("socket")
        seen = 0
        while seen < 2:
            self.check()
            waiting = self._writer.transport.get_write_buffer_size() or _outstanding(sock.fileno())
            seen = 0 if waiting else seen + 1
            await asyncio.sleep(_LOOK_S)
        self.check()

    def check(self) -> None:
        """Nothing, while the connection stands.

        Raises:
            SinkUnavailable: the other side has ended it.
        """
        if self.reader.at_eof() or self.reader.exception() or self._writer.is_closing():
            raise SinkUnavailable("the receiver has closed the connection")

    async def finish(self) -> None:
        """End a TLS connection in order, which proves that the other program has read all of it.

        It answers our close_notify only when it comes to it, after everything before; no kernel
        and nothing on the way can do that for it.

        Raises:
            SinkUnavailable: it did not answer.
        """
        tls: ssl.SSLObject | None = self._writer.get_extra_info("ssl_object")
        self._writer.close()
        try:
            async with asyncio.timeout(_FINISH_S):
                await self._writer.wait_closed()
            if tls is not None:
                # asyncio takes a bare end of the connection for a good one: only where the other's
                # close_notify has come can this succeed once more
                tls.unwrap()
        except (OSError, ssl.SSLError, TimeoutError) as error:
            raise SinkUnavailable("the receiver did not confirm what it has read") from error

    async def close(self) -> None:
        """End it, in order if the other side still listens."""
        self._writer.close()
        with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
            async with asyncio.timeout(1):
                await self._writer.wait_closed()


def _outstanding(fd: int) -> int:
    answer = fcntl.ioctl(fd, termios.TIOCOUTQ, b"\0" * 4)  # SIOCOUTQ on a socket
    found: int = struct.unpack("i", answer)[0]
    return found


class Address:
    """Where to connect. Made once, so that what is wrong is found at the start."""

    def __init__(self, setup: SinkSetup, default_port: int) -> None:
        self._host, self._port = setup.host(default_port)
        self._tls = setup.tls()

    async def connect(self) -> Stream:
        """A new connection.

        Raises:
            SinkUnavailable: there is none.
        """
        try:
            async with asyncio.timeout(CONNECT_S):
                reader, writer = await asyncio.open_connection(
                    self._host, self._port, ssl=self._tls
                )
        except (OSError, TimeoutError) as error:
            raise SinkUnavailable(f"cannot connect: {type(error).__name__}") from error
        sock: socket.socket = writer.get_extra_info("socket")
        # a peer that is gone without a word is noticed, also while there is nothing to send
        for level, option, value in (
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
            (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
            (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS),
        ):
            sock.setsockopt(level, option, value)
        return Stream(reader, writer)
