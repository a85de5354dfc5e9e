"""A tiny server that speaks the wire contract, on a real socket.

It checks proofs and assertions with the real verifiers; what it answers, the test says.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cryogate.tokens import jws
from cryogate.tokens.claims import read_assertion
from cryogate.tokens.dpop import ProofVerifier, token_hash
from cryogate.tokens.errors import TokenError
from cryogate.tokens.keys import load_public
from cryogate.tokens.nonces import NonceSource
from cryogate.tokens.replay import ReplayWindow

Answer = tuple[int, object] | Callable[["Seen"], tuple[int, object]]


@dataclass(frozen=True)
class Seen:
    """A request as it came in."""

    method: str
    path: str
    query: str
    token: str | None
    body: Any


class FakeGateway:
    """Register clients, say answers, look at what was seen."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.token_forms: list[dict[str, str]] = []
        self.answers: dict[tuple[str, str], Answer] = {}
        self.clients: dict[str, dict[str, str]] = {}
        self.live: set[str] = set()
        self.life_s = 300
        self.cut_next: set[tuple[str, str]] = set()
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._sock.getsockname()[1]}"
        self._proofs = ProofVerifier(
            clock_ms=_now_ms,
            replay=ReplayWindow(not_before_s=_now_ms() // 1000 - 60),
            nonces=NonceSource(),
        )
        app = Starlette(
            routes=[
                Route("/oauth2/token", self._token, methods=["POST"]),
                Route("/{rest:path}", self._api, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
            ]
        )
        config = uvicorn.Config(app, log_level="critical", lifespan="off", ws="none")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._sock]))

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._sock.close()

    def answer(self, method: str, path: str, answer: Answer) -> None:
        self.answers[(method, path)] = answer

    def cut(self, method: str, path: str) -> None:
        """The next such request is carried out, but its answer is lost."""
        self.cut_next.add((method, path))

    def paths(self) -> list[str]:
        return [f"{seen.method} {seen.path}" for seen in self.seen]

    async def _token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        self.token_forms.append(form)
        try:
            header, parsed = jws.parse(form["client_assertion"])
            claims = read_assertion(parsed.payload)
            key = load_public(self.clients[claims.iss])
            parsed.verify(header, key, {"ES256"})
            assert claims.aud == self.url
            self._proofs.verify(
                request.headers["dpop"], method="POST", url=f"{self.url}/oauth2/token"
            )
        except (KeyError, TokenError) as error:
            return JSONResponse(
                {"error": "invalid_client", "error_description": f"not known: {error}"}, 401
            )
        token = f"token-{len(self.token_forms)}"
        self.live.add(token)
        details = json.loads(form.get("authorization_details", "[]"))
        return JSONResponse(
            {
                "access_token": token,
                "token_type": "DPoP",
                "expires_in": self.life_s,
                "authorization_details": details,
            }
        )

    async def _api(self, request: Request) -> Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        raw = await request.body()
        path = request.scope["raw_path"].decode()
        seen = Seen(
            request.method,
            path,
            request.url.query,
            token or None,
            json.loads(raw) if raw else None,
        )
        self.seen.append(seen)
        try:
            assert scheme == "DPoP"
            self._proofs.verify(
                request.headers["dpop"],
                method=request.method,
                url=self.url + path,
                ath=token_hash(token),
            )
        except (KeyError, TokenError) as error:
            return _problem(401, "invalid_token", str(error))
        if token not in self.live:
            return _problem(401, "expired_token", "its time is over")
        answer = self.answers.get((request.method, path), (404, {"detail": "there is nothing"}))
        status, body = answer(seen) if callable(answer) else answer
        if (request.method, path) in self.cut_next:
            self.cut_next.remove((request.method, path))
            # announces more than it sends, so the connection breaks in the middle of the answer
            return Response(b"{", status, {"content-length": "5"})
        if isinstance(body, (bytes, str)):
            return Response(body, status)
        media = "application/problem+json" if status >= 400 else "application/json"
        return JSONResponse(body, status, media_type=media)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _problem(status: int, code: str, detail: str) -> Response:
    return JSONResponse(
        {
            "type": f"https://cryogate.dev/problems/{code}",
            "title": code,
            "status": status,
            "detail": detail,
        },
        status,
        media_type="application/problem+json",
    )
