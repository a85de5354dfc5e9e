"""What goes wrong with a vendor, on demand.

A fault is armed for a number of requests to paths that begin with a text, and taken by the next
ones that match. `FaultyApp` stands before a vendor's application.

==============  ==================================================================================
kind            what happens
==============  ==================================================================================
``latency``     the answer comes ``value`` milliseconds later
``status``      the request is refused with status ``value`` and has no effect
``after``       the request has its effect, and the answer is status ``value``
``lost``        the request has its effect, and the connection breaks before the answer is whole
``malformed``   the answer is no JSON
``huge``        the answer has ``value`` bytes
``redirect``    the answer sends the client to another place
``twice``       the request has its effect twice, as when a proxy delivers it again
==============  ==================================================================================
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

KINDS: Final = (
    "latency", "status", "after", "lost", "malformed", "huge", "redirect", "twice",
)  # fmt: skip
_CHUNK: Final = b" " * 65_536


@dataclass(slots=True)
class Fault:
    """One thing that goes wrong, ``times`` times."""

    kind: str
    value: int = 0
    method: str = ""
    path: str = ""
    times: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"a fault is one of {', '.join(KINDS)}")


class Faults:
    """The faults that are armed, and every request that was seen."""

    def __init__(self) -> None:
        self.armed: list[Fault] = []
        #: (method, path, headers, body) of each request: what a vendor knows of its clients.
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []

    def add(
        self, kind: str, value: int = 0, *, method: str = "", path: str = "", times: int = 1
    ) -> None:
        """Arm a fault."""
        self.armed.append(Fault(kind, value, method, path, times))

    def take(self, method: str, path: str) -> list[Fault]:
        """What goes wrong with this request."""
        found = []
        for fault in list(self.armed):
            if path.startswith(fault.path) and fault.method in ("", method):
                found.append(fault)
                fault.times -= 1
                if fault.times <= 0:
                    self.armed.remove(fault)
        return found


class FaultyApp:
    """A vendor's application behind the faults that are armed."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self._app, self._faults = app, faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = await _read(receive)
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        path = scope["path"]
        query = scope["query_string"].decode("latin-1")
        whole = path + ("?" + query if query else "")
        self._faults.seen.append((scope["method"], whole, headers, body))
        for fault in self._faults.take(scope["method"], path):
            if fault.kind == "latency":
                await asyncio.sleep(fault.value / 1000)
            elif fault.kind == "twice":
                await self._app(scope, _again(body), _nowhere)
            else:
                await self._fail(fault, scope, body, send)
                return
        await self._app(scope, _again(body), send)

    async def _fail(self, fault: Fault, scope: Scope, body: bytes, send: Send) -> None:
        if fault.kind in ("after", "lost"):
            await self._app(scope, _again(body), _nowhere)
        if fault.kind in ("status", "after"):
            await _answer(send, fault.value, b'{"error":"as asked","message":"a fault"}')
        elif fault.kind == "redirect":
            await _start(
                send, 307, {"location": "http://169.254.169.254/latest", "content-length": "0"}
            )
            await send({"type": "http.response.body", "body": b""})
        elif fault.kind == "malformed":
            await _answer(send, 200, b'{"id": [}')
        elif fault.kind == "huge":
            await _start(send, 200, {"content-type": "application/json"})
            for _ in range(fault.value // len(_CHUNK) + 1):
                await send({"type": "http.response.body", "body": _CHUNK, "more_body": True})
            await send({"type": "http.response.body", "body": b"{}"})
        else:  # lost: less than was promised, and then nothing
            await _start(send, 200, {"content-length": "1000"})
            await send({"type": "http.response.body", "body": b"{", "more_body": True})


async def _read(receive: Receive) -> bytes:
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


def _again(body: bytes) -> Receive:
    left = [body]

    async def receive() -> MutableMapping[str, Any]:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        await asyncio.Event().wait()
        raise AssertionError

    return receive


async def _nowhere(message: Message) -> None:
    return


async def _start(send: Send, status: int, headers: dict[str, str]) -> None:
    raw = [(k.encode(), v.encode()) for k, v in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    await _start(send, status, headers)
    await send({"type": "http.response.body", "body": body})
