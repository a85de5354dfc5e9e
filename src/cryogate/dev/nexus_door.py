"""The fake Nexus's login in cookies, its projects, and the properties that are defined for them."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

PROJECT: Final = "5f9d3c54-1b3a-4b0e-9d55-0c6d9c0a7e21"
EMAIL, PASSWORD = "agents@example.com", "nexus-test-password"
PROPERTIES: Final = (
    "cryogate_job", "cryogate_program", "cryogate_experiment", "cryogate_cost_center",
)  # fmt: skip
TIMES: Final = {"created": "2026-11-01T00:00:00+00:00", "modified": "2026-11-01T00:00:00+00:00"}
_PROJECTS: Final = "/api/projects/v1beta2"
_PROPERTIES: Final = "/api/property_definitions/v1beta2"


class NexusDoor:
    """Who may come in, and what there is inside."""

    def __init__(self) -> None:
        self.refresh_token = "nexus-refresh-" + secrets.token_hex(16)
        self.tokens: set[str] = set()
        self.projects: dict[str, dict[str, Any]] = {PROJECT: noted({"name": "agents"})}
        self.properties: dict[str, list[dict[str, Any]]] = {
            PROJECT: [defined(name, required=True) for name in PROPERTIES]
        }

    def routes(self) -> Sequence[Route]:
        """What it answers."""
        return (
            Route("/auth/login", self._login, methods=["POST"]),
            Route("/auth/tokens/refresh", self._refresh, methods=["POST"]),
            Route("/auth/tokens", self._ttl),
            Route(_PROJECTS, self._new_project, methods=["POST"]),
            Route(_PROJECTS, self._listed_projects),
            Route(_PROJECTS + "/meta/count", self._counted_projects),
            Route(_PROJECTS + "/{id}", self._project),
            Route(_PROPERTIES, self._define, methods=["POST"]),
            Route(_PROPERTIES, self._defined),
        )

    def mint(self) -> str:
        """An access token that is good here."""
        token = secrets.token_urlsafe(48)
        self.tokens.add(token)
        return token

    async def _login(self, request: Request) -> Response:
        asked = await request.json()
        if (asked.get("email"), asked.get("password")) != (EMAIL, PASSWORD):
            return error(401, "wrong email or password")
        answer = JSONResponse({})
        answer.set_cookie("myqos_oat", self.refresh_token, httponly=True, max_age=30 * 86_400)
        answer.set_cookie("myqos_id", self.mint(), httponly=True, max_age=900)
        return answer

    async def _refresh(self, request: Request) -> Response:
        if request.cookies.get("myqos_oat") != self.refresh_token:
            return error(401, "not authenticated")
        answer = JSONResponse({})
        answer.set_cookie("myqos_id", self.mint(), httponly=True, max_age=900)
        return answer

    async def _ttl(self, request: Request) -> Response:
        return self.refused(request) or JSONResponse({"token_status": {"ttl": 30 * 86_400}})

    def refused(self, request: Request) -> JSONResponse | None:
        """The answer to somebody who is not logged in."""
        known = request.cookies.get("myqos_id") in self.tokens
        return None if known else error(401, "not authenticated")

    async def _new_project(self, request: Request) -> Response:
        refused = self.refused(request)
        if refused is not None:
            return refused
        made, attributes = str(uuid.uuid4()), (await request.json())["data"]["attributes"]
        self.projects[made], self.properties[made] = noted(attributes), []
        return JSONResponse({"data": self.shown(made)}, 201)

    def shown(self, project: str) -> dict[str, Any]:
        """A project as Nexus tells of it."""
        attributes = {**self.projects[project], "archived": False,
                      "contents_modified": TIMES["modified"]}  # fmt: skip
        return {"id": project, "type": "project", "attributes": attributes}

    def _asked_projects(self, request: Request) -> list[str]:
        names = request.query_params.getlist("filter[name_exact]")
        return [p for p, found in self.projects.items() if not names or found["name"] in names]

    async def _listed_projects(self, request: Request) -> Response:
        found = [self.shown(project) for project in self._asked_projects(request)]
        return self.refused(request) or JSONResponse({"data": page(request, found)})

    async def _counted_projects(self, request: Request) -> Response:
        count = len(self._asked_projects(request))
        return self.refused(request) or JSONResponse({"count": count})

    async def _project(self, request: Request) -> Response:
        found = request.path_params["id"]
        if self.refused(request) is None and found not in self.projects:
            return error(404, "no such project")
        return self.refused(request) or JSONResponse({"data": self.shown(found)})

    async def _define(self, request: Request) -> Response:
        refused = self.refused(request)
        if refused is not None:
            return refused
        data = (await request.json())["data"]
        project = data["relationships"]["project"]["data"]["id"]
        self.properties[project].append(noted(data["attributes"]))
        return JSONResponse({"data": {"id": str(uuid.uuid4()), "type": "property"}}, 201)

    async def _defined(self, request: Request) -> Response:
        known = self.properties.get(request.query_params.get("filter[project][id]", ""), [])
        data = [{"id": str(uuid.uuid4()), "type": "property", "attributes": a} for a in known]
        return self.refused(request) or JSONResponse({"data": page(request, data)})

    def inside(self, project: str) -> dict[str, Any]:
        """The link to a project."""
        return {"project": {"data": {"id": project, "type": "project"}}}


def noted(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What Nexus adds to attributes."""
    return {"description": None, "properties": {}, **attributes, "timestamps": TIMES}


def defined(name: str, *, required: bool) -> dict[str, Any]:
    """A property of texts."""
    return noted({"name": name, "property_type": "string", "required": required, "color": ""})


def page(request: Request, found: list[Any]) -> list[Any]:
    """The page that was asked for."""
    params = request.query_params
    size, number = int(params.get("page[size]", 50)), int(params.get("page[number]", 0))
    return found[number * size : (number + 1) * size]


def error(status: int, message: str) -> JSONResponse:
    """A refusal."""
    return JSONResponse({"message": message}, status)
