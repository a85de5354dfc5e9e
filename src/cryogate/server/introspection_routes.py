"""Is this token good? Introspection (RFC 7662), signed (RFC 9701), and status lists.

The caller proves who it is as at the token endpoint, or with an operator's access token and a DPoP
proof (RFC 7662 section 2.1): that costs no write, so it is the way for whoever asks often.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from cryogate.broker import status_list
from cryogate.broker.introspect import MEDIA_TYPE, Introspection
from cryogate.broker.oauth import OAuthError
from cryogate.broker.status_list import StatusLists
from cryogate.domain.errors import NotFound
from cryogate.server.endpoints import Endpoint, Public
from cryogate.server.oauth_forms import read_oauth_form, refused
from cryogate.server.peers import PeerCertificates
from cryogate.server.replies import actor, query, reply
from cryogate.server.resource_auth import ResourceAuth


class IntrospectionRoutes:
    """See the module."""

    def __init__(
        self,
        introspection: Introspection,
        lists: StatusLists,
        auth: ResourceAuth,
        peers: PeerCertificates,
        issuer: str,
    ) -> None:
        self._introspection, self._lists = introspection, lists
        self._auth, self._peers = auth, peers
        self._endpoint = f"{issuer}/oauth2/introspect"

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Introspection authenticates by itself; the lists are for everybody."""
        return (
            Public("POST", "/oauth2/introspect", self.introspect),
            Public("GET", status_list.PATH, self.lists),
            Public("GET", status_list.PATH + "/{id}", self.list),
        )

    async def introspect(self, request: Request) -> Response:
        """RFC 7662, for the token's own client and for operators."""
        try:
            names: dict[bytes, bytes] = dict(request.scope["headers"])
            if b"authorization" in names:
                operator = await self._auth.operator(request)
                form = await read_oauth_form(request)
                audience, answer = actor(operator), self._introspection.look(form)
            else:
                audience, answer = await self._introspection.introspect(
                    await read_oauth_form(request),
                    self._endpoint,
                    self._peers.of(request.scope),
                )
        except OAuthError as error:
            return refused(error)
        if names.get(b"accept", b"").strip().lower() == MEDIA_TYPE.encode():
            signed = await self._introspection.signed(answer, audience)
            return Response(signed, headers={"cache-control": "no-store"}, media_type=MEDIA_TYPE)
        return reply(answer)

    async def list(self, request: Request) -> Response:
        """One status list, as a signed token."""
        query(request)
        name = request.path_params["id"]
        known = name.isascii() and name.isdigit() and len(name) < 16 and name == str(int(name))
        token = await self._lists.token(int(name)) if known else None
        if token is None:
            raise NotFound("no_such_list", "there is no such status list")
        headers = {"cache-control": f"public, max-age={status_list.TTL_S}"}
        return Response(token, headers=headers, media_type=status_list.MEDIA_TYPE)

    async def lists(self, request: Request) -> Response:
        """Where the lists are (status list aggregation)."""
        query(request)
        return reply(
            {"status_lists": await self._lists.lists()},
            headers={"cache-control": f"public, max-age={status_list.TTL_S}"},
        )
