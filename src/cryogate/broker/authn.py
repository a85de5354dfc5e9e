"""Client authentication. A request proves one client in one way, told by what it sends:

| sent | way | steps |
|---|---|---|
| ``grant_type`` jwt-bearer and ``assertion`` | federation (RFC 7523 section 2.1) | `federation` |
| ``client_assertion`` | ``private_key_jwt`` (RFC 7523 section 2.2, OIDC Core section 9) | below |
| ``client_id`` on a connection with a certificate | mTLS (RFC 8705 section 2) | `client_tls` |

``private_key_jwt``:

 (1) the assertion is a compact JWS of a type that is no token's or proof's
 (2) ``iss`` = ``sub`` names a client, and the signature is by one of that client's keys
 (3) ``aud`` is this issuer or this very endpoint, exactly one string
 (4) it is in its time, which is at most `MAX_LIFE_S` long
 (5) ``jti`` is used once: `Client.uses` goes into the unit of work of whatever is then done, so
     a replay undoes it (RFC 7523 section 3, point 7)
 (6) an agent's key is not past its age (`KeyAge`)

Until (2) holds every answer is the same, and takes the same work: a stranger does not learn which
clients exist. Whether a client is *active* is the caller's question.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import msgspec

from cryogate.broker.client_tls import matching
from cryogate.broker.credentials import OwnCertificate, held_by
from cryogate.broker.federation import JWT_BEARER, Federated, Federation
from cryogate.broker.oauth import OAuthError, invalid_client
from cryogate.broker.rows import OPERATOR_PREFIX, agent_of, number, operator_of, text
from cryogate.domain.agents import Agent, Operator
from cryogate.domain.ids import is_slug
from cryogate.outbound import foreign
from cryogate.outbound.errors import UnknownKey
from cryogate.outbound.foreign import Unverified
from cryogate.ports.clock import Clock
from cryogate.ports.store import ReadStore, Statement
from cryogate.tokens import jws
from cryogate.tokens.assertion import ACTOR_TYPE, ASSERTION_TYPE, MAX_LIFE_S, TYPE
from cryogate.tokens.certificates import Authorities, PeerCertificate
from cryogate.tokens.claims import AssertionClaims, read_assertion
from cryogate.tokens.errors import BadSignature, MalformedToken, TokenError
from cryogate.tokens.keys import CLIENT_ALGS, PublicKey, generate, load_public

log = logging.getLogger("cryogate.broker")

MAX_SKEW_S: Final = 5
DAY_MS: Final = 86_400_000
# A token or a proof is never an assertion, whoever signed it (T2).
_TYPES: Final = frozenset({"JWT", TYPE})
# Whoever is given an agent's consent to act must not be able to authenticate by it.
_ACTOR_TYPES: Final = frozenset({ACTOR_TYPE})


@dataclass(frozen=True, slots=True)
class Client:
    """A client that proved who it is: an agent or an operator, never both.

    ``kid`` is the key or credential it used, ``uses`` the statements that spend its assertion,
    guarded by ``assertion``. ``assertion`` is a federated one, which a use binds to its key, and
    ``max_keys`` to how many it may be bound.
    ``key_ends_ms`` is set when its key will soon be refused for its age.
    """

    client_id: str
    agent: Agent | None
    operator: Operator | None
    kid: str
    uses: tuple[Statement, ...] = ()
    assertion: Unverified | None = None
    key_ends_ms: int | None = None
    max_keys: int = 1

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


@dataclass(frozen=True, slots=True)
class KeyAge:
    """How old an agent's key may get, and for how long before that its agent is told."""

    max_ms: int = 90 * DAY_MS
    warn_ms: int = 14 * DAY_MS


@lru_cache(maxsize=4096)
def _stored_key(jwk: str) -> PublicKey:
    """A registered key from its stored text. Same text, same immutable key: safe to remember."""
    return load_public(msgspec.json.decode(jwk, type=dict[str, object]), CLIENT_ALGS)


class ClientAuthenticator:
    """See the module. Without ``authorities`` certificates prove nothing but themselves, without
    ``federation`` other issuers' tokens prove nothing.
    """

    def __init__(
        self,
        store: ReadStore,
        clock: Clock,
        issuer: str,
        *,
        authorities: Authorities | None = None,
        federation: Federation | None = None,
        key_age: KeyAge | None = None,
    ) -> None:
        self._store, self._clock, self._issuer = store, clock, issuer
        self._authorities, self._federation = authorities, federation
        self._key_age = key_age or KeyAge()
        self._nobody = generate().public

    async def authenticate(
        self, form: Mapping[str, str], endpoint: str, peer: PeerCertificate | None = None
    ) -> Client:
        """The client that sent ``form`` to ``endpoint`` (its full URL), over a connection with the
        certificate ``peer``, if any.

        Raises:
            OAuthError: ``invalid_client``, or ``invalid_request`` where nothing was sent to
                authenticate by. `Impostor` where the client exists.
            Unavailable: another issuer's keys cannot be had.
        """
        if form.get("grant_type") == JWT_BEARER:
            return await self._federated(form)
        if "client_assertion" in form or "client_assertion_type" in form:
            if form.get("client_assertion_type") != ASSERTION_TYPE:
                raise _nothing_sent()
            return await self._by_assertion(form, endpoint, _TYPES)
        if peer is not None and "client_id" in form:
            return await self._by_certificate(form["client_id"], peer)
        raise _nothing_sent()

    async def _federated(self, form: Mapping[str, str]) -> Client:
        agent = await self._agent(form.get("client_id", ""))
        if agent is None or self._federation is None:
            raise invalid_client()
        try:
            found = foreign.read(form.get("assertion", ""))
            for held in await held_by(self._store, agent.agent_id):
                rule = held.credential
                if not isinstance(rule, Federated) or rule.issuer != found.issuer:
                    continue
                try:
                    await self._federation.verify(found, rule)
                except TokenError as error:
                    log.info("federated assertion for %s: %s", agent.agent_id, error.detail)
                    continue
                return Client(
                    agent.agent_id, agent, None, held.kid, assertion=found, max_keys=rule.max_keys
                )
        except (TokenError, UnknownKey):
            pass
        raise Impostor(agent.agent_id, invalid_client().description)

    async def _by_certificate(self, client_id: str, peer: PeerCertificate) -> Client:
        agent = await self._agent(client_id)
        if agent is None:
            raise invalid_client()
        now_ms = self._clock.now_ms()
        held = await held_by(self._store, agent.agent_id)
        try:
            found = matching(held, peer, self._authorities, now_ms)
        except TokenError:
            found = None
        if found is None:
            raise Impostor(agent.agent_id, invalid_client().description)
        ends_ms = None
        if isinstance(found.credential, OwnCertificate):
            ends_ms = self._age(agent.agent_id, found.created_ms)
        return Client(agent.agent_id, agent, None, found.kid, key_ends_ms=ends_ms)

    async def _agent(self, client_id: str) -> Agent | None:
        if not is_slug(client_id):
            return None
        row = await self._store.fetch_one("agent_by_id", {"agent_id": client_id})
        return None if row is None else agent_of(row)

    def _age(self, client_id: str, created_ms: int) -> int | None:
        now_ms, ends_ms = self._clock.now_ms(), created_ms + self._key_age.max_ms
        if now_ms >= ends_ms:
            raise Impostor(
                client_id, "this key is past its age: register another (cryogate agent add-key)"
            )
        return ends_ms if now_ms >= ends_ms - self._key_age.warn_ms else None

    async def actor(self, token: str, endpoint: str) -> Client:
        """The agent that signed an actor token (RFC 8693): steps (1) to (6), of a type of its own.

        Raises:
            OAuthError: as `authenticate`.
        """
        return await self._by_assertion({"client_assertion": token}, endpoint, _ACTOR_TYPES)

    async def _by_assertion(
        self, form: Mapping[str, str], endpoint: str, types: Collection[str]
    ) -> Client:
        if "client_assertion" not in form:
            raise _nothing_sent()
        try:
            header, parts = jws.parse(form["client_assertion"])  # (1)
            claims = read_assertion(parts.payload)
        except MalformedToken:
            raise invalid_client() from None
        stated = form.get("client_id", claims.sub)
        if header.typ not in types or claims.iss != claims.sub or stated != claims.sub:
            raise invalid_client()
        born = await self._keys(claims.sub)  # (2)
        keys = tuple(born)
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
            guard="assertion",
        )
        # (6) An operator's key is in a person's keeping, and refusing it would lock the person out.
        ends_ms = None if agent is None else self._age(claims.sub, born[key])
        return Client(claims.sub, agent, operator, key.kid, (use,), key_ends_ms=ends_ms)

    async def _keys(self, client_id: str) -> Mapping[PublicKey, int]:
        """The client's keys, and when each was registered."""
        if not is_slug(client_id.removeprefix(OPERATOR_PREFIX)):
            return {}
        rows = await self._store.fetch("client_keys_by_client", {"client_id": client_id})
        return {_stored_key(text(row, "jwk")): number(row, "created_ms") for row in rows}

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


def _nothing_sent() -> OAuthError:
    return OAuthError(
        "invalid_request", f"authenticate with client_assertion_type {ASSERTION_TYPE}"
    )
