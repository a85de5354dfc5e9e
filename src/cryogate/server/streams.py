"""Server-sent events for agents. A stream is no way around anything (R4).

(1) It is opened by a request like any other: token, proof, revocation.
(2) Whatever stops the token stops the stream within a second: every look asks again.
(3) It ends by itself, so that following on needs a fresh proof of possession.
(4) An agent has a few at a time; a server that is stopping has none.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import msgspec
from starlette.responses import StreamingResponse

from cryogate.domain.errors import CryogateError, Throttled
from cryogate.gateway.caller import Caller
from cryogate.gateway.changes import JobChanges
from cryogate.ports.clock import Clock
from cryogate.ports.revocations import RevocationView

_STREAMS_PER_AGENT = 4
_STREAM_S = 300
_BEAT_S = 10
_LOOK_S = 1.0
_GONE = b"event: gone\ndata: {}\n\n"


class Seen(NamedTuple):
    """What a look found: events as (name, what to tell), and whether nothing more can come.

    An event is sent when it differs from the last one of its name by its ``key``.
    """

    events: Sequence[tuple[str, object, object]]  # name, key, body
    over: bool


class Streams:
    """The streams of one process."""

    def __init__(self, changes: JobChanges, revocations: RevocationView, clock: Clock) -> None:
        self._changes = changes
        self._revocations = revocations
        self._clock = clock
        self._open: Counter[str] = Counter()
        self._draining = False

    def drain(self) -> None:
        """End every stream within a second, and begin no more; clients follow on elsewhere."""
        self._draining = True

    def follow(
        self, caller: Caller, about: str, first: Seen, look: Callable[[], Awaitable[Seen]]
    ) -> StreamingResponse:
        """Tell ``first``, and then what ``look`` finds when ``about`` changes.

        Raises:
            Throttled: the caller has too many streams.
        """
        if self._open[caller.agent_id] >= _STREAMS_PER_AGENT:  # (4)
            raise Throttled("too_many_streams", "close one of your streams first", retry_after_s=5)
        self._open[caller.agent_id] += 1
        told = self._told(caller, about, first, look)
        return _Stream(told, lambda: self._ended(caller.agent_id))

    def _ended(self, agent_id: str) -> None:
        self._open[agent_id] -= 1
        if self._open[agent_id] <= 0:
            del self._open[agent_id]

    async def _told(
        self, caller: Caller, about: str, seen: Seen, look: Callable[[], Awaitable[Seen]]
    ) -> AsyncIterator[bytes]:
        last: dict[str, object] = {}
        end = beat = time.monotonic()
        end += _STREAM_S
        with self._changes.watch(about) as watch:
            while time.monotonic() < end and not self._draining:  # (3), (4)
                if not self._alive(caller):  # (2)
                    yield _GONE
                    return
                for name, key, body in seen.events:
                    if last.get(name) != key:
                        last[name], beat = key, time.monotonic()
                        data = msgspec.json.encode(body)
                        yield b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
                if seen.over:
                    return
                if time.monotonic() - beat >= _BEAT_S:
                    beat = time.monotonic()
                    yield b": waiting\n\n"
                await watch.changed(_LOOK_S)
                try:
                    seen = await look()
                except CryogateError:
                    return

    def _alive(self, caller: Caller) -> bool:
        """(2) Whether the token that opened the stream would still open it."""
        if self._clock.now_ms() >= caller.expires_ms:
            return False
        try:
            return self._revocations.revoked(caller.subject()) is None
        except CryogateError:
            return False  # the view is stale: nobody can say


class _Stream(StreamingResponse):
    """Runs ``ended`` however the stream ends, begun or not."""

    def __init__(self, content: AsyncIterator[bytes], ended: Callable[[], None]) -> None:
        super().__init__(
            content,
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )
        self._content, self._ended = content, ended

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI entry point."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ended()
            close = getattr(self._content, "aclose", None)
            if close is not None:
                await asyncio.shield(close())
