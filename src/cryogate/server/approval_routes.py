"""``/v1/approvals``: where agents ask, look, follow and take back. Nothing here decides.

The stream is server-sent events. It is no way around anything: whatever stops the token stops the
stream, and it ends by itself, so that following on needs a fresh proof of possession (R4).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from cryogate.domain.errors import CryogateError, Throttled
from cryogate.gateway.asking import Asking, JobAsk, ReleaseAsk
from cryogate.gateway.caller import Caller
from cryogate.gateway.changes import JobChanges
from cryogate.governance.approval_inbox import ApprovalInbox, OwnApproval
from cryogate.ports.clock import Clock
from cryogate.ports.revocations import RevocationView
from cryogate.server.bodies import read_json
from cryogate.server.endpoints import Endpoint, ForAgents
from cryogate.server.replies import query, reply, whole_number

_PAGE = 50
_STREAMS_PER_AGENT = 4
_STREAM_S = 300
_BEAT_S = 10
_LOOK_S = 1.0
_SETTLED = frozenset({"used", "denied", "expired", "withdrawn"})
Cancel = Callable[[str, str], Awaitable[None]]


class ApprovalRoutes:
    """Handlers of an agent's requests for approval."""

    def __init__(
        self,
        *,
        inbox: ApprovalInbox,
        asking: Asking,
        cancel: Cancel,
        changes: JobChanges,
        revocations: RevocationView,
        clock: Clock,
        max_body: int,
    ) -> None:
        self._inbox = inbox
        self._asking = asking
        self._cancel = cancel
        self._changes = changes
        self._revocations = revocations
        self._clock = clock
        self._max_body = max_body
        self._streams: Counter[str] = Counter()
        self._draining = False

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What an agent may do about approvals."""
        return (
            ForAgents("GET", "/v1/approvals", self.list),
            ForAgents("POST", "/v1/approvals", self.ask),
            ForAgents("GET", "/v1/approvals/{id}", self.show),
            ForAgents("GET", "/v1/approvals/{id}/events", self.follow),
            ForAgents("POST", "/v1/approvals/{id}/withdraw", self.withdraw),
        )

    def drain(self) -> None:
        """End every stream within a second, and begin no more; clients follow on elsewhere."""
        self._draining = True

    async def list(self, request: Request, caller: Caller) -> Response:
        """The caller's requests, newest first."""
        params = query(request, "after", "limit")
        limit = max(1, whole_number(params, "limit", _PAGE, 200))
        page = await self._inbox.list(*_whose(caller), params.get("after"), limit)
        return reply({"items": page.items, "next": page.next})

    async def ask(self, request: Request, caller: Caller) -> Response:
        """201 with the request; 200 when one for the same terms waits, or is approved, already."""
        kinds: Any = JobAsk | ReleaseAsk
        ask = await read_json(request, kinds, self._max_body)
        if isinstance(ask, JobAsk):
            approval_id, new = await self._asking.job(caller, ask)
        else:
            approval_id, new = await self._asking.release(caller, ask)
        view = await self._inbox.get(*_whose(caller), approval_id)
        where = {"location": f"/v1/approvals/{approval_id}"}
        return reply(view, 201 if new else 200, where)

    async def show(self, request: Request, caller: Caller) -> Response:
        """One request, with what to do next."""
        query(request)
        return reply(await self._inbox.get(*_whose(caller), request.path_params["id"]))

    async def withdraw(self, request: Request, caller: Caller) -> Response:
        """The request, taken back; a parked job is cancelled and its reservation released."""
        approval_id: str = request.path_params["id"]
        view, job_id = await self._inbox.withdraw(*_whose(caller), approval_id)
        if job_id is not None:
            await self._cancel(job_id, caller.agent_id)
            view = await self._inbox.get(*_whose(caller), approval_id)
        self._changes.tell(approval_id)
        return reply(view)

    async def follow(self, request: Request, caller: Caller) -> Response:
        """Server-sent events: the request now, and again whenever its state changes."""
        query(request)
        approval_id: str = request.path_params["id"]
        first = await self._inbox.get(*_whose(caller), approval_id)
        if self._streams[caller.agent_id] >= _STREAMS_PER_AGENT:
            raise Throttled("too_many_streams", "close one of your streams first", retry_after_s=5)
        self._streams[caller.agent_id] += 1
        return _Stream(self._told(caller, first), self._ended(caller.agent_id))

    def _ended(self, agent_id: str) -> Callable[[], None]:
        def ended() -> None:
            self._streams[agent_id] -= 1
            if self._streams[agent_id] <= 0:
                del self._streams[agent_id]

        return ended

    async def _told(self, caller: Caller, view: OwnApproval) -> AsyncIterator[bytes]:
        approval_id, told = view.approval_id, ""
        end = beat = time.monotonic()
        end += _STREAM_S
        with self._changes.watch(approval_id) as watch:
            while time.monotonic() < end and not self._draining:
                if not self._alive(caller):
                    yield b"event: gone\ndata: {}\n\n"
                    return
                if view.state != told:
                    told, beat = view.state, time.monotonic()
                    yield b"event: approval\ndata: " + msgspec.json.encode(view) + b"\n\n"
                if told in _SETTLED:
                    return
                if time.monotonic() - beat >= _BEAT_S:
                    beat = time.monotonic()
                    yield b": waiting\n\n"
                await watch.changed(_LOOK_S)
                try:
                    view = await self._inbox.get(*_whose(caller), approval_id)
                except CryogateError:
                    return

    def _alive(self, caller: Caller) -> bool:
        """Whether the token that opened the stream would still open it."""
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


def _whose(caller: Caller) -> tuple[str, str]:
    return caller.agent_id, caller.grant.experiment_id
