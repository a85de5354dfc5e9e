"""OpenID Shared Signals: where a transmitter pushes its events, and what we say of our own."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from cryogate.broker.metadata import JWKS_PATH
from cryogate.broker.security_events import MEDIA_TYPE
from cryogate.broker.ssf_receive import SetRefused, SsfReceiver
from cryogate.server.bodies import read_body
from cryogate.server.endpoints import Endpoint, Public
from cryogate.server.replies import query, reply

PATH = "/ssf/events"
_MAX_SET = 16 << 10


class SsfRoutes:
    """``receiver`` is None where no transmitter is entrusted: then nothing is received."""

    def __init__(self, receiver: SsfReceiver | None, issuer: str) -> None:
        self._receiver, self._issuer = receiver, issuer

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The receiver authenticates what it is sent by itself."""
        found = Public("GET", "/.well-known/ssf-configuration", self.metadata)
        return (found,) if self._receiver is None else (found, Public("POST", PATH, self.receive))

    async def receive(self, request: Request) -> Response:
        """RFC 8935: 202 once what the event asks for is durable and in force."""
        receiver = self._receiver
        assert receiver is not None  # noqa: S101 - the route is only served with one
        try:
            if request.headers.get("content-type", "").strip().lower() != MEDIA_TYPE:
                raise SetRefused("invalid_request", f"send the SET as {MEDIA_TYPE}")
            body = await read_body(request, _MAX_SET)
            await receiver.receive(
                body.decode("ascii", "replace"), request.headers.get("authorization", "")
            )
        except SetRefused as error:
            return reply({"err": error.code, "description": error.detail}, 400)
        return Response(status_code=202, headers={"cache-control": "no-store"})

    async def metadata(self, request: Request) -> Response:
        """What we transmit and how; streams are configured, not asked for."""
        query(request)
        return reply(
            {
                "spec_version": "1_0",
                "issuer": self._issuer,
                "jwks_uri": self._issuer + JWKS_PATH,
                "delivery_methods_supported": ["urn:ietf:rfc:8935"],
                "default_subjects": "ALL",
            },
            headers={"cache-control": "public, max-age=60"},
        )
