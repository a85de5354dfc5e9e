"""A receiver of webhooks over real TLS, and a check of signatures by a library that is not ours."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from http_message_signatures import HTTPMessageVerifier, HTTPSignatureKeyResolver, algorithms
from tests.support.tls import authority, issue, server_context

from cryogate.outbound.message_signatures import TAG
from cryogate.tokens.encoding import unb64


class Receiver:
    """Answers with what ``answers`` hold, then with 204, and keeps all that it was sent."""

    def __init__(self, folder: Path) -> None:
        root = authority("receivers")
        self.ca = folder / "receivers.pem"
        self.ca.write_bytes(root.cert_pem)
        self.answers: list[int] = []
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.got.append((self.path, headers, body))
                status = outer.answers.pop(0) if outer.answers else 204
                self.send_response(status)
                if status == 302:
                    self.send_header("location", f"{outer.url}/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        context = server_context(folder, issue("localhost", "localhost", issuer=root))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.host = f"localhost:{self.server.server_address[1]}"
        self.url = f"https://{self.host}"

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in self.got]


@contextmanager
def receiving(folder: Path) -> Iterator[Receiver]:
    made = Receiver(folder)
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
        thread.join(10)


class Published(HTTPSignatureKeyResolver):
    def __init__(self, jwk: Any) -> None:
        self.jwk = jwk

    def resolve_public_key(self, key_id: str) -> Ed25519PublicKey:
        assert key_id == self.jwk["kid"]
        return Ed25519PublicKey.from_public_bytes(unb64(self.jwk["x"]))


def verified(jwk: Any, method: str, url: str, headers: dict[str, str], body: bytes) -> set[str]:
    """The covered components of a message whose signature and digest hold."""
    verifier = HTTPMessageVerifier(
        signature_algorithm=algorithms.ED25519, key_resolver=Published(jwk)
    )
    [result] = verifier.verify(
        SimpleNamespace(method=method, url=url, headers=headers), expect_tag=TAG
    )
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    assert headers["content-digest"] == f"sha-256=:{digest}:"
    return {str(name).strip('"') for name in result.covered_components}
