"""What counting and tracing cost a request: an application that does nothing, with and without."""

from __future__ import annotations

import asyncio
import statistics
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cryogate.ports.tracing import NO_SPANS, Spans
from cryogate.server.endpoints import TEMPLATE
from cryogate.server.metrics import RequestMeter
from cryogate.server.tracing import RequestTracer
from cryogate.telemetry.spans import Span
from cryogate.telemetry.tracer import Tracer

ROUNDS, COUNT, STEPS = 9, 20_000, 8


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    scope[TEMPLATE] = "/v1/jobs"
    await send({"type": "http.response.start", "status": 202})
    await send({"type": "http.response.body"})


def drop(span: Span) -> None:
    return


async def receive() -> Message:
    return {}


async def sent(message: Message) -> None:
    return None


async def timed(app: ASGIApp) -> float:
    begun = time.process_time()
    for _ in range(COUNT):
        await app({"type": "http", "method": "POST", "headers": []}, receive, sent)
    return (time.process_time() - begun) / COUNT * 1e6


def stepping(spans: Spans) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(STEPS):
            with spans.step("check.circuit"):
                pass
        await nothing(scope, receive, send)

    return app


def timed_steps(spans: Spans) -> float:
    begun = time.process_time()
    for _ in range(COUNT):
        for _ in range(STEPS):
            with spans.step("check.circuit"):
                pass
    return (time.process_time() - begun) / COUNT * 1e6


async def main() -> None:
    pairs = [(await timed(nothing), await timed(RequestMeter(nothing))) for _ in range(ROUNDS)]
    cost = statistics.median(counted - bare for bare, counted in pairs)
    print(f"counting costs {cost:.2f} µs a request (median of {ROUNDS}; at most 2)")
    for name, tracer in (
        ("every trace", Tracer(drop)),
        ("one in 1000", Tracer(drop, 1000)),
    ):
        traced = RequestTracer(stepping(tracer), tracer)
        costs = [await timed(traced) - await timed(nothing) for _ in range(ROUNDS)]
        print(f"tracing {name}: {min(costs):.2f} µs a request of {STEPS} steps")
    off = [timed_steps(NO_SPANS) for _ in range(ROUNDS)]
    print(f"tracing off: {min(off):.2f} µs a job of {STEPS} steps, nothing a request")


if __name__ == "__main__":
    asyncio.run(main())
