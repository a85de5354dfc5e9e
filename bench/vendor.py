"""IonQ's fake in a process of its own, for benchmarks: it notes when each submission reached it.

``python -m bench.vendor PORT KEY`` serves it; ``/arrivals`` are the instants (`time.monotonic_ns`,
which is one clock for all processes of a machine) by the tag of our job, ``/seen`` counts requests
by kind, ``/finish`` ends every job, ``/latency/MS`` makes each later answer take so much longer.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.types import Message, Receive, Scope, Send

from cryogate.dev.ionq import IonqFake

_NEVER = 10**9


class Vendor:
    """The fake, and what reaches it."""

    def __init__(self, key: str) -> None:
        self.fake = IonqFake(key, polls=_NEVER)
        self.arrivals: dict[str, int] = {}
        self.seen: Counter[str] = Counter()
        self.latency_s = 0.0
        self.app = Starlette(
            routes=[
                Route("/arrivals", self._arrivals),
                Route("/seen", self._seen),
                Route("/finish", self._finish),
                Route("/latency/{ms:int}", self._latency),
                Mount("/", self._noted),
            ]
        )

    async def _noted(self, scope: Scope, receive: Receive, send: Send) -> None:
        now, kind = time.monotonic_ns(), f"{scope['method']} {_kind(scope['path'])}"
        self.seen[kind] += 1
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        body = bytearray()

        async def heard() -> Message:
            message = await receive()
            body.extend(message.get("body", b""))
            return message

        await self.fake.app(scope, heard, send)
        if kind == "POST jobs":
            self.arrivals[json.loads(body)["metadata"]["cryogate_job"]] = now
        self.fake.faults.seen.clear()

    async def _arrivals(self, request: Request) -> JSONResponse:
        return JSONResponse(self.arrivals)

    async def _seen(self, request: Request) -> JSONResponse:
        return JSONResponse(self.seen)

    async def _finish(self, request: Request) -> JSONResponse:
        self.fake.polls = 0
        return JSONResponse(len(self.fake.jobs))

    async def _latency(self, request: Request) -> JSONResponse:
        self.latency_s = request.path_params["ms"] / 1000
        return JSONResponse({})


def _kind(path: str) -> str:
    """The last word of a path that is no id."""
    words = [word for word in path.split("/") if word and "-" not in word]
    return words[-1] if words else ""


def main() -> None:
    port, key = int(sys.argv[1]), sys.argv[2]
    config = uvicorn.Config(
        Vendor(key).app, loop="uvloop", http="httptools", log_level="error", access_log=False,
        port=port, lifespan="off",
    )  # fmt: skip
    uvicorn.Server(config).run()


if __name__ == "__main__":
    main()
