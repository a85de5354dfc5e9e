"""The span of a request: its declared route, its status, and the ids that its steps note.

A client's ``traceparent`` becomes a link; ``tracestate`` and ``baggage`` are not read at all. No
header of a request is recorded, no URL, and nothing is sent on to vendors.
"""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cryogate.server.endpoints import TEMPLATE
from cryogate.telemetry.requests import TRACE
from cryogate.telemetry.spans import read_traceparent
from cryogate.telemetry.tracer import Tracer

_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class RequestTracer:
    """ASGI: measures what passes through."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app, self._tracer = app, tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        named = [value for name, value in scope["headers"] if name == b"traceparent"]
        span = self._tracer.request(read_traceparent(named) if named else None)
        if span is None:
            await self._app(scope, receive, send)
            return
        scope[TRACE] = span.place.trace_id
        method = scope["method"] if scope["method"] in _METHODS else "other"

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                status: int = message["status"]
                span.attributes["http.response.status_code"] = status
                if status >= 500:
                    span.error = str(status)
            await send(message)

        with self._tracer.measure(span):
            try:
                await self._app(scope, receive, told)
            finally:
                route = scope.get(TEMPLATE, "none")
                span.name = f"{method} {route}"
                span.attributes["http.request.method"] = method
                span.attributes["http.route"] = route
