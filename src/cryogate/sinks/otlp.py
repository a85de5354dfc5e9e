"""OpenTelemetry log records over HTTP, JSON-encoded, one request a batch.

No SDK: its batch processor drops what does not fit its queue. Here the log is the queue.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from cryogate import __version__
from cryogate.ports.sinks import Entry, EntryRefused, Sink
from cryogate.sinks.formats.facts import compact, epoch_ms, level, text
from cryogate.sinks.http import read_object, sent
from cryogate.sinks.setup import SinkSetup

_SEVERITY: Final = {3: (17, "ERROR"), 4: (13, "WARN"), 6: (9, "INFO")}


class OtlpSink(Sink):
    """``otlp+https://host/v1/logs``; a token is sent as a bearer token."""

    def __init__(self, setup: SinkSetup) -> None:
        self._url, self._send, self._line = setup.https(), setup.send, setup.line
        self._headers = {"content-type": "application/json"}
        if setup.token:
            self._headers["authorization"] = f"Bearer {setup.secret()}"

    async def _deliver(self, entries: Sequence[Entry]) -> None:
        body = compact(
            {
                "resourceLogs": [
                    {
                        "resource": {"attributes": _attributes({"service.name": "cryogate"})},
                        "scopeLogs": [
                            {
                                "scope": {"name": "cryogate.audit", "version": __version__},
                                "logRecords": [self._record(entry) for entry in entries],
                            }
                        ],
                    }
                ]
            }
        )
        answer = await sent(self._send, "POST", self._url, self._headers, body)
        part = read_object(answer.body).get("partialSuccess")
        # 64-bit numbers may be written as strings in this encoding
        refused = part.get("rejectedLogRecords", 0) if isinstance(part, dict) else 0
        if str(refused) != "0":
            raise EntryRefused(f"the receiver rejected {str(refused)[:20]} records")

    def _record(self, entry: Entry) -> dict[str, Any]:
        number, name = _SEVERITY[level(entry)]
        action = text(entry, "action")
        return {
            "timeUnixNano": str(epoch_ms(entry) * 1_000_000),
            "severityNumber": number,
            "severityText": name,
            "eventName": f"cryogate.{action}",
            "body": {"stringValue": self._line(entry).decode("ascii")},
            "attributes": _attributes(
                {
                    "cryogate.origin": entry.origin,
                    "cryogate.seq": entry.seq,
                    "cryogate.action": action,
                    "cryogate.outcome": text(entry, "outcome"),
                }
            ),
        }


def _attributes(values: dict[str, str | int]) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": {"intValue": str(value)} if type(value) is int else
         {"stringValue": value}}
        for key, value in values.items()
    ]  # fmt: skip
