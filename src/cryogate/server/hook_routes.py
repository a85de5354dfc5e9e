"""The key of our webhooks, where receivers of signed messages look for keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from cryogate.server.endpoints import Endpoint, Public
from cryogate.server.replies import query

_MEDIA_TYPE = "application/http-message-signatures-directory+json"
PATH = "/.well-known/http-message-signatures-directory"


class HookRoutes:
    """``jwk`` is asked late: the key is loaded after the routes are made."""

    def __init__(self, jwk: Callable[[], Mapping[str, str]]) -> None:
        self._jwk = jwk

    def endpoints(self) -> tuple[Endpoint, ...]:
        """One document, open to everybody."""
        return (Public("GET", PATH, self.directory),)

    async def directory(self, request: Request) -> Response:
        """A JWK set."""
        query(request)
        body = msgspec.json.encode({"keys": [self._jwk()]})
        headers = {"cache-control": "public, max-age=3600", "x-content-type-options": "nosniff"}
        return Response(body, headers=headers, media_type=_MEDIA_TYPE)
