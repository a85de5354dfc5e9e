"""Spans as an OTLP/HTTP request in JSON.

OTLP's JSON is protobuf's with two differences, which readers insist on: ids are hex, not base64,
and enumerations are numbers. 64-bit numbers are strings, as in protobuf's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cryogate import __version__
from cryogate.telemetry.spans import Span, Value

_INTERNAL, _SERVER, _ERROR = 1, 2, 2
_LINK_IS_REMOTE: Final = 0x300  # flags: "is remote" is known, and it is


def encode(spans: Sequence[Span], resource: Mapping[str, Value]) -> bytes:
    """An ExportTraceServiceRequest."""
    request = {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes(resource)},
                "scopeSpans": [
                    {
                        "scope": {"name": "cryogate", "version": __version__},
                        "spans": [_span(span) for span in spans],
                    }
                ],
            }
        ]
    }
    return json.dumps(request, separators=(",", ":")).encode()


def _span(span: Span) -> dict[str, Any]:
    found: dict[str, Any] = {
        "traceId": span.place.trace_id,
        "spanId": span.place.span_id,
        "name": span.name,
        "kind": _SERVER if span.server else _INTERNAL,
        "startTimeUnixNano": str(span.begun_ns),
        "endTimeUnixNano": str(max(span.begun_ns, span.ended_ns)),
    }
    if span.parent:
        found["parentSpanId"] = span.parent
    attributes = dict(span.attributes)
    if span.error:
        attributes["error.type"] = span.error
        found["status"] = {"code": _ERROR}
    if attributes:
        found["attributes"] = _attributes(attributes)
    if span.links:
        found["links"] = [
            {"traceId": link.trace_id, "spanId": link.span_id, "flags": _LINK_IS_REMOTE}
            for link in span.links
        ]
    return found


def _attributes(values: Mapping[str, Value]) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else
         {"stringValue": value}}
        for key, value in values.items()
    ]  # fmt: skip
