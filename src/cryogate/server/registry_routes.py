"""``/admin/v1/agents``: who may ask for tokens."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from cryogate.broker.client_keys import ClientKeys
from cryogate.broker.credentials import Credential, Credentials
from cryogate.broker.registry import Registry
from cryogate.domain.agents import Agent, Operator, Role, Stage
from cryogate.domain.decisions import Scalar
from cryogate.ports.audit import rfc3339
from cryogate.server.bodies import read_json
from cryogate.server.endpoints import Endpoint, ForOperators, OperatorRole
from cryogate.server.replies import actor, query, reply, whole_number

_MAX_BODY = 64 << 10
_PAGE = 100


class NewAgent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An agent to be registered, with the public half of its key."""

    agent_id: str
    owner: str
    tier: str = "sandbox"
    stage: Literal["simulator"] = "simulator"
    roles: Annotated[tuple[Role, ...], msgspec.Meta(max_length=8)] = (Role.SUBMIT_ONLY,)
    attributes: dict[str, Scalar] = {}
    jwk: dict[str, str] | None = None


class AgentChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an operator may change of an agent."""

    tier: str | UnsetType = UNSET
    stage: Stage | UnsetType = UNSET
    active: bool | UnsetType = UNSET
    roles: Annotated[tuple[Role, ...], msgspec.Meta(max_length=8)] | UnsetType = UNSET
    attributes: dict[str, Scalar] | UnsetType = UNSET


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A further public key."""

    jwk: dict[str, str]


class NewCredential(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A further way for an agent to prove who it is."""

    credential: Credential


def agent_view(agent: Agent) -> dict[str, Any]:
    """An agent for showing."""
    return {
        "agent_id": agent.agent_id,
        "owner": agent.owner,
        "tier": agent.tier,
        "stage": agent.stage.value,
        "active": agent.active,
        "roles": sorted(agent.roles),
        "attributes": dict(agent.attributes),
        "created_at": rfc3339(agent.created_ms),
    }


class RegistryRoutes:
    """Create, list, show and change agents and their keys."""

    def __init__(self, registry: Registry, keys: ClientKeys, credentials: Credentials) -> None:
        self._registry = registry
        self._keys = keys
        self._credentials = credentials

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Everything here that changes something is for admins."""
        look = (OperatorRole.APPROVER, OperatorRole.AUDITOR)
        return (
            ForOperators("GET", "/admin/v1/agents", look, self.list),
            ForOperators("POST", "/admin/v1/agents", (), self.create),
            ForOperators("GET", "/admin/v1/agents/{id}", look, self.show),
            ForOperators("PATCH", "/admin/v1/agents/{id}", (), self.change),
            ForOperators("POST", "/admin/v1/agents/{id}/keys", (), self.add_key),
            ForOperators("POST", "/admin/v1/agents/{id}/credentials", (), self.add_credential),
            ForOperators("DELETE", "/admin/v1/agents/{id}/keys/{kid}", (), self.remove_key),
        )

    async def list(self, request: Request, operator: Operator) -> Response:
        """Agents by name; ``?after=`` the last one of the page before."""
        params = query(request, "after", "limit")
        limit = max(1, whole_number(params, "limit", _PAGE, 200))
        found = await self._registry.agents(params.get("after", ""), limit + 1)
        more = found[limit - 1].agent_id if len(found) > limit else None
        return reply({"items": [agent_view(a) for a in found[:limit]], "next": more})

    async def create(self, request: Request, operator: Operator) -> Response:
        """201 with the agent."""
        new = await read_json(request, NewAgent, _MAX_BODY)
        agent = await self._registry.create_agent(
            agent_id=new.agent_id,
            owner=new.owner,
            tier=new.tier,
            roles=new.roles,
            attributes=new.attributes,
            jwk=new.jwk,
            actor=actor(operator),
        )
        return reply(await self._whole(agent), 201)

    async def show(self, request: Request, operator: Operator) -> Response:
        """One agent with its public keys."""
        return reply(await self._whole(await self._registry.agent(request.path_params["id"])))

    async def change(self, request: Request, operator: Operator) -> Response:
        """The agent, changed."""
        change = await read_json(request, AgentChange, _MAX_BODY)
        agent = await self._registry.update_agent(
            request.path_params["id"],
            actor=actor(operator),
            tier=None if change.tier is UNSET else change.tier,
            stage=None if change.stage is UNSET else change.stage,
            active=None if change.active is UNSET else change.active,
            roles=None if change.roles is UNSET else change.roles,
            attributes=None if change.attributes is UNSET else change.attributes,
        )
        return reply(await self._whole(agent))

    async def add_key(self, request: Request, operator: Operator) -> Response:
        """201 with the agent and all its keys."""
        new = await read_json(request, NewKey, _MAX_BODY)
        agent = await self._registry.agent(request.path_params["id"])
        await self._keys.add(agent.agent_id, new.jwk, actor=actor(operator))
        return reply(await self._whole(agent), 201)

    async def add_credential(self, request: Request, operator: Operator) -> Response:
        """201 with the agent. A certificate, a name in certificates, or another issuer's tokens."""
        new = await read_json(request, NewCredential, _MAX_BODY)
        agent = await self._registry.agent(request.path_params["id"])
        await self._credentials.add(agent.agent_id, new.credential, actor=actor(operator))
        return reply(await self._whole(agent), 201)

    async def remove_key(self, request: Request, operator: Operator) -> Response:
        """The agent and the keys it has left. Tokens bound to the key end with it."""
        agent = await self._registry.agent(request.path_params["id"])
        await self._keys.remove(agent.agent_id, request.path_params["kid"], actor=actor(operator))
        return reply(await self._whole(agent))

    async def _whole(self, agent: Agent) -> dict[str, Any]:
        keys = [
            {"kid": key.kid, "jwk": dict(key.jwk), "created_at": rfc3339(key.created_ms)}
            for key in await self._keys.list(agent.agent_id)
        ]
        others = [
            {
                "kid": held.kid,
                "credential": msgspec.to_builtins(held.credential),
                "created_at": rfc3339(held.created_ms),
            }
            for held in await self._credentials.list(agent.agent_id)
        ]
        return {**agent_view(agent), "keys": keys, "credentials": others}
