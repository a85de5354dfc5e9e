"""How many requests there were, how they ended and how long they took: counted, not recorded.

(1) a label is a declared route, a known method and a class of statuses: nothing that a client
    chooses, so the number of series has a bound
(2) counting is a few additions on the event loop: no lock, no allocation that stays
(3) ``/metrics`` needs the token of its own that is configured; without one there is no such route
(4) to who asks for OpenMetrics, a bucket of the histogram shows the newest request in it whose
    trace is kept: an exemplar of at most one trace id
"""

from __future__ import annotations

import hmac
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable
from time import perf_counter, time
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, Exemplar, HistogramMetricFamily, Metric
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cryogate.domain.errors import Unauthenticated
from cryogate.server.endpoints import TEMPLATE, Endpoint, Public
from cryogate.telemetry.requests import TRACE

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
OPEN_TYPE: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
Gather = Callable[[], Awaitable[Iterable[Metric]]]


class _Series:
    __slots__ = ("buckets", "examples", "seconds", "statuses")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0
        self.statuses: dict[int, int] = {}
        self.examples: dict[int, Exemplar] = {}


class RequestMeter:
    """ASGI: counts what passes through."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._series: dict[tuple[str, str], _Series] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        begun = perf_counter()
        try:
            await self._app(scope, receive, told)
        finally:
            self.count(scope, status, perf_counter() - begun)

    def count(self, scope: Scope, status: int, seconds: float) -> None:
        """One request that ended (1) (2). Status 0: the connection ended first."""
        method = scope["method"]
        key = (scope.get(TEMPLATE, "none"), method if method in _METHODS else "other")
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series()
        place = bisect_left(BOUNDS, seconds)
        series.buckets[place] += 1
        trace = scope.get(TRACE)
        if trace is not None:
            series.examples[place] = Exemplar({"trace_id": trace}, seconds, time())
        series.seconds += seconds
        kind = status // 100
        series.statuses[kind] = series.statuses.get(kind, 0) + 1

    def families(self) -> Iterable[Metric]:
        """What has been counted."""
        total = CounterMetricFamily(
            "cryogate_http_requests", "Requests that ended.", labels=("route", "method", "status")
        )
        times = HistogramMetricFamily(
            "cryogate_http_request_seconds", "Time to answer.", labels=("route", "method")
        )
        for key, series in sorted(self._series.items()):
            for kind, count in sorted(series.statuses.items()):
                total.add_metric((*key, f"{kind}xx" if kind else "none"), count)
            running = 0
            buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
            named = zip((*map(str, BOUNDS), "+Inf"), series.buckets, strict=True)
            for place, (bound, count) in enumerate(named):
                running += count
                example = series.examples.get(place)
                point = (bound, float(running))
                buckets.append(point if example is None else (*point, example))
            times.add_metric(key, buckets, series.seconds)
        return total, times


class _Once(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


class MetricsRoutes:
    """``GET /metrics`` in Prometheus' text format, or in OpenMetrics for who asks for it."""

    def __init__(self, token: str, gather: Gather) -> None:
        self._wanted = f"Bearer {token}".encode()
        self._gather = gather

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Public, because it authenticates by itself: its reader is neither agent nor operator."""
        return (Public("GET", "/metrics", self.metrics),)

    async def metrics(self, request: Request) -> Response:
        """Everything there is, gathered now (3)."""
        given = request.headers.get("authorization", "").encode("latin-1")
        if not hmac.compare_digest(given, self._wanted):
            raise Unauthenticated("metrics_token", "show the token of metrics.token_file")
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Once(tuple(await self._gather())))
        wants = request.headers.get("accept", "")[:1024]
        if "application/openmetrics-text" in wants:  # (4)
            return _plain(_openmetrics(registry), OPEN_TYPE)
        return _plain(generate_latest(registry), CONTENT_TYPE)


_openmetrics: Callable[[Collector], bytes] = openmetrics


def _plain(body: bytes, kind: str) -> Response:
    return Response(body, media_type=None, headers={"content-type": kind, "vary": "accept"})
