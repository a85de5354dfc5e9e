"""Routes, and what becomes of an exception: one layer where Starlette's application has four.

It asks the router and turns what is raised into a problem document. What nobody expected is
answered like that too, and then raised again for the server to log; a response that has begun is
never answered a second time, its connection is closed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Message, Receive, Scope, Send

from cryogate.domain.errors import Refused, Unavailable
from cryogate.server.problems import on_crash, on_http_error, on_refused, on_unavailable

Handler = Callable[[Request, Exception], Awaitable[Response]]
_EXPECTED: Final[tuple[tuple[type[Exception], Handler], ...]] = (
    (Refused, on_refused),
    (Unavailable, on_unavailable),
    (HTTPException, on_http_error),
)
Lifespan = Callable[["Application"], AbstractAsyncContextManager[None]]


class Application:
    """ASGI. ``lifespan`` is entered before the first request and left after the last."""

    def __init__(self, routes: Sequence[Route], lifespan: Lifespan) -> None:
        self._router = Router(routes=routes, redirect_slashes=False, lifespan=lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        scope["app"] = self  # tells the router to raise its 404 and 405
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
        begun = False

        async def sender(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._router(scope, receive, sender)
        except Exception as error:
            handler = next((by for kind, by in _EXPECTED if isinstance(error, kind)), on_crash)
            if not begun:
                response = await handler(Request(scope), error)
                await response(scope, receive, send)
            if begun or handler is on_crash:
                raise
