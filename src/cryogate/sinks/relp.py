"""The Reliable Event Logging Protocol, as rsyslog documents it: every message is answered.

A frame is ``TXNR SP COMMAND SP LENGTH [SP DATA] LF``. The answer to a transaction has its number,
the command ``rsp``, and data that begins with a status, 200 for yes. A batch is delivered when
each of its messages has been answered so.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Final

from cryogate.ports.sinks import Entry, Sink, SinkUnavailable
from cryogate.sinks.setup import SinkSetup
from cryogate.sinks.stream import Address, Stream
from cryogate.sinks.syslog_line import syslog_line

_PORT: Final = 20514
_WINDOW: Final = 128
_LAST_NUMBER: Final = 999_999_999
_MAX_ANSWER: Final = 4096
_ANSWER_S: Final = 30.0
_OFFER: Final = b"relp_version=0\nrelp_software=cryogate\ncommands=syslog"


def frame(number: int, command: bytes, data: bytes) -> bytes:
    """One frame."""
    return b"%d %b %d%b\n" % (number, command, len(data), b" " + data if data else b"")


class RelpSink(Sink):
    """``relp+tls://host:20514``."""

    batch = _WINDOW

    def __init__(self, setup: SinkSetup) -> None:
        self._address, self._line = Address(setup, _PORT), setup.line
        self._host = socket.gethostname()
        self._stream: Stream | None = None
        self._number = 0

    async def _deliver(self, entries: Sequence[Entry]) -> None:
        stream = self._stream
        if stream is None:
            stream = await self._connect()
        first = self._number + 1
        if first + len(entries) > _LAST_NUMBER:
            await self.close()
            raise SinkUnavailable("the connection has used up its numbers")
        lines = [syslog_line(entry, self._host, self._line) for entry in entries]
        data = b"".join(frame(n, b"syslog", line) for n, line in enumerate(lines, first))
        self._number += len(entries)
        open_numbers = set(range(first, first + len(entries)))
        async with asyncio.timeout(_ANSWER_S):
            stream.write(data)
            while open_numbers:
                number = await _answer(stream.reader)
                if number not in open_numbers:
                    raise SinkUnavailable("the receiver answered what was not asked")
                open_numbers.remove(number)

    async def _connect(self) -> Stream:
        stream = await self._address.connect()
        try:
            async with asyncio.timeout(_ANSWER_S):
                stream.write(frame(1, b"open", _OFFER))
                if await _answer(stream.reader) != 1:
                    raise SinkUnavailable("the receiver did not answer the offer")
        except BaseException:
            await stream.close()
            raise
        self._stream, self._number = stream, 1
        return stream

    async def check(self) -> None:
        """See `Sink.check`: what was taken was answered, so only the connection is begun anew."""
        if self._stream is not None:
            self._stream.check()

    async def close(self) -> None:
        """See `Sink.close`."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            await stream.close()


async def _answer(reader: asyncio.StreamReader) -> int:
    """The number of the next transaction that was taken.

    Raises:
        SinkUnavailable: it was not, the session ends, or this is no RELP.
    """
    number = await _word(reader, b" ", 9)
    command = await _word(reader, b" ", 16)
    # a length of zero may be followed by the end of the frame at once
    length = await _word(reader, b" \n", 6)
    if not number.isdigit() or not length[:-1].isdigit():
        raise SinkUnavailable("the receiver does not speak RELP")
    size = int(length[:-1])
    if size > _MAX_ANSWER:
        raise SinkUnavailable("the receiver's answer is too long")
    data = b""
    if length.endswith(b" "):
        data = await reader.readexactly(size)
        if await reader.readexactly(1) != b"\n":
            raise SinkUnavailable("the receiver does not speak RELP")
    if command != b"rsp" or data[:3] != b"200":
        raise SinkUnavailable(f"the receiver said {command[:16]!r} {data[:3]!r}")
    return int(number)


async def _word(reader: asyncio.StreamReader, ends: bytes, most: int) -> bytes:
    """Up to one of ``ends``; with it where there are several."""
    found = b""
    while len(found) <= most:
        byte = await reader.readexactly(1)
        if byte in ends:
            return found + byte if len(ends) > 1 else found
        found += byte
    raise SinkUnavailable("the receiver does not speak RELP")
