"""RFC 5424 messages over TLS (RFC 5425), octet-counted.

Syslog acknowledges nothing. So a batch counts as delivered when the other machine's TCP has
acknowledged every byte, and `overlap` entries are sent again whenever the connection has ended,
whoever ended it: what a receiver that died had read and not yet written comes once more. What a
receiver may hold unwritten must be less than that; RELP has no such bound, and is the better way.
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

    async def _deliver(self, entries: Sequence[Entry]) -> None:
        if self._stream is None:
            self._stream = await self._address.connect()
        self._stream.check()
        self._stream.write(b"".join(self._framed(entry) for entry in entries))
        await self._stream.arrived()

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
