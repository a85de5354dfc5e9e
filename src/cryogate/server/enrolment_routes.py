"""How keys come to agents: one-time codes, the device flow, an agent's own rotation.

The first endpoints are open: each authenticates by itself. What an operator may do here, an admin
may: it makes keys good.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from cryogate.broker.device import DeviceFlow, Waiting
from cryogate.broker.enrolment import Invitations
from cryogate.broker.key_rotation import KeyRotation
from cryogate.broker.metadata import DEVICE_PATH, ENROL_PATH, ROTATE_PATH, VERIFICATION_PATH
from cryogate.broker.oauth import OAuthError
from cryogate.broker.registry import AgentDraft, Registry
from cryogate.broker.signals import ADDRESS
from cryogate.domain.agents import Operator, Role
from cryogate.domain.decisions import Scalar
from cryogate.domain.errors import Malformed
from cryogate.ports.audit import rfc3339
from cryogate.server.bodies import read_json
from cryogate.server.endpoints import Endpoint, ForOperators, OperatorRole, Public
from cryogate.server.oauth_forms import read_oauth_form, refused
from cryogate.server.registry_routes import agent_view
from cryogate.server.replies import actor, query, reply

_MAX_BODY = 64 << 10
_PAGE = """A program asks for an agent's key to be registered.

If you did not start it yourself, do nothing. If you did, an operator decides, with the code that
the program shows, in the console at /console/device or with

  cryogate agent approve-device CODE --name AGENT --owner YOU
"""


class Terms(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whose key it will be: with ``owner`` a new agent's, else one's that exists."""

    agent_id: str
    owner: str | None = None
    tier: str = "sandbox"
    roles: Annotated[tuple[Role, ...], msgspec.Meta(max_length=8)] = (Role.SUBMIT_ONLY,)
    attributes: dict[str, Scalar] = {}


class NewInvitation(Terms, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An invitation, good once and for ``ttl_s`` seconds."""

    ttl_s: int = 3600


class EnrolmentRoutes:
    """See the module. ``issuer`` is the base of every proof."""

    def __init__(
        self,
        registry: Registry,
        invitations: Invitations,
        devices: DeviceFlow,
        rotation: KeyRotation,
        issuer: str,
    ) -> None:
        self._registry, self._invitations = registry, invitations
        self._devices, self._rotation, self._issuer = devices, rotation, issuer

    def endpoints(self) -> tuple[Endpoint, ...]:
        """See the module."""
        look = (OperatorRole.APPROVER, OperatorRole.AUDITOR)
        devices = "/admin/v1/device-enrolments"
        return (
            Public("POST", ENROL_PATH, self.enrol),
            Public("POST", ROTATE_PATH, self.rotate),
            Public("POST", DEVICE_PATH, self.start),
            Public("GET", VERIFICATION_PATH, self.page),
            ForOperators("POST", "/admin/v1/invitations", (), self.invite),
            ForOperators("GET", devices, look, self.list_devices),
            ForOperators("GET", devices + "/{code}", (), self.show_device),
            ForOperators("POST", devices + "/{code}/approve", (), self.approve),
            ForOperators("POST", devices + "/{code}/deny", (), self.deny),
        )

    # -- for agents' machines --------------------------------------------------------------

    async def enrol(self, request: Request) -> Response:
        """201 once the key that proves itself is the agent's."""
        try:
            done = await self._invitations.enrol(
                await read_oauth_form(request), _proof(request), self._issuer + ENROL_PATH
            )
        except OAuthError as error:
            return refused(error)
        return reply({"client_id": done.agent_id, "kid": done.key.kid}, 201)

    async def rotate(self, request: Request) -> Response:
        """The client's new key is good, its old one is not."""
        try:
            client_id, key = await self._rotation.rotate(
                await read_oauth_form(request), _proof(request), self._issuer + ROTATE_PATH
            )
        except OAuthError as error:
            return refused(error)
        return reply({"client_id": client_id, "kid": key.kid})

    async def start(self, request: Request) -> Response:
        """RFC 8628 section 3.2."""
        try:
            answer = await self._devices.start(
                await read_oauth_form(request),
                _proof(request),
                self._issuer + DEVICE_PATH,
                ADDRESS.get(),
            )
        except OAuthError as error:
            return refused(error)
        return reply(answer)

    async def page(self, request: Request) -> Response:
        """What a person is told who follows ``verification_uri``."""
        headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
        return PlainTextResponse(_PAGE, headers=headers)

    # -- for operators ---------------------------------------------------------------------

    async def invite(self, request: Request, operator: Operator) -> Response:
        """201 with the code, which is shown this once."""
        new = await read_json(request, NewInvitation, _MAX_BODY)
        made = await self._invitations.invite(
            new.agent_id, new.ttl_s, actor=actor(operator), draft=self._draft(new, operator)
        )
        return reply(
            {
                "code": made.code,
                "expires_at": rfc3339(made.expires_ms),
                "agent": agent_view(made.agent),
            },
            201,
        )

    async def list_devices(self, request: Request, operator: Operator) -> Response:
        """Devices that wait. Their user codes are not shown: a person brings them."""
        query(request)
        found = await self._devices.pending()
        return reply({"items": [_view(w) for w in found], "next": None})

    async def show_device(self, request: Request, operator: Operator) -> Response:
        """What the code that a person brought is about."""
        code = request.path_params["code"]
        return reply(_view(await self._devices.look(code, actor=actor(operator))))

    async def approve(self, request: Request, operator: Operator) -> Response:
        """The agent whose key it is now."""
        terms = await read_json(request, Terms, _MAX_BODY)
        agent = await self._devices.approve(
            request.path_params["code"],
            terms.agent_id,
            actor=actor(operator),
            draft=self._draft(terms, operator),
        )
        return reply(agent_view(agent))

    async def deny(self, request: Request, operator: Operator) -> Response:
        """The device is told no."""
        await self._devices.deny(request.path_params["code"], actor=actor(operator))
        return reply({"denied": True})

    def _draft(self, terms: Terms, operator: Operator) -> AgentDraft | None:
        if terms.owner is None:
            if terms.attributes or terms.roles != (Role.SUBMIT_ONLY,) or terms.tier != "sandbox":
                raise Malformed(
                    "owner_missing", "say who owns the new agent, or change the existing one first"
                )
            return None
        return self._registry.draft_agent(
            agent_id=terms.agent_id,
            owner=terms.owner,
            tier=terms.tier,
            roles=terms.roles,
            attributes=terms.attributes,
            actor=actor(operator),
        )


def _proof(request: Request) -> str | None:
    proofs = request.headers.getlist("dpop")
    if len(proofs) > 1:
        raise OAuthError("invalid_dpop_proof", "send one DPoP header")
    return proofs[0] if proofs else None


def _view(waiting: Waiting) -> dict[str, Any]:
    return {
        "client_id": waiting.client_id,
        "kid": waiting.kid,
        "address": waiting.address,
        "created_at": rfc3339(waiting.created_ms),
        "expires_at": rfc3339(waiting.expires_ms),
    }
