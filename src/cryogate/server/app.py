"""Puts endpoints together into one ASGI application."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from cryogate.domain.errors import Refused, Unavailable
from cryogate.server.endpoints import Endpoint, routes
from cryogate.server.problems import on_crash, on_http_error, on_refused, on_unavailable, problem
from cryogate.server.resource_auth import ResourceAuth

Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]
_MAX_HEADER_BYTES = 32 << 10
_MAX_PATH = 512


def build_app(
    endpoints: Sequence[Endpoint], auth: ResourceAuth, hosts: frozenset[str], lifespan: Lifespan
) -> ASGIApp:
    """The application. ``hosts`` are the ``Host`` values it answers to."""
    inner = Starlette(
        routes=routes(endpoints, auth),
        exception_handlers={
            Refused: on_refused,
            Unavailable: on_unavailable,
            HTTPException: on_http_error,
            Exception: on_crash,
        },
        lifespan=lifespan,
    )
    inner.router.redirect_slashes = False
    return Doorkeeper(inner, hosts)


class Doorkeeper:
    """What is refused before anything is looked at.

    A ``Host`` that is not ours: a page in a browser that made its name point at a loopback
    address must not reach the API (P3). Headers and paths larger than any honest request has (P1).
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.encode("latin-1") for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if scope["type"] == "http":
            host, size = b"", 0
            for name, value in scope["headers"]:
                size += len(name) + len(value)
                if name == b"host":
                    host = value
            if host not in self._hosts:
                response = problem(
                    421, "wrong_host", "Not for this server", "use the server's public URL"
                )
                await response(scope, receive, send)
                return
            if size > _MAX_HEADER_BYTES or len(scope["path"]) > _MAX_PATH:
                response = problem(
                    431, "headers_too_large", "Headers or path too large", "send fewer bytes"
                )
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)
