"""RFC 5424 messages over TLS (RFC 5425), octet-counted.

Syslog acknowledges nothing. So:

 (1) a batch counts as delivered when TCP has acknowledged every byte of it. That may be a machine
     on the way, or a kernel whose program never reads it
 (2) after half of `overlap` entries the connection is ended in order: the receiver's program
     confirms the end, and so that it has read everything. If it does not, the batch has failed
 (3) whenever a connection has ended otherwise, whoever ended it, `overlap` entries are sent again:
     all that was not confirmed, and as much again that the receiver may not have written yet

What a receiver holds in memory must be less than half of `overlap`. RELP has no such bound, and is
the better way.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from cryogate.ports.sinks import Entry, Sink
from cryogate.sinks.setup import SinkSetup
from cryogate.sinks.stream import Address, Stream
from cryogate.sinks.syslog_line import syslog_line

_PORT = 6514


class SyslogSink(Sink):
    """``syslog+tls://host:6514``."""

    batch = 100

    def __init__(self, setup: SinkSetup) -> None:
        self._address, self._line = Address(setup, _PORT), setup.line
        self.overlap = setup.overlap
        self._host = socket.gethostname()
        self._stream: Stream | None = None
        self._unconfirmed = 0

    async def _deliver(self, entries: Sequence[Entry]) -> None:
        if self._stream is None:
            self._stream, self._unconfirmed = await self._address.connect(), 0
        self._stream.check()
        self._stream.write(b"".join(self._framed(entry) for entry in entries))
        await self._stream.arrived()  # (1)
        self._unconfirmed += len(entries)
        if self._unconfirmed >= self.overlap // 2:  # (2)
            stream, self._stream = self._stream, None
            await stream.finish()

    def _framed(self, entry: Entry) -> bytes:
        message = syslog_line(entry, self._host, self._line)
        # the count decides where a message ends: nothing inside it can
        return b"%d %b" % (len(message), message)

    async def check(self) -> None:
        """See `Sink.check`."""
        if self._stream is not None:
            self._stream.check()

    async def close(self) -> None:
        """See `Sink.close`."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            await stream.close()
