"""A transit engine that speaks the wire format of Vault and OpenBao, on a real socket."""

from __future__ import annotations

import asyncio
import base64
import socket
import threading
from datetime import UTC, datetime
from typing import Any

import uvicorn
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cryogate.testing.clock import FakeClock

TOKEN = "s.transit-token"


class FakeTransit:
    """One ``ecdsa-p256`` key with its versions. What goes wrong, the test says."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._versions: dict[int, tuple[ec.EllipticCurvePrivateKey, str]] = {}
        self._lowest = 1
        self.kind = "ecdsa-p256"
        self.status: int | None = None
        self.body: bytes | None = None
        self.sign_with: ec.EllipticCurvePrivateKey | None = None
        self.answer_version: int | None = None
        self.signed: list[dict[str, Any]] = []
        self._add()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        app = Starlette(
            routes=[
                Route("/v1/transit/keys/tokens", self._read, methods=["GET"]),
                Route("/v1/transit/keys/tokens/rotate", self._rotate, methods=["POST"]),
                Route("/v1/transit/keys/tokens/config", self._config, methods=["POST"]),
                Route("/v1/transit/sign/tokens/sha2-256", self._sign, methods=["POST"]),
            ]
        )
        config = uvicorn.Config(app, log_level="critical", lifespan="off", ws="none")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._server.serve(sockets=[self._socket])), daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def _add(self) -> None:
        now = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
        stamp = now.strftime("%Y-%m-%dT%H:%M:%S.%f") + "789Z"  # nanoseconds, as Go writes them
        key = ec.generate_private_key(ec.SECP256R1())
        self._versions[len(self._versions) + 1] = (key, stamp)

    def _trouble(self, request: Request) -> Response | None:
        if request.headers.get("x-vault-token") != TOKEN:
            return JSONResponse({"errors": ["permission denied"]}, 403)
        if self.status is not None:
            return JSONResponse({"errors": ["sealed"]}, self.status)
        return Response(self.body) if self.body is not None else None

    async def _read(self, request: Request) -> Response:
        versions = {
            str(number): {
                "name": "P-256",
                "creation_time": stamp,
                "public_key": key.public_key()
                .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
                .decode(),
            }
            for number, (key, stamp) in self._versions.items()
            if number >= self._lowest
        }
        data = {"type": self.kind, "keys": versions, "latest_version": len(self._versions),
                "min_decryption_version": self._lowest, "supports_signing": True}  # fmt: skip
        return self._trouble(request) or JSONResponse({"request_id": "r", "data": data})

    async def _rotate(self, request: Request) -> Response:
        trouble = self._trouble(request)
        if trouble is None:
            self._add()
        return trouble or Response(status_code=204)

    async def _config(self, request: Request) -> Response:
        trouble = self._trouble(request)
        if trouble is None:
            self._lowest = (await request.json())["min_decryption_version"]
        return trouble or Response(status_code=204)

    async def _sign(self, request: Request) -> Response:
        trouble = self._trouble(request)
        if trouble is not None:
            return trouble
        asked = await request.json()
        self.signed.append(asked)
        assert asked["marshaling_algorithm"] == "jws"
        assert asked["prehashed"] is False
        version = asked["key_version"]
        key = self.sign_with or self._versions[version][0]
        data = base64.b64decode(asked["input"], validate=True)
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
        raw = base64.urlsafe_b64encode(r.to_bytes(32) + s.to_bytes(32)).rstrip(b"=").decode()
        number = self.answer_version or version
        return JSONResponse(
            {"data": {"signature": f"vault:v{number}:{raw}", "key_version": number}}
        )
