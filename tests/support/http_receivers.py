"""Real HTTP servers that receive as Splunk, an OTLP collector, a webhook and S3 do."""

from __future__ import annotations

import atexit
import base64
import contextlib
import hashlib
import hmac
import itertools
import json
import re
import ssl
import tempfile
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from tests.support.receivers import RECEIVERS, Receiver
from tests.support.sdks import moto

from cryogate.domain.errors import CryogateError


class Refuse(CryogateError):
    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status


class HttpReceiver(Receiver):
    """``burst`` is how many requests are answered with 503 before the next is taken.

    With ``tls`` it speaks https.
    """

    path = ""
    scheme = ""
    tls: ssl.SSLContext | None = None

    async def start(self) -> None:
        if not hasattr(self, "port"):
            self.port, self.burst, self.lock = 0, 0, threading.Lock()
            self.stored: dict[str, str] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                with outer.lock:
                    try:
                        if outer.burst:
                            outer.burst -= 1
                            raise Refuse(503)
                        status, answer = 200, outer.take(self.path, dict(self.headers), body)
                    except Refuse as refusal:
                        status, answer = refusal.status, {}
                told = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(told)))
                self.end_headers()
                with contextlib.suppress(OSError):  # the sender has been killed
                    self.wfile.write(told)

            do_PUT = do_POST  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        transport = "http"
        if self.tls is not None:
            self.server.socket = self.tls.wrap_socket(self.server.socket, server_side=True)
            transport = "https"
        self.url = f"{self.scheme}+{transport}://127.0.0.1:{self.port}{self.path}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.alive = True

    async def kill(self) -> None:
        if self.alive:
            self.alive = False
            self.server.shutdown()
            self.server.server_close()
            self.crashed()

    def crashed(self) -> None:
        """What is lost with it."""

    def take(self, path: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        raise NotImplementedError

    def store(self, text: str) -> None:
        self.stored[str(len(self.stored))] = text

    def kept(self) -> str:
        with self.lock:
            return "\n".join(self.stored[key].strip() for key in sorted(self.stored, key=_order))


def _order(key: str) -> tuple[int, str]:
    return (int(key), "") if key.isdigit() else (0, key)


class WebhookReceiver(HttpReceiver):
    scheme, path = "webhook", "/hook"
    KEY = b"canary-sink-token-of-some-length"

    async def start(self) -> None:
        await super().start()
        self.more["token"] = "whsec_" + base64.b64encode(self.KEY).decode()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        head = {name.lower(): value for name, value in headers.items()}
        signed = f"{head['webhook-id']}.{head['webhook-timestamp']}.".encode() + body
        proof = base64.b64encode(hmac.digest(self.KEY, signed, "sha256")).decode()
        if head["webhook-signature"] != f"v1,{proof}":
            raise Refuse(401)
        self.store(body.decode())
        return {}


class SplunkReceiver(HttpReceiver):
    """Indexes what it has taken when it is asked for the second time; loses the rest in a crash."""

    scheme = "splunk"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.waiting: dict[int, list[str]] = {}
        self.asked: dict[int, int] = {}
        self.numbers = 0

    def crashed(self) -> None:
        self.waiting.clear()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        head = {name.lower(): value for name, value in headers.items()}
        if head["authorization"] != "Splunk canary-sink-token":
            raise Refuse(403)
        if path == "/services/collector/event":
            self.numbers += 1
            events = [json.loads(line) for line in body.split(b"\n")]
            self.waiting[self.numbers] = [event["event"] for event in events]
            return {"text": "Success", "code": 0, "ackId": self.numbers}
        if path != f"/services/collector/ack?channel={head['x-splunk-request-channel']}":
            raise Refuse(404)
        answer = {}
        for number in json.loads(body)["acks"]:
            self.asked[number] = self.asked.get(number, 0) + 1
            if self.asked[number] > 1 and number in self.waiting:
                self.store("\n".join(self.waiting.pop(number)))
                answer[str(number)] = True
            else:
                answer[str(number)] = False
        return {"acks": answer}


class OtlpReceiver(HttpReceiver):
    scheme, path = "otlp", "/v1/logs"

    def take(self, path: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        [resource] = json.loads(body)["resourceLogs"]
        [scope] = resource["scopeLogs"]
        for record in scope["logRecords"]:
            assert int(record["timeUnixNano"]) % 1_000_000 == 0
            self.store(record["body"]["stringValue"])
        return {"partialSuccess": {}}


class S3Receiver(HttpReceiver):
    """Checks the signature by AWS's description, not by our code."""

    scheme, path = "s3", "/audit-bucket/log"

    async def start(self) -> None:
        await super().start()
        self.more |= {"user": "AKIDEXAMPLE", "region": "eu-test-1"}

    def take(self, path: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        head = {name.lower(): value for name, value in headers.items()}
        digest = hashlib.sha256(body).hexdigest()
        stamp = head["x-amz-date"]
        canonical = (
            f"PUT\n{path}\n\nhost:{head['host']}\nx-amz-content-sha256:{digest}\n"
            f"x-amz-date:{stamp}\n\nhost;x-amz-content-sha256;x-amz-date\n{digest}"
        )
        key = b"AWS4canary-sink-token"
        for step in (stamp[:8], "eu-test-1", "s3", "aws4_request"):
            key = hmac.new(key, step.encode(), hashlib.sha256).digest()
        scope = f"{stamp[:8]}/eu-test-1/s3/aws4_request"
        wanted = hmac.new(
            key,
            f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n"
            f"{hashlib.sha256(canonical.encode()).hexdigest()}".encode(),
            hashlib.sha256,
        ).hexdigest()
        if not head["authorization"].endswith(f"Signature={wanted}"):
            raise Refuse(403)
        name = path if path not in self.stored else f"{path}+{len(self.stored)}"
        self.stored[name] = body.decode()
        return {}


@cache
def _moto() -> str:
    """One for all tests: it takes seconds to start."""
    stack = contextlib.ExitStack()
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    atexit.register(stack.close)
    return stack.enter_context(moto(Path(folder)))


_ACCOUNT = "AKIDEXAMPLE000000000"


def signed_as(service: str) -> dict[str, str]:
    """What moto takes for a signature as long as it is not told to check any."""
    scope = f"{_ACCOUNT}/20260101/us-east-1/{service}/aws4_request"
    return {
        "authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"
    }


_SIGNED = signed_as("s3")


class MotoReceiver(HttpReceiver):
    """moto's S3, with a bucket that keeps every version. It has all in memory, so what dies here is
    a door before it that hands each request on as it came.
    """

    scheme = "s3"
    buckets = itertools.count()

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.more |= {"user": _ACCOUNT, "region": "us-east-1"}
        self.bucket = f"audit-bucket-{next(self.buckets)}"
        self.path = f"/{self.bucket}/log"
        self.behind = ""
        self.known: dict[str, str] = {}

    async def start(self) -> None:
        if not self.behind:
            self.behind = _moto()
            self.make_bucket()
        await super().start()

    def make_bucket(self) -> None:
        at = f"{self.behind}/{self.bucket}"
        kept = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
        assert httpx.put(at, headers=_SIGNED).status_code == 200
        versions = httpx.put(f"{at}?versioning", content=kept, headers=_SIGNED)
        assert versions.status_code == 200

    def take(self, path: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        answer = httpx.put(f"{self.behind}{path}", headers=headers, content=body)
        if answer.status_code != 200:
            raise Refuse(answer.status_code)
        return {}

    def objects(self) -> list[tuple[str, str]]:
        """Names and versions, by name."""
        listed = httpx.get(f"{self.behind}/{self.bucket}?versions", headers=_SIGNED).text
        return sorted(re.findall(r"<Key>([^<]*)</Key><VersionId>([^<]*)</VersionId>", listed))

    def kept(self) -> str:
        for name, version in self.objects():
            if version not in self.known:
                at = f"{self.behind}/{self.bucket}/{name}?versionId={version}"
                read = httpx.get(at, headers=_SIGNED)
                assert read.status_code == 200
                self.known[version] = read.text.strip()
        return "\n".join(self.known.values())


HTTP_RECEIVERS: dict[str, type[HttpReceiver]] = {
    "splunk": SplunkReceiver,
    "otlp": OtlpReceiver,
    "webhook": WebhookReceiver,
    "s3": S3Receiver,
    "s3.moto": MotoReceiver,
}
ALL: dict[str, type[Receiver]] = {**RECEIVERS, **HTTP_RECEIVERS}
