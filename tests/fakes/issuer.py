"""An identity provider on real TLS: metadata, keys, and tokens in the real wire format.

It can be told to misbehave; what it was asked is in ``hits``.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, KeyParameters, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from tests.support.tls import Issued, authority, issue, server_context

from cryogate.outbound.foreign import ALGS

Key = RSAKey | ECKey | OKPKey
_registry = JWSRegistry(algorithms=list(ALGS), strict_check_header=False)
Answer = tuple[int, dict[str, str], bytes]


def make_key(alg: str, kid: str) -> Key:
    about: KeyParameters = {"kid": kid, "use": "sig", "alg": alg}
    if alg.startswith("ES"):
        return ECKey.generate_key("P-256" if alg == "ES256" else "P-384", about)
    if alg == "EdDSA":
        return OKPKey.generate_key("Ed25519", about)
    return RSAKey.generate_key(2048, about)


class FakeIssuer:
    """``respond`` answers a path; replace entries of ``pages`` to misbehave."""

    def __init__(self, ca: Issued, ca_file: Path) -> None:
        self.ca, self.ca_file = ca, ca_file
        self.url = ""
        self.hits: list[str] = []
        self.keys: dict[str, Key] = {"k1": make_key("RS256", "k1")}
        self.headers: dict[str, str] = {}
        self.pages: dict[str, Callable[[], Answer]] = {
            "/.well-known/openid-configuration": lambda: self._json(
                {"issuer": self.url, "jwks_uri": self.url + "/keys"}
            ),
            "/keys": lambda: self._json(
                {"keys": [key.as_dict(private=False) for key in self.keys.values()]}
            ),
        }

    def _json(self, document: object) -> Answer:
        headers = {"content-type": "application/json", **self.headers}
        return 200, headers, json.dumps(document).encode()

    def token(self, kid: str = "k1", header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token like those of GitHub, Kubernetes or Entra; a claim of ``...`` is left out."""
        now = int(time.time())
        key = self.keys[kid]
        alg = str(key.as_dict().get("alg"))
        values = {"iss": self.url, "sub": "workload", "iat": now, "nbf": now, "exp": now + 300,
                  **claims}  # fmt: skip
        values = {name: value for name, value in values.items() if value is not ...}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # joserfc prefers the newer name
            return jwt.encode({"alg": alg, "kid": kid, "typ": "JWT", **(header or {})}, values,
                              key, registry=_registry)  # fmt: skip

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode()
            self.hits.append(path)
            status, headers, body = self.pages.get(path, lambda: (404, {}, b""))()
            lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", "connection: close"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def fake_issuer(folder: Path) -> AsyncIterator[FakeIssuer]:
    ca = authority()
    ca_file = folder / "issuer-ca.pem"
    ca_file.write_bytes(ca.cert_pem)
    made = FakeIssuer(ca, ca_file)
    context: ssl.SSLContext = server_context(
        folder, issue("localhost", "localhost", "127.0.0.1", issuer=ca), "issuer"
    )
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
    made.url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield made
