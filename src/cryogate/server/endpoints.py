"""What an endpoint declares before it can be served: who may call it, and in which role.

A route without a declaration cannot be built, so nothing is reachable by omission. Agents and
operators never share an endpoint: a token's ``aud`` must be the endpoint's, and a person's session
is an operator's credential only (A8).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from cryogate.domain.agents import Operator
from cryogate.domain.errors import CryogateError, Forbidden
from cryogate.gateway.caller import Caller
from cryogate.server.resource_auth import ResourceAuth
from cryogate.server.session_auth import Person

PublicHandler = Callable[[Request], Awaitable[Response]]
AgentHandler = Callable[[Request, Caller], Awaitable[Response]]
OperatorHandler = Callable[[Request, Operator], Awaitable[Response]]
PersonHandler = Callable[[Request, Person], Awaitable[Response]]
Explain = Callable[[Request, CryogateError], Awaitable[Response]]


class OperatorRole(StrEnum):
    """Rights on the admin API. ``admin`` includes the others."""

    ADMIN = "admin"
    APPROVER = "approver"
    AUDITOR = "auditor"


@dataclass(frozen=True, slots=True)
class Public:
    """Open to everybody: discovery, the token endpoint (which authenticates by itself), health."""

    method: str
    path: str
    handler: PublicHandler


@dataclass(frozen=True, slots=True)
class ForAgents:
    """Needs an agent's token, proven on this request."""

    method: str
    path: str
    handler: AgentHandler


@dataclass(frozen=True, slots=True)
class ForOperators:
    """Needs an operator, by token or session, and one of ``roles``; an empty tuple lets nobody in
    but admins.
    """

    method: str
    path: str
    roles: tuple[OperatorRole, ...]
    handler: OperatorHandler


@dataclass(frozen=True, slots=True)
class ForPeople:
    """A page: needs a person's session, never a token, and one of ``roles`` as `ForOperators`.

    ``explain`` makes a page of a refusal. ``choosing`` lets in who must choose a password first.
    """

    method: str
    path: str
    roles: tuple[OperatorRole, ...]
    handler: PersonHandler
    explain: Explain
    choosing: bool = False


# Where a request's declared path stands in its scope, for those who count.
TEMPLATE = "cryogate.route"
_HOT = frozenset({"/v1/jobs", "/v1/jobs/{job_id}", "/oauth2/token", "/oauth2/introspect"})
Endpoint = Public | ForAgents | ForOperators | ForPeople


def routes(endpoints: Sequence[Endpoint], auth: ResourceAuth) -> list[Route]:
    """Starlette routes that authenticate before their handler is reached."""
    by_path: dict[str, dict[str, PublicHandler]] = {}
    for endpoint in endpoints:
        methods = by_path.setdefault(endpoint.path, {})
        if endpoint.method in methods:
            raise ValueError(f"{endpoint.method} {endpoint.path} is declared twice")
        methods[endpoint.method] = _guarded(endpoint, auth)
    # The router tries one path after the other, so those that are asked for all day stand first.
    paths = sorted(by_path, key=lambda path: path not in _HOT)
    return [_route(path, by_path[path]) for path in paths]


def _route(path: str, methods: dict[str, PublicHandler]) -> Route:
    return Route(path, _Served(path, methods), methods=list(methods))


class _Served:
    """ASGI: calls the handler of the request's method and sends its answer.

    A class of our own, not a function that Starlette wraps: its wrapper adds one more handler of
    exceptions and one more layer around `send` to every request, for errors that the application's
    handler turns into problem documents anyway.
    """

    def __init__(self, path: str, methods: dict[str, PublicHandler]) -> None:
        self._path, self._methods = path, methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        scope[TEMPLATE] = self._path
        # HEAD is GET without a body; Starlette has refused every other undeclared method
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        request = Request(scope, receive, send)
        response = await self._methods[method](request)
        await response(scope, receive, send)


def _guarded(endpoint: Endpoint, auth: ResourceAuth) -> PublicHandler:
    if isinstance(endpoint, Public):
        return endpoint.handler
    if isinstance(endpoint, ForAgents):
        agent_handler = endpoint.handler

        async def for_agent(request: Request) -> Response:
            return await agent_handler(request, await auth.agent(request))

        return for_agent
    if isinstance(endpoint, ForPeople):
        return _page(endpoint, auth)
    operator_handler, roles = endpoint.handler, frozenset(endpoint.roles)

    async def for_operator(request: Request) -> Response:
        operator = await auth.operator(request)
        _require_role(operator, roles)
        return await operator_handler(request, operator)

    return for_operator


def _page(endpoint: ForPeople, auth: ResourceAuth) -> PublicHandler:
    roles = frozenset(endpoint.roles)

    async def for_person(request: Request) -> Response:
        try:
            person = await auth.person(request)
            if person.session.must_choose_password and not endpoint.choosing:
                raise Forbidden("choose_password", "choose a password first")
            _require_role(person.operator, roles)
            return await endpoint.handler(request, person)
        except CryogateError as error:
            return await endpoint.explain(request, error)

    return for_person


def _require_role(operator: Operator, roles: frozenset[OperatorRole]) -> None:
    if OperatorRole.ADMIN not in operator.roles and not roles & operator.roles:
        needed = " or ".join(sorted(roles)) or "admin"
        raise Forbidden("role_required", f"this needs the operator role {needed}")
