"""An identity provider with a back channel (CIBA, poll mode) on real TLS.

People answer when the test says so: ``agree`` and ``decline``. What it was asked is in ``asked``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from tests.fakes.issuer import FakeIssuer
from tests.support.tls import authority, issue, server_context

START, TOKEN = "/ciba", "/token"


class FakeCiba(FakeIssuer):
    """``answers`` maps a request to what its next poll is told."""

    client_id = "cryogate"

    def __init__(self, ca: Any, ca_file: Path) -> None:
        super().__init__(ca, ca_file)
        self.asked: dict[str, dict[str, str]] = {}
        self.answers: dict[str, tuple[int, dict[str, Any]]] = {}
        self.seen: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.down = False
        self.pages["/.well-known/openid-configuration"] = lambda: self._json(
            {
                "issuer": self.url,
                "jwks_uri": self.url + "/keys",
                "backchannel_authentication_endpoint": self.url + START,
                "token_endpoint": self.url + TOKEN,
            }
        )

    def request_of(self, person: str) -> str:
        """The newest request that was put to a person."""
        return [r for r, form in self.asked.items() if form["login_hint"] == person][-1]

    def agree(self, request: str, subject: str, **claims: Any) -> None:
        token = self.token(**{"sub": subject, "aud": self.client_id, **claims})
        self.answers[request] = (200, {"id_token": token, "access_token": "x"})

    def refuse(self, request: str, error: str) -> None:
        self.answers[request] = (400, {"error": error})

    def answer(self, path: str, headers: dict[str, str], form: dict[str, str]) -> tuple[int, Any]:
        self.seen.append((path, headers, form))
        if self.down:
            return 503, {}
        if path == START:
            request = f"req-{len(self.asked)}"
            self.asked[request] = form
            return 200, {"auth_req_id": request, "expires_in": 300, "interval": 5}
        pending = (400, {"error": "authorization_pending"})
        return self.answers.get(form.get("auth_req_id", ""), pending)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.split("\r\n")
            headers = {n.lower(): v for n, _, v in (line.partition(": ") for line in lines) if n}
            path = first.split(" ")[1]
            if path in (START, TOKEN):
                body = await reader.readexactly(int(headers["content-length"]))
                status, said = self.answer(path, headers, dict(parse_qsl(body.decode())))
                answer = json.dumps(said).encode()
            else:
                status, _, answer = self.pages.get(path, lambda: (404, {}, b""))()
            writer.write(
                f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n"
                f"content-length: {len(answer)}\r\nconnection: close\r\n\r\n".encode()
                + answer
            )
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def fake_ciba(folder: Path) -> AsyncIterator[FakeCiba]:
    ca = authority()
    ca_file = folder / "ciba-ca.pem"
    ca_file.write_bytes(ca.cert_pem)
    made = FakeCiba(ca, ca_file)
    context = server_context(folder, issue("localhost", "localhost", issuer=ca), "ciba")
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
    made.url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield made
