"""``/admin/v1/operators``: who the operators are, their one-time passwords and sessions."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from cryogate.broker.humans.local import LocalAccounts, NewPassword
from cryogate.broker.humans.sessions import HumanSessions, SessionInfo
from cryogate.broker.registry import Registry
from cryogate.domain.agents import Operator
from cryogate.domain.errors import NotFound
from cryogate.ports.audit import rfc3339
from cryogate.server.bodies import read_json
from cryogate.server.endpoints import Endpoint, ForOperators, OperatorRole
from cryogate.server.replies import actor, query, reply, whole_number

_MAX_BODY = 4 << 10
_PAGE = 100
_EVERY = tuple(OperatorRole)
_LOOK = (OperatorRole.APPROVER, OperatorRole.AUDITOR)
Person = Annotated[str, msgspec.Meta(max_length=128)]
Roles = Annotated[tuple[OperatorRole, ...], msgspec.Meta(min_length=1, max_length=3)]


class NewOperator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody who signs in with a one-time password. ``person`` is the human behind the account,
    by the name under which they may own agents.
    """

    operator_id: str
    roles: Roles
    person: Person = ""


class OperatorChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an admin may change of an operator."""

    active: bool | UnsetType = UNSET
    roles: Roles | UnsetType = UNSET
    person: Person | UnsetType = UNSET


def operator_view(operator: Operator) -> dict[str, Any]:
    """An operator for showing."""
    return {
        "operator_id": operator.operator_id,
        "active": operator.active,
        "roles": sorted(operator.roles),
        "created_at": rfc3339(operator.created_ms),
    }


def session_view(session: SessionInfo) -> dict[str, Any]:
    """A person's session for showing."""
    return {
        "session_id": session.session_id,
        "method": session.method.value,
        "created_at": rfc3339(session.created_ms),
        "seen_at": rfc3339(session.seen_ms),
        "expires_at": rfc3339(session.expires_ms),
    }


class HumanRoutes:
    """Operators as admins see and change them."""

    def __init__(
        self, registry: Registry, accounts: LocalAccounts, sessions: HumanSessions
    ) -> None:
        self._registry, self._accounts, self._sessions = registry, accounts, sessions

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Who changes operators is an admin; everybody may ask who they are."""
        one = "/admin/v1/operators/{id}"
        return (
            ForOperators("GET", "/admin/v1/me", _EVERY, self.me),
            ForOperators("GET", "/admin/v1/operators", _LOOK, self.list),
            ForOperators("POST", "/admin/v1/operators", (), self.create),
            ForOperators("PATCH", one, (), self.change),
            ForOperators("POST", f"{one}/password", (), self.reset),
            ForOperators("GET", f"{one}/sessions", (), self.sessions),
            ForOperators("DELETE", f"{one}/sessions", (), self.end_sessions),
        )

    async def me(self, request: Request, operator: Operator) -> Response:
        """Who is asking."""
        query(request)
        return reply(operator_view(operator))

    async def list(self, request: Request, operator: Operator) -> Response:
        """Operators by name; ``?after=`` the last one of the page before."""
        params = query(request, "after", "limit")
        limit = max(1, whole_number(params, "limit", _PAGE, 200))
        found = await self._registry.operators(params.get("after", ""), limit + 1)
        more = found[limit - 1].operator_id if len(found) > limit else None
        return reply({"items": [operator_view(o) for o in found[:limit]], "next": more})

    async def create(self, request: Request, operator: Operator) -> Response:
        """201 with the one-time password: it is shown here and never again."""
        new = await read_json(request, NewOperator, _MAX_BODY)
        made = await self._accounts.create(new.operator_id, new.roles, actor(operator), new.person)
        return reply(_shown_once(made), 201)

    async def reset(self, request: Request, operator: Operator) -> Response:
        """201 with a new one-time password; the old password and every session are gone."""
        name: str = request.path_params["id"]
        await self._registry.operator(name)
        try:
            made = await self._accounts.reset(name, actor(operator))
        except NotFound:
            made = await self._accounts.enable(name, actor(operator))
        return reply(_shown_once(made), 201)

    async def change(self, request: Request, operator: Operator) -> Response:
        """The operator, changed. Who is made inactive has no session left."""
        change = await read_json(request, OperatorChange, _MAX_BODY)
        name: str = request.path_params["id"]
        if change.person is not UNSET:
            await self._accounts.is_person(name, change.person, actor(operator))
        found = await self._registry.update_operator(
            name,
            actor=actor(operator),
            active=None if change.active is UNSET else change.active,
            roles=None if change.roles is UNSET else change.roles,
        )
        if not found.active:
            await self._sessions.end_all(name, actor(operator), "made inactive")
        return reply(operator_view(found))

    async def sessions(self, request: Request, operator: Operator) -> Response:
        """Open sessions of an operator."""
        query(request)
        found = await self._sessions.of(request.path_params["id"])
        return reply({"items": [session_view(s) for s in found], "next": None})

    async def end_sessions(self, request: Request, operator: Operator) -> Response:
        """The operator, once every session of theirs is over."""
        found = await self._registry.operator(request.path_params["id"])
        await self._sessions.end_all(found.operator_id, actor(operator), "by an admin")
        return reply(operator_view(found))


def _shown_once(made: NewPassword) -> dict[str, str]:
    return {
        "operator_id": made.operator_id,
        "one_time_password": made.password.reveal().decode(),
    }
