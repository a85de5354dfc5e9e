"""Exemplars: a slow bucket names a trace that is kept, in a form that others read."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as plain
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from cryogate.server.endpoints import TEMPLATE
from cryogate.server.metrics import MetricsRoutes, RequestMeter
from cryogate.telemetry.requests import TRACE

TRACES = ("a" * 32, "b" * 32)


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    return


async def told(meter: RequestMeter, accept: str) -> tuple[str, str]:
    async def gather() -> Iterable[Metric]:
        return meter.families()

    headers = [(b"authorization", b"Bearer t"), (b"accept", accept.encode())]
    scope: Scope = {"type": "http", "method": "GET", "headers": headers}
    answer = await MetricsRoutes("t", gather).metrics(Request(scope))
    return answer.headers["content-type"], bytes(answer.body).decode()


def counted() -> RequestMeter:
    meter = RequestMeter(nothing)
    for trace, seconds in ((None, 0.3), (TRACES[0], 0.003), (TRACES[1], 0.3), (None, 0.3)):
        scope: Scope = {"method": "POST", TEMPLATE: "/v1/jobs"}
        if trace is not None:
            scope[TRACE] = trace
        meter.count(scope, 202, seconds)
    return meter


async def test_a_bucket_names_the_newest_trace_in_it() -> None:
    kind, text = await told(counted(), "application/openmetrics-text; version=1.0.0, */*;q=0.1")
    assert kind == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    read = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    families = {f.name: f for f in read}
    times = families["cryogate_http_request_seconds"]
    found = {s.labels["le"]: s.exemplar for s in times.samples if s.exemplar is not None}
    assert {le: e.labels for le, e in found.items()} == {
        "0.005": {"trace_id": TRACES[0]}, "0.5": {"trace_id": TRACES[1]},
    }  # fmt: skip
    assert found["0.5"].value == 0.3
    [count] = [s.value for s in times.samples if s.name.endswith("_count")]
    assert count == 4


async def test_the_older_form_has_none() -> None:
    for accept in ("", "*/*", "text/plain", "application/openmetrics-texts" * 100):
        kind, text = await told(counted(), accept)
        if "openmetrics" not in kind:
            assert kind.startswith("text/plain; version=0.0.4")
            assert TRACES[0] not in text
            assert {f.name for f in plain(text)} >= {"cryogate_http_requests"}
