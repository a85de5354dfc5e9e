"""Spans: whose trace they are in, what they hold, and that none fails the step it measures."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from google.protobuf.json_format import Parse
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.types import Message, Receive, Scope, Send

from cryogate.domain.errors import Malformed
from cryogate.outbound.errors import FetchFailed
from cryogate.ports.tracing import NO_SPANS
from cryogate.server.endpoints import TEMPLATE
from cryogate.server.tracing import RequestTracer
from cryogate.telemetry.exporter import MAX_BATCH, MAX_QUEUE, TRIES, Exporter
from cryogate.telemetry.otlp import encode
from cryogate.telemetry.requests import TRACE
from cryogate.telemetry.spans import Place, Span, place_of_job, read_traceparent
from cryogate.telemetry.tracer import Tracer

GOOD = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
JOB = "job_00000000000000000000000000"


class Kept:
    def __init__(self, one_in: int = 1) -> None:
        self.spans: list[Span] = []
        self.tracer = Tracer(self.spans.append, one_in)

    def named(self, name: str) -> Span:
        [found] = [span for span in self.spans if span.name == name]
        return found


def test_a_traceparent_of_the_standards_example_is_read() -> None:
    assert read_traceparent([GOOD]) == Place("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")


@pytest.mark.parametrize(
    "values",
    [
        [], [GOOD, GOOD], [b""], [GOOD.upper()], [GOOD + b"-00"], [GOOD[:-1]], [b"01" + GOOD[2:]],
        [b"ff" + GOOD[2:]], [GOOD.replace(b"4bf92f3577b34da6a3ce929d0e0e4736", b"0" * 32)],
        [GOOD.replace(b"00f067aa0ba902b7", b"0" * 16)], [GOOD[:-1] + b"g"], [b" " + GOOD[:-1]],
        [GOOD.replace(b"-", b"_")], [GOOD[:-1] + b"\n"], [b"x" * 100_000], [GOOD[:-1] + b"\xb2"],
    ],
)  # fmt: skip
def test_anything_else_is_nobody(values: list[bytes]) -> None:
    assert read_traceparent(values) is None


@given(st.binary(max_size=80))
def test_whatever_is_read_has_one_spelling(value: bytes) -> None:
    found = read_traceparent([value])
    if found is not None:
        assert value[:53] == f"00-{found.trace_id}-{found.span_id}-".encode()


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    scope[TEMPLATE] = "/v1/jobs"
    await send({"type": "http.response.start", "status": 202})
    await send({"type": "http.response.body"})


async def ask(kept: Kept, app: Any = answer, *headers: tuple[bytes, bytes]) -> Scope:
    scope: Scope = {"type": "http", "method": "POST", "headers": list(headers)}

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        return

    await RequestTracer(app, kept.tracer)(scope, receive, send)
    return scope


@pytest.mark.attack("T4")
async def test_a_clients_trace_is_linked_to_never_continued() -> None:
    kept = Kept()
    scope = await ask(
        kept, answer, (b"traceparent", GOOD), (b"tracestate", b"canary=1"),
        (b"baggage", b"canary=2"), (b"authorization", b"DPoP canary"),
    )  # fmt: skip
    span = kept.named("POST /v1/jobs")
    assert span.links == (read_traceparent([GOOD]),)
    assert span.place.trace_id != GOOD[3:35].decode()
    assert not span.parent
    assert scope[TRACE] == span.place.trace_id
    assert span.attributes == {
        "http.response.status_code": 202, "http.request.method": "POST", "http.route": "/v1/jobs",
    }  # fmt: skip
    assert b"canary" not in encode(kept.spans, {})


async def test_steps_are_children_and_jobs_have_a_trace_of_their_own() -> None:
    kept = Kept()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with kept.tracer.step("check.circuit"):
            kept.tracer.note(agent_id="not here")
        kept.tracer.note(job_id=JOB, agent_id="")
        kept.tracer.accepted(JOB, 1)
        await answer(scope, receive, send)

    await ask(kept, app)
    request, child, job = (kept.named(n) for n in ("POST /v1/jobs", "check.circuit", "job.accept"))
    assert (child.parent, child.place.trace_id) == (request.place.span_id, request.place.trace_id)
    assert job.place == place_of_job(JOB)
    assert (job.links, request.links) == ((request.place,), (job.place,))
    assert request.attributes["cryogate.job_id"] == JOB
    assert "cryogate.agent_id" not in request.attributes
    with kept.tracer.job(JOB, "local:null"), kept.tracer.step("vendor.submit"):
        pass
    carry, vendor = kept.named("job.carry"), kept.named("vendor.submit")
    assert carry.place.trace_id == vendor.place.trace_id == job.place.trace_id
    assert (carry.parent, vendor.parent) == (job.place.span_id, carry.place.span_id)


async def test_where_nothing_is_measured_a_step_is_nothing() -> None:
    kept = Kept()
    with kept.tracer.step("check.circuit"):
        kept.tracer.note(job_id=JOB)
    assert not kept.spans
    assert NO_SPANS.step("a") is NO_SPANS.job("b", "c")


@pytest.mark.attack("T4")
@pytest.mark.parametrize(
    ("error", "told"),
    [(Malformed("too_long", "canary"), "too_long"), (ValueError("canary"), "ValueError")],
)
async def test_an_error_is_told_by_its_code_or_type_and_raised_as_it_was(
    error: Exception, told: str
) -> None:
    kept = Kept()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with kept.tracer.step("check.circuit"):
            raise error

    with pytest.raises(type(error)) as raised:
        await ask(kept, app)
    assert raised.value is error
    assert [span.error for span in kept.spans] == [told, told]
    assert b"canary" not in encode(kept.spans, {})


async def test_one_trace_in_many_is_kept_and_always_the_same_ones() -> None:
    kept, jobs = Kept(8), [f"job_{n:026}" for n in range(4000)]
    for _ in range(4000):
        await ask(kept)
    assert 350 < len(kept.spans) < 650
    assert all(kept.tracer.sampled(span.place.trace_id) for span in kept.spans)
    chosen = [job for job in jobs if kept.tracer.sampled(place_of_job(job).trace_id)]
    assert 350 < len(chosen) < 650
    again = Tracer(lambda span: None, 8)
    assert chosen == [job for job in jobs if again.sampled(place_of_job(job).trace_id)]
    with pytest.raises(ValueError, match="one trace"):
        Tracer(lambda span: None, 0)


def parsed(body: bytes) -> Any:
    """With OpenTelemetry's own messages; protobuf's JSON has base64 where OTLP's has hex."""
    found = json.loads(body)
    for span in found["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for holder in (span, *span.get("links", ())):
            for name in ("traceId", "spanId", "parentSpanId"):
                if name in holder:
                    holder[name] = base64.b64encode(bytes.fromhex(holder[name])).decode()
    request: Any = Parse(json.dumps(found), ExportTraceServiceRequest())
    return request


async def test_opentelemetrys_own_messages_read_what_is_sent() -> None:
    kept = Kept()
    await ask(kept, answer, (b"traceparent", GOOD))
    body = encode(kept.spans, {"service.name": "cryogate", "n": 2**60})
    request = parsed(body)
    [resource] = request.resource_spans
    told = {a.key: a.value for a in resource.resource.attributes}
    assert (told["service.name"].string_value, told["n"].int_value) == ("cryogate", 2**60)
    [span] = resource.scope_spans[0].spans
    assert (span.name, span.kind, span.trace_id.hex()) == (
        "POST /v1/jobs", 2, kept.spans[0].place.trace_id,
    )  # fmt: skip
    assert span.start_time_unix_nano <= span.end_time_unix_nano
    assert span.links[0].trace_id.hex() == GOOD[3:35].decode()
    assert span.links[0].flags == 0x300


@dataclass
class Answer:
    status: int
    body: bytes = b""


class Collector:
    """Answers as it is told; the last answer stays."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.answers, self.bodies, self.slept = list(answers), list[bytes](), list[float]()
        self.exporter = Exporter(self.send, "https://c/v1/traces", "key", {}, self.sleep)

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        assert (method, url, headers["authorization"]) == (
            "POST",
            "https://c/v1/traces",
            "Bearer key",
        )
        self.bodies.append(body)
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(found, Exception):
            raise found
        return found

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def some(count: int) -> list[Span]:
    return [Span("s", Place("a" * 32, "b" * 16), "", 1, ended_ns=2) for _ in range(count)]


async def test_a_busy_collector_is_asked_again_with_the_same_bytes() -> None:
    collector = Collector(Answer(503), FetchFailed("no"), Answer(429), Answer(200))
    for span in some(3):
        collector.exporter.keep(span)
    await collector.exporter.export(TRIES)
    assert (collector.exporter.exported, collector.exporter.dropped) == (3, 0)
    assert len(set(collector.bodies)) == 1
    assert len(collector.bodies) == 4
    assert len(collector.slept) == 3


@pytest.mark.parametrize(
    ("answer", "asked"),
    [(Answer(503), TRIES), (FetchFailed("no"), TRIES), (ZeroDivisionError(), TRIES),
     (Answer(400), 1), (Answer(301), 1), (Answer(401), 1)],
)  # fmt: skip
async def test_what_is_not_taken_is_dropped_and_counted(
    answer: Answer | Exception, asked: int
) -> None:
    collector = Collector(answer)
    for span in some(MAX_BATCH + 1):
        collector.exporter.keep(span)
    await collector.exporter.export(TRIES)
    assert (collector.exporter.exported, collector.exporter.dropped) == (0, MAX_BATCH)
    assert len(collector.bodies) == asked


@pytest.mark.parametrize(
    ("body", "refused"),
    [(b"", 0), (b"{}", 0), (b"[]", 0), (b"null", 0),
     (b'{"partialSuccess":{"rejectedSpans":"2"}}', 2),
     (b'{"partialSuccess":{"rejectedSpans":99}}', 5), (b'{"partialSuccess":null}', 0),
     (b'{"partialSuccess":{"rejectedSpans":-3}}', 0), (b"[" * 100_000, 0)],
)  # fmt: skip
async def test_a_partial_success_is_counted_as_it_is(body: bytes, refused: int) -> None:
    collector = Collector(Answer(200, body))
    for span in some(5):
        collector.exporter.keep(span)
    await collector.exporter.export(1)
    assert (collector.exporter.exported, collector.exporter.dropped) == (5 - refused, refused)


async def test_the_queue_has_an_end_and_the_end_empties_it() -> None:
    collector = Collector(Answer(200))
    for span in some(MAX_QUEUE + 7):
        collector.exporter.keep(span)
    assert collector.exporter.dropped == 7
    await collector.exporter.close()
    assert collector.exporter.exported == MAX_QUEUE
    assert [len(parsed(b).resource_spans[0].scope_spans[0].spans) for b in collector.bodies] == [
        MAX_BATCH
    ] * (MAX_QUEUE // MAX_BATCH)
