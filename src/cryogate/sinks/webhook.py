"""Batches as signed HTTP requests (Standard Webhooks), one entry a line.

The id names the entries, so a repeated batch has the id that it had.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryogate.outbound.standard_webhooks import secret_bytes, signature
from cryogate.ports.sinks import Entry, Sink
from cryogate.sinks.http import sent
from cryogate.sinks.setup import SinkSetup


class WebhookSink(Sink):
    """``webhook+https://host/path``; the token is the signing secret, ``whsec_…``."""

    def __init__(self, setup: SinkSetup) -> None:
        self._url, self._send, self._line = setup.https(), setup.send, setup.line
        self._now_ms, self._secret = setup.now_ms, secret_bytes(setup.secret())

    async def _deliver(self, entries: Sequence[Entry]) -> None:
        body = b"".join(self._line(entry) + b"\n" for entry in entries)
        first, last = entries[0], entries[-1]
        name = f"{first.origin}#{first.seq}-{last.seq}"
        stamp = str(self._now_ms() // 1000)
        headers = {
            "content-type": "application/x-ndjson",
            "webhook-id": name,
            "webhook-timestamp": stamp,
            "webhook-signature": signature(self._secret, name, stamp, body),
        }
        await sent(self._send, "POST", self._url, headers, body)
