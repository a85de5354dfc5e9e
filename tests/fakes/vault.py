"""Vault's HTTP API in its documented shapes: login, unwrap, KV v2, a dynamic engine, leases."""

from __future__ import annotations

import secrets
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cryogate.dev.faults import Faults, FaultyApp


class VaultFake:
    """``life_s`` is that of tokens and leases. ``stuck``: nothing can be revoked."""

    def __init__(self, *, life_s: int = 300) -> None:
        self.life_s, self.stuck = life_s, False
        self.faults = Faults()
        self.role_id, self.secret_id, self.jwt = "role-1", "secret-id-canary", "jwt-canary"
        self.wrapping: set[str] = set()
        self.tokens: set[str] = set()
        self.kv: dict[str, dict[str, Any]] = {}
        self.leases: dict[str, int] = {}
        self.logins: list[str] = []
        routes = [
            Route("/v1/auth/{mount}/login", self._login, methods=["POST"]),
            Route("/v1/sys/wrapping/unwrap", self._unwrap, methods=["POST"]),
            Route("/v1/sys/leases/renew", self._renew, methods=["PUT"]),
            Route("/v1/sys/leases/revoke", self._revoke, methods=["PUT"]),
            Route("/v1/kv/data/{path:path}", self._read),
            Route("/v1/aws/creds/cryogate", self._mint),
        ]
        self.app = FaultyApp(Starlette(routes=routes), self.faults)

    async def _login(self, request: Request) -> Response:
        mount, body = request.path_params["mount"], await request.json()
        good = {
            "approle": (body.get("role_id"), body.get("secret_id"))
            == (self.role_id, self.secret_id),
            "jwt": (body.get("role"), body.get("jwt")) == (self.role_id, self.jwt),
            "kubernetes": (body.get("role"), body.get("jwt")) == (self.role_id, self.jwt),
        }.get(mount, False)
        if not good:
            return _no(400, "invalid role or secret ID")
        token = "hvs." + secrets.token_urlsafe(24)
        self.tokens.add(token)
        self.logins.append(mount)
        return JSONResponse({
            "request_id": "r", "lease_id": "", "renewable": False, "lease_duration": 0,
            "data": None, "wrap_info": None, "warnings": None,
            "auth": {"client_token": token, "accessor": "a", "policies": ["cryogate"],
                     "lease_duration": self.life_s, "renewable": True, "token_type": "service"},
        })  # fmt: skip

    async def _unwrap(self, request: Request) -> Response:
        token = request.headers.get("x-vault-token", "")
        if token not in self.wrapping:
            return _no(400, "wrapping token is not valid or does not exist")
        self.wrapping.remove(token)
        return JSONResponse({"data": {"secret_id": self.secret_id, "secret_id_accessor": "s"}})

    def _refused(self, request: Request) -> Response | None:
        known = request.headers.get("x-vault-token") in self.tokens
        return None if known else _no(403, "permission denied")

    async def _read(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        found = self.kv.get(request.path_params["path"])
        if found is None:
            return _no(404)
        metadata = {"created_time": "2026-11-01T00:00:00Z", "version": 1, "destroyed": False}
        return JSONResponse({"lease_id": "", "data": {"data": found, "metadata": metadata}})

    async def _mint(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        lease_id = "aws/creds/cryogate/" + secrets.token_hex(8)
        self.leases[lease_id] = self.life_s
        return JSONResponse({
            "request_id": "r", "lease_id": lease_id, "lease_duration": self.life_s,
            "renewable": True, "data": {
                "access_key": "ASIATESTTESTTEST", "secret_key": "made-secret-canary",
                "security_token": "made-token-canary", "arn": None},
        })  # fmt: skip

    async def _renew(self, request: Request) -> Response:
        refused, body = self._refused(request), await request.json()
        if refused is not None:
            return refused
        if body["lease_id"] not in self.leases:
            return _no(400, "lease not found")
        return JSONResponse({"lease_id": body["lease_id"], "lease_duration": body["increment"],
                             "renewable": True})  # fmt: skip

    async def _revoke(self, request: Request) -> Response:
        refused, body = self._refused(request), await request.json()
        if refused is not None:
            return refused
        if self.stuck:
            return _no(500, "failed to revoke")
        self.leases.pop(body["lease_id"], None)
        return Response(status_code=204)


def _no(status: int, *errors: str) -> JSONResponse:
    return JSONResponse({"errors": list(errors)}, status)
