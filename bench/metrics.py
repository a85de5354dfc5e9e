"""What counting costs a request: an application that does nothing, with and without."""

from __future__ import annotations

import asyncio
import statistics
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cryogate.server.endpoints import TEMPLATE
from cryogate.server.metrics import RequestMeter

ROUNDS, COUNT = 9, 100_000


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    scope[TEMPLATE] = "/v1/jobs"
    await send({"type": "http.response.start", "status": 202})
    await send({"type": "http.response.body"})


async def receive() -> Message:
    return {}


async def sent(message: Message) -> None:
    return None


async def timed(app: ASGIApp) -> float:
    begun = time.perf_counter()
    for _ in range(COUNT):
        await app({"type": "http", "method": "POST"}, receive, sent)
    return (time.perf_counter() - begun) / COUNT * 1e6


async def main() -> None:
    pairs = [(await timed(nothing), await timed(RequestMeter(nothing))) for _ in range(ROUNDS)]
    cost = statistics.median(counted - bare for bare, counted in pairs)
    print(f"counting costs {cost:.2f} µs a request (median of {ROUNDS}; at most 2)")


if __name__ == "__main__":
    asyncio.run(main())
