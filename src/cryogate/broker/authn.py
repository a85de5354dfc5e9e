"""Client authentication: ``private_key_jwt`` (RFC 7523 section 3, OpenID Connect Core section 9).

 (1) the assertion is a compact JWS of a type that is no token's or proof's
 (2) ``iss`` = ``sub`` names a client, and the signature is by one of that client's keys
 (3) ``aud`` is this issuer or this very endpoint, exactly one string
 (4) it is in its time, which is at most `MAX_LIFE_S` long
 (5) ``jti`` is used once: `Client.use` goes into the unit of work of whatever is then done, so
     a replay undoes it (RFC 7523 section 3, point 7)

Until (2) holds every answer is the same, and takes the same work: a stranger does not learn which
clients exist. Whether a client is *active* is the caller's question.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from cryogate.broker.oauth import OAuthError, invalid_client
from cryogate.broker.rows import OPERATOR_PREFIX, agent_of, operator_of, text
from cryogate.domain.agents import Agent, Operator
from cryogate.domain.ids import is_slug
from cryogate.ports.clock import Clock
from cryogate.ports.store import ReadStore, Statement
from cryogate.tokens import jws
from cryogate.tokens.assertion import ACTOR_TYPE, ASSERTION_TYPE, MAX_LIFE_S, TYPE
from cryogate.tokens.claims import AssertionClaims, read_assertion
from cryogate.tokens.errors import BadSignature, MalformedToken
from cryogate.tokens.keys import CLIENT_ALGS, PublicKey, generate, load_public

MAX_SKEW_S: Final = 5
# A token or a proof is never an assertion, whoever signed it (T2).
_TYPES: Final = frozenset({"JWT", TYPE})
# Whoever is given an agent's consent to act must not be able to authenticate by it.
_ACTOR_TYPES: Final = frozenset({ACTOR_TYPE})


@dataclass(frozen=True, slots=True)
class Client:
    """A client that proved who it is: an agent or an operator, never both.

    ``kid`` is the key it used, ``use`` the statement that spends its assertion.
    """

    client_id: str
    agent: Agent | None
    operator: Operator | None
    kid: str
    use: Statement

    @property
    def active(self) -> bool:
        """Whether the client may act at all."""
        who = self.agent or self.operator
        return who is not None and who.active


class Impostor(OAuthError):
    """A failed authentication in the name of a client that exists. Reads as any other."""

    def __init__(self, client_id: str, description: str) -> None:
        super().__init__("invalid_client", description, 401)
        self.client_id = client_id


class ClientAuthenticator:
    """Steps (1) to (5) for the endpoints of one issuer."""

    def __init__(self, store: ReadStore, clock: Clock, issuer: str) -> None:
        self._store, self._clock, self._issuer = store, clock, issuer
        self._nobody = generate().public

    async def authenticate(self, form: Mapping[str, str], endpoint: str) -> Client:
        """The client that sent ``form`` to ``endpoint`` (its full URL).

        Raises:
            OAuthError: ``invalid_client``, or ``invalid_request`` where nothing was sent to
                authenticate by. `Impostor` where the client exists.
        """
        if form.get("client_assertion_type") != ASSERTION_TYPE or "client_assertion" not in form:
            raise OAuthError(
                "invalid_request", f"authenticate with client_assertion_type {ASSERTION_TYPE}"
            )
        return await self._by_assertion(form, endpoint, _TYPES)

    async def actor(self, token: str, endpoint: str) -> Client:
        """The agent that signed an actor token (RFC 8693): steps (1) to (5), of a type of its own.

        Raises:
            OAuthError: as `authenticate`.
        """
        return await self._by_assertion({"client_assertion": token}, endpoint, _ACTOR_TYPES)

    async def _by_assertion(
        self, form: Mapping[str, str], endpoint: str, types: Collection[str]
    ) -> Client:
        try:
            header, parts = jws.parse(form["client_assertion"])  # (1)
            claims = read_assertion(parts.payload)
        except MalformedToken:
            raise invalid_client() from None
        stated = form.get("client_id", claims.sub)
        if header.typ not in types or claims.iss != claims.sub or stated != claims.sub:
            raise invalid_client()
        keys = await self._keys(claims.sub)  # (2)
        key = self._signer(keys, header, parts)
        if key is None:
            if keys:
                raise Impostor(claims.sub, invalid_client().description)
            raise invalid_client()
        agent, operator = await self._who(claims.sub)
        if agent is None and operator is None:
            raise invalid_client()
        self._check(claims, endpoint)  # (3), (4)
        use = Statement(  # (5)
            "assertion_use",
            {"client_id": claims.sub, "jti": claims.jti, "expires_ms": claims.exp * 1000},
        )
        return Client(claims.sub, agent, operator, key.kid, use)

    async def _keys(self, client_id: str) -> Collection[PublicKey]:
        if not is_slug(client_id.removeprefix(OPERATOR_PREFIX)):
            return ()
        rows = await self._store.fetch("client_keys_by_client", {"client_id": client_id})
        return tuple(
            load_public(msgspec.json.decode(text(row, "jwk"), type=dict[str, object]), CLIENT_ALGS)
            for row in rows
        )

    def _signer(
        self, keys: Collection[PublicKey], header: jws.Header, parts: jws.Parsed
    ) -> PublicKey | None:
        # A kid may pick among the client's own keys; it can never bring in another.
        tried = [key for key in keys if header.kid in (None, key.kid)]
        for key in tried or [self._nobody]:
            try:
                parts.verify(header, key, CLIENT_ALGS)
            except BadSignature:
                continue
            return key if tried else None
        return None

    async def _who(self, client_id: str) -> tuple[Agent | None, Operator | None]:
        if client_id.startswith(OPERATOR_PREFIX):
            name = client_id.removeprefix(OPERATOR_PREFIX)
            row = await self._store.fetch_one("operator_by_id", {"operator_id": name})
            return None, None if row is None else operator_of(row)
        row = await self._store.fetch_one("agent_by_id", {"agent_id": client_id})
        return None if row is None else agent_of(row), None

    def _check(self, claims: AssertionClaims, endpoint: str) -> None:
        now_s = self._clock.now_ms() // 1000
        if claims.aud not in (self._issuer, endpoint):
            problem = f"aud must be {self._issuer}"
        elif claims.exp <= now_s:
            problem = "the assertion has expired"
        elif claims.exp > now_s + MAX_LIFE_S + MAX_SKEW_S:
            problem = f"exp must be at most {MAX_LIFE_S} seconds ahead"
        elif max(claims.iat or 0, claims.nbf or 0) > now_s + MAX_SKEW_S:
            problem = "the assertion is from the future: check the clock"
        else:
            return
        raise Impostor(claims.sub, problem)
