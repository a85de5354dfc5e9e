"""Puts endpoints together into one ASGI application."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from cryogate.server.application import Application, Lifespan
from cryogate.server.endpoints import Endpoint, routes
from cryogate.server.problems import problem
from cryogate.server.resource_auth import ResourceAuth

_MAX_HEADER_BYTES = 32 << 10
_MAX_PATH = 512


def build_app(
    endpoints: Sequence[Endpoint],
    auth: ResourceAuth,
    hosts: frozenset[str],
    scheme: str,
    lifespan: Lifespan,
) -> ASGIApp:
    """The application. It answers to ``scheme``, ``://`` and one of ``hosts``."""
    return Doorkeeper(Application(routes(endpoints, auth), lifespan), hosts, scheme)


class Doorkeeper:
    """What is refused before anything is looked at.

    A ``Host`` that is not ours: a page in a browser that made its name point at a loopback
    address must not reach the API. An ``Origin`` that is not ours: no other site's page has
    anything to ask here, and agents do not send one (P3). Headers and paths larger than any honest
    request has, and paths with characters that could forge a line of a log (P1).
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str], scheme: str) -> None:
        self._app = app
        self._hosts = frozenset(host.encode("latin-1") for host in hosts)
        self._origins = frozenset(f"{scheme}://{host}".encode("latin-1") for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if scope["type"] == "http":
            refusal = self._refusal(scope)
            if refusal is not None:
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        host, origin, size = b"", None, 0
        for name, value in scope["headers"]:
            size += len(name) + len(value)
            if name == b"host":
                host = value
            elif name == b"origin":
                origin = value
        if host not in self._hosts:
            return problem(421, "wrong_host", "Not for this server", "use the server's public URL")
        if origin is not None and origin not in self._origins:
            return problem(
                403, "foreign_origin", "Not for other sites", "pages of other sites may not ask"
            )
        path: str = scope["path"]
        if size > _MAX_HEADER_BYTES or len(path) > _MAX_PATH:
            return problem(
                431, "headers_too_large", "Headers or path too large", "send fewer bytes"
            )
        if not path.isprintable():
            return problem(400, "malformed_path", "Not a path", "send a path of plain characters")
        return None
