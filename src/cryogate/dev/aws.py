"""AWS as far as Braket needs it: signatures, sessions of roles with their policies, S3 objects."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cryogate.domain.secrets import Secret
from cryogate.outbound.sigv4 import AwsKeys, sign

_AUTHORIZATION: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([A-Z0-9]+)/(\d{8})/([a-z0-9-]+)/([a-z0-9]+)/aws4_request, ?"
    r"SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})"
)
ACCOUNT: Final = "123456789012"


@dataclass(frozen=True, slots=True)
class Session:
    """Who is behind a key. ``policy`` None: everything is allowed."""

    key_id: str
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)
    policy: Mapping[str, Any] | None = None
    name: str = "root"
    tags: Mapping[str, str] = field(default_factory=dict)


class Denied(Exception):
    """The request is not signed by anybody known, or not allowed to him."""


class Accounts:
    """The keys that there are. ``refuse`` makes STS answer an error."""

    def __init__(self) -> None:
        self.root = Session("AKIATESTTESTTESTTEST", "root-secret-of-the-test-account")
        self.sessions: dict[str, Session] = {self.root.key_id: self.root}
        self.refuse = False

    def assume(
        self, name: str, policy: Mapping[str, Any] | None, tags: Mapping[str, str]
    ) -> Session:
        """A session of the role."""
        made = Session(
            "ASIA" + secrets.token_hex(8).upper(), secrets.token_hex(20), secrets.token_hex(40),
            policy, name, dict(tags),
        )  # fmt: skip
        self.sessions[made.key_id] = made
        return made

    async def check(self, request: Request, service: str, action: str, resource: str) -> Session:
        """Who signed the request, if he may do this.

        Raises:
            Denied: nobody known, another signature, or not allowed.
        """
        session = await self._signer(request, service)
        if session.policy is not None and not allowed(session.policy, action, resource):
            raise Denied(f"{session.name} is not allowed {action} on {resource}")
        return session

    async def _signer(self, request: Request, service: str) -> Session:
        match = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
        if match is None or match[4] != service:
            raise Denied("the request is not signed")
        session = self.sessions.get(match[1])
        if session is None:
            raise Denied("the key is not known")
        if request.headers.get("x-amz-security-token", "") != session.token:
            raise Denied("the session token is another")
        stamp = request.headers["x-amz-date"].replace("Z", "+0000")
        at = datetime.strptime(stamp, "%Y%m%dT%H%M%S%z")
        skip = {"host", "x-amz-date", "x-amz-security-token"}
        headers = {n: request.headers[n] for n in match[5].split(";") if n not in skip}
        raw = request.scope["raw_path"].decode("latin-1").partition("?")[0]
        query = request.scope["query_string"].decode("latin-1")
        url = f"http://{request.headers['host']}{raw}" + (f"?{query}" if query else "")
        token = Secret(session.token.encode()) if session.token else None
        again = sign(
            AwsKeys(session.key_id, Secret(session.secret.encode()), token),
            service=service, region=match[3], method=request.method, url=url, headers=headers,
            body=await request.body(), now_ms=int(at.timestamp() * 1000),
        )  # fmt: skip
        if not again["authorization"].endswith(match[6]):
            raise Denied("the signature is another")
        return session

    async def sts(self, request: Request) -> Response:
        """AssumeRole."""
        form = {k: v[0] for k, v in parse_qs((await request.body()).decode()).items()}
        try:
            await self.check(request, "sts", "sts:AssumeRole", form.get("RoleArn", ""))
        except Denied as error:
            return Response(f"<Error>{error}</Error>", 403, media_type="text/xml")
        if self.refuse or form.get("Action") != "AssumeRole":
            return Response("<Error><Code>AccessDenied</Code></Error>", 403, media_type="text/xml")
        policy = msgspec.json.decode(form["Policy"]) if "Policy" in form else None
        tags = {
            form[f"Tags.member.{n}.Key"]: form[f"Tags.member.{n}.Value"]
            for n in range(1, 51)
            if f"Tags.member.{n}.Key" in form
        }
        made = self.assume(form["RoleSessionName"], policy, tags)
        until = datetime.now(UTC) + timedelta(seconds=int(form["DurationSeconds"]))
        expires = until.strftime("%Y-%m-%dT%H:%M:%SZ")
        return Response(
            '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
            f"<AssumeRoleResult><Credentials><AccessKeyId>{made.key_id}</AccessKeyId>"
            f"<SecretAccessKey>{made.secret}</SecretAccessKey>"
            f"<SessionToken>{made.token}</SessionToken><Expiration>{expires}</Expiration>"
            "</Credentials></AssumeRoleResult></AssumeRoleResponse>",
            media_type="text/xml",
        )


def allowed(policy: Mapping[str, Any], action: str, resource: str) -> bool:
    """Whether some statement of the policy allows this; what it does not say, it denies."""
    return any(
        statement["Effect"] == "Allow"
        and any(fnmatchcase(action, pattern) for pattern in _several(statement["Action"]))
        and any(fnmatchcase(resource, pattern) for pattern in _several(statement["Resource"]))
        for statement in policy["Statement"]
    )


def _several(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def refused(error: Denied) -> JSONResponse:
    """As Braket says no."""
    return JSONResponse({"message": str(error)}, 403, {"x-amzn-errortype": "AccessDeniedException"})
