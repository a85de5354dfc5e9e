"""The authorization server's endpoints, and the operators' view of tokens and revocations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from cryogate.broker.issue import TokenService
from cryogate.broker.metadata import metadata
from cryogate.broker.oauth import OAuthError
from cryogate.broker.replicas import ReplicaInfo, Replicas
from cryogate.broker.revoke import RevocationService
from cryogate.domain.agents import Operator
from cryogate.domain.errors import Malformed
from cryogate.gateway.standing import number, text
from cryogate.ports.audit import rfc3339
from cryogate.ports.clock import Clock
from cryogate.ports.keys import KeyInfo, SigningKeys
from cryogate.ports.revocations import RevokedKind
from cryogate.ports.store import ReadStore, Row
from cryogate.server.bodies import read_json
from cryogate.server.endpoints import Endpoint, ForOperators, OperatorRole, Public
from cryogate.server.oauth_forms import read_oauth_form, refused
from cryogate.server.peers import PeerCertificates
from cryogate.server.replies import actor, query, reply, whole_number

_PAGE = 100
_MAX_BODY = 16 << 10


class NewRevocation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ends now, and why."""

    kind: RevokedKind
    subject: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How keys are rotated."""

    emergency: bool = False


class OAuthRoutes:
    """Token, revocation, introspection, keys and metadata."""

    def __init__(
        self,
        *,
        tokens: TokenService,
        revocations: RevocationService,
        keys: SigningKeys,
        store: ReadStore,
        clock: Clock,
        issuer: str,
        peers: PeerCertificates,
        tls_methods: Sequence[str] = (),
        replicas: Replicas | None = None,
    ) -> None:
        self._tokens = tokens
        self._replicas = replicas
        self._revocations = revocations
        self._keys = keys
        self._store = store
        self._clock = clock
        self._issuer = issuer
        self._peers = peers
        self._metadata = metadata(issuer, tokens.grant_types, tls_methods)

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The OAuth endpoints authenticate their clients by themselves (RFC 7523)."""
        look = (OperatorRole.APPROVER, OperatorRole.AUDITOR)
        return (
            Public("POST", "/oauth2/token", self.token),
            Public("POST", "/oauth2/revoke", self.revoke_own),
            Public("GET", "/.well-known/jwks.json", self.jwks),
            Public("GET", "/.well-known/oauth-authorization-server", self.metadata),
            ForOperators("GET", "/admin/v1/revocations", look, self.list_revocations),
            ForOperators("POST", "/admin/v1/revocations", (), self.revoke),
            ForOperators("GET", "/admin/v1/replicas", look, self.list_replicas),
            ForOperators("GET", "/admin/v1/tokens", look, self.list_tokens),
            ForOperators("GET", "/admin/v1/keys", look, self.list_keys),
            ForOperators("POST", "/admin/v1/keys/rotate", (), self.rotate),
        )

    # -- OAuth -----------------------------------------------------------------------------

    async def token(self, request: Request) -> Response:
        """RFC 6749 section 4.4 with RFC 7523, RFC 9396 and RFC 9449."""
        try:
            proofs = request.headers.getlist("dpop")
            if len(proofs) > 1:
                raise OAuthError("invalid_dpop_proof", "send one DPoP header")
            form = await read_oauth_form(request)
            answer = await self._tokens.token(
                form,
                proofs[0] if proofs else None,
                f"{self._issuer}/oauth2/token",
                self._peers.of(request.scope),
            )
        except OAuthError as error:
            return refused(error)
        return reply(answer)

    async def revoke_own(self, request: Request) -> Response:
        """RFC 7009: a client ends a token of its own."""
        try:
            await self._revocations.revoke_token(
                await read_oauth_form(request),
                f"{self._issuer}/oauth2/revoke",
                self._peers.of(request.scope),
            )
        except OAuthError as error:
            return refused(error)
        return Response(status_code=200, headers={"cache-control": "no-store"})

    async def jwks(self, request: Request) -> Response:
        """RFC 7517: the keys that verify access tokens."""
        return reply({"keys": list(self._keys.public_jwks().values())},
                     headers={"cache-control": "public, max-age=60"})  # fmt: skip

    async def metadata(self, request: Request) -> Response:
        """RFC 8414."""
        return reply(self._metadata, headers={"cache-control": "public, max-age=60"})

    # -- for operators ---------------------------------------------------------------------

    async def revoke(self, request: Request, operator: Operator) -> Response:
        """201 once it is durable and enforced by this process; with ``?wait=all``, by all."""
        wait = query(request, "wait").get("wait", "self")
        if wait not in ("self", "all"):
            raise Malformed("malformed_query", "wait is self or all")
        new = await read_json(request, NewRevocation, _MAX_BODY)
        done = await self._revocations.revoke(
            new.kind, new.subject, new.reason, actor(operator), wait_for_all=wait == "all"
        )
        reach = {}
        if done.reach is not None:
            reach = {"enforcing": done.reach.enforcing, "refusing": done.reach.refusing}
        return reply(
            {
                **reach,
                "rev_seq": done.rev_seq,
                "kind": new.kind.value,
                "subject": new.subject,
                "reason": new.reason,
                "revoked_by": actor(operator),
                "created_at": rfc3339(done.created_ms),
            },
            201,
        )

    async def list_revocations(self, request: Request, operator: Operator) -> Response:
        """Revocations, newest first."""
        params = query(request, "before", "limit")
        limit = max(1, whole_number(params, "limit", _PAGE, 200))
        before = whole_number(params, "before", 0, 2**53) if "before" in params else None
        rows = await self._revocations.page(before, limit)
        return reply({
            "items": [_revocation(row) for row in rows],
            "next": number(rows[-1], "rev_seq") if len(rows) == limit else None,
        })  # fmt: skip

    async def list_replicas(self, request: Request, operator: Operator) -> Response:
        """The processes on this database, and the revocation that each enforces."""
        query(request)
        found = () if self._replicas is None else await self._replicas.all()
        return reply({"items": [_replica(info) for info in found], "next": None})

    async def list_tokens(self, request: Request, operator: Operator) -> Response:
        """An agent's tokens, newest first: bounds and use, never the token itself."""
        params = query(request, "agent_id", "limit")
        if "agent_id" not in params:
            raise Malformed("malformed_query", "say whose tokens with ?agent_id=")
        rows = await self._store.fetch(
            "tokens_by_agent",
            {
                "agent_id": params["agent_id"],
                "before_ms": self._clock.now_ms() + 60_000,
                "limit": max(1, whole_number(params, "limit", _PAGE, 200)),
            },
        )
        return reply({"items": [_token(row) for row in rows], "next": None})

    async def list_keys(self, request: Request, operator: Operator) -> Response:
        """The public keys that verify access tokens now, and which of them signs."""
        query(request)
        return reply(self._key_page())

    async def rotate(self, request: Request, operator: Operator) -> Response:
        """A new signing key; the old one is served until its last token has expired.

        In an emergency it is not: every token that the old keys signed is dead at once.
        """
        asked = await read_json(request, Rotation, _MAX_BODY)
        await self._keys.rotate(actor(operator), distrust_old=asked.emergency)
        return reply(self._key_page(), 201)

    def _key_page(self) -> dict[str, Any]:
        public = self._keys.public_jwks()
        known = self._keys.keys()
        items = [{**public[info.kid], **_key(info)} for info in known]
        return {"items": items, "next": None}


def _revocation(row: Row) -> dict[str, Any]:
    return {
        "rev_seq": number(row, "rev_seq"),
        "kind": text(row, "kind"),
        "subject": text(row, "subject"),
        "reason": text(row, "reason"),
        "revoked_by": text(row, "revoked_by"),
        "created_at": rfc3339(number(row, "created_ms")),
        "until": rfc3339(number(row, "until_ms")),
    }


def _key(info: KeyInfo) -> dict[str, Any]:
    return {
        "alg": "ES256",
        "signs": info.signs,
        "created_at": rfc3339(info.created_ms),
        "retired_at": None if info.retired_ms is None else rfc3339(info.retired_ms),
    }


def _replica(info: ReplicaInfo) -> dict[str, Any]:
    return {
        "replica_id": info.replica_id,
        "enforced_seq": info.enforced_seq,
        "bound_ms": info.bound_ms,
        "started_at": rfc3339(info.started_ms),
        "seen_at": rfc3339(info.seen_ms),
    }


def _token(row: Row) -> dict[str, Any]:
    return {
        "token_id": text(row, "token_id"),
        "agent_id": text(row, "agent_id"),
        "owner": text(row, "owner"),
        "experiment_id": text(row, "experiment_id"),
        "issued_at": rfc3339(number(row, "issued_ms")),
        "expires_at": rfc3339(number(row, "expires_ms")),
        "exp_params": msgspec.Raw(text(row, "exp_params").encode()),
        "policy_digest": text(row, "policy_digest"),
        "used_jobs": number(row, "used_jobs"),
        "used_shots": number(row, "used_shots"),
        "used_cents": number(row, "used_cents"),
    }
