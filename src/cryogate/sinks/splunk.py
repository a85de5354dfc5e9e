"""Splunk's HTTP Event Collector, with indexer acknowledgement.

Its 200 comes before anything is indexed, and a restart in between loses the events. So the token
must have acknowledgement switched on: a batch is delivered when the indexer says so.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from typing import Final

from cryogate.ports.sinks import Entry, EntryRefused, Sink, SinkUnavailable
from cryogate.sinks.formats.facts import compact, epoch_ms
from cryogate.sinks.http import read_object, sent
from cryogate.sinks.setup import SinkSetup

_WAIT_S: Final = 50.0
_FIRST_LOOK_S, _LAST_LOOK_S = 0.05, 1.0


class SplunkSink(Sink):
    """``splunk+https://host:8088``; the token is the collector's."""

    def __init__(self, setup: SinkSetup) -> None:
        self._url = setup.https().rstrip("/")
        self._send, self._line = setup.send, setup.line
        self._channel = str(uuid.uuid4())
        self._headers: Mapping[str, str] = {
            "authorization": f"Splunk {setup.secret()}",
            "x-splunk-request-channel": self._channel,
            "content-type": "application/json",
        }

    async def _deliver(self, entries: Sequence[Entry]) -> None:
        body = b"\n".join(self._event(entry) for entry in entries)
        url = f"{self._url}/services/collector/event"
        answer = read_object((await sent(self._send, "POST", url, self._headers, body)).body)
        number = answer.get("ackId")
        if type(number) is not int:
            raise SinkUnavailable("switch indexer acknowledgement on for this token")
        try:
            await self._indexed(number)
        except EntryRefused as error:  # about the question, not about the entries
            raise SinkUnavailable(f"acknowledgement: {error}") from error

    def _event(self, entry: Entry) -> bytes:
        stamp = epoch_ms(entry)
        text = self._line(entry).decode("ascii")
        return compact(
            {
                "time": f"{stamp // 1000}.{stamp % 1000:03d}",
                "host": entry.origin,
                "source": "cryogate",
                "sourcetype": "cryogate:audit",
                "event": text,
                "fields": {"seq": str(entry.seq)},
            }
        )

    async def _indexed(self, number: int) -> None:
        url = f"{self._url}/services/collector/ack?channel={self._channel}"
        question = compact({"acks": [number]})
        pause = _FIRST_LOOK_S
        async with asyncio.timeout(_WAIT_S):
            while True:
                answer = await sent(self._send, "POST", url, self._headers, question)
                acks = read_object(answer.body).get("acks")
                if isinstance(acks, dict) and acks.get(str(number)) is True:
                    return
                await asyncio.sleep(pause)
                pause = min(_LAST_LOOK_S, pause * 2)
