"""Issuing access tokens: ``POST /oauth2/token`` (RFC 6749 section 4.4, RFC 9396, RFC 9449).

 (0) client authenticated → agent or operator; possession proven of what the token is bound to: a
     DPoP key, else the connection's certificate (RFC 8705 section 3)
 (1) agent active, experiment open and the agent's, request well-formed
 (2) policy decides on the full input → grant ≤ request, obligations (`cryogate.broker.decide`)
 (3) token row, spent assertion and event durable in one unit of work; only then is anything
     signed (`cryogate.broker.mint`)

A refusal of a client that is known is an event too. Nothing else of a refused request remains:
not even its assertion is spent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Final

import msgspec
from msgspec import structs

from cryogate.broker import details, exchange
from cryogate.broker.authn import Client, ClientAuthenticator, Impostor
from cryogate.broker.decide import Granted, decide_grant, experiment_of_agent
from cryogate.broker.device import DEVICE_CODE, DeviceFlow
from cryogate.broker.federation import JWT_BEARER
from cryogate.broker.mint import Draft, Mint
from cryogate.broker.oauth import OAuthError, only
from cryogate.broker.possession import Possession, spending
from cryogate.broker.refusals import Refusals
from cryogate.broker.resources import check_resource
from cryogate.broker.signals import Signals
from cryogate.broker.status_list import StatusPlaces
from cryogate.domain.agents import Agent
from cryogate.domain.events import Event, Outcome
from cryogate.domain.experiments import Experiment
from cryogate.domain.ids import TOKEN, new_id
from cryogate.ports.clock import Clock
from cryogate.ports.denials import Denials
from cryogate.ports.keys import TokenSigner
from cryogate.ports.policy import PolicyEngine
from cryogate.ports.revocations import RevocationView
from cryogate.ports.store import SqlValue, Statement, Store
from cryogate.tokens.access import (
    ADMIN_AUDIENCE,
    ADMIN_SCOPE,
    GATEWAY_AUDIENCE,
    AccessTokenVerifier,
)
from cryogate.tokens.certificates import PeerCertificate
from cryogate.tokens.claims import AccessClaims, Confirmation, ExpParams
from cryogate.tokens.dpop import ProofVerifier

_COMMON: Final = frozenset(
    {"grant_type", "client_assertion_type", "client_assertion", "client_id", "scope", "resource"}
)
_AGENT_FORM: Final = _COMMON | details.PLAIN | {"authorization_details", "assertion", "device_code"}
_EXCHANGE_FORM: Final = _AGENT_FORM - {"scope"} | exchange.FORM


class TokenResponse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """RFC 6749 section 5.1. Times are in seconds.

    ``narrowed`` tells which bounds that were asked for came out narrower, and
    ``client_key_expires_in`` is there once the client's key will soon be refused for its age.
    """

    access_token: str
    token_type: str
    expires_in: int
    scope: str
    authorization_details: tuple[dict[str, object], ...] = ()
    issued_token_type: str = ""
    narrowed: tuple[dict[str, object], ...] = ()
    client_key_expires_in: int | None = None
    client_id: str = ""


class TokenService:
    """The token endpoint without HTTP. ``default_ttl_s`` and ``max_ttl_s`` are seconds.

    With ``view`` and ``tokens``, which verifies the gateway's tokens, agents may delegate.
    ``insecure_bearer`` gives tokens that are bound to nothing to clients that prove nothing.
    """

    def __init__(
        self,
        *,
        store: Store,
        policy: PolicyEngine,
        signer: TokenSigner,
        clients: ClientAuthenticator,
        proofs: ProofVerifier,
        clock: Clock,
        issuer: str,
        denials: Denials,
        default_ttl_s: int = details.DEFAULT_TTL_S,
        max_ttl_s: int = details.MAX_TTL_S,
        view: RevocationView | None = None,
        tokens: AccessTokenVerifier | None = None,
        max_depth: int = exchange.DEFAULT_DEPTH,
        insecure_bearer: bool = False,
        signals: Signals | None = None,
        devices: DeviceFlow | None = None,
        places: StatusPlaces | None = None,
    ) -> None:
        if not 0 < default_ttl_s <= max_ttl_s <= details.MAX_TTL_S:
            raise ValueError("token lives are 1 to 3600 seconds, the default within the maximum")
        self._store, self._policy, self._clients = store, policy, clients
        self._clock, self._issuer = clock, issuer
        self._denials = denials
        self._mint = Mint(store, signer, clock, places)
        self._refusals = Refusals(store, clock, signals)
        self._default_ttl_s, self._max_ttl_s = default_ttl_s, max_ttl_s
        self._possession = Possession(proofs, insecure_bearer=insecure_bearer)
        self._delegation = None
        if view is not None and tokens is not None:
            self._delegation = exchange.Delegation(
                store=store,
                policy=policy,
                clients=clients,
                tokens=tokens,
                view=view,
                mint=self._mint,
                clock=clock,
                denials=denials,
                issuer=issuer,
                default_ttl_s=default_ttl_s,
                max_ttl_s=max_ttl_s,
                max_depth=max_depth,
            )
        delegates = (exchange.GRANT_TYPE,) if self._delegation is not None else ()
        self._devices = devices
        enrols = (DEVICE_CODE,) if devices is not None else ()
        self.grant_types = ("client_credentials", JWT_BEARER, *enrols, *delegates)

    async def token(
        self,
        form: Mapping[str, str],
        dpop_proof: str | None,
        token_endpoint: str,
        peer: PeerCertificate | None = None,
    ) -> TokenResponse:
        """A token for the request in ``form``, bound to the key of ``dpop_proof`` or, without
        one, to the certificate ``peer`` of the connection.

        ``token_endpoint`` is this endpoint's full URL as configured.

        Raises:
            OAuthError: the refusal to be sent.
            Unavailable: something that must answer did not, so nothing was issued.
        """
        if form.get("grant_type") not in self.grant_types:
            raise OAuthError(
                "unsupported_grant_type", f"grant_type is one of {', '.join(self.grant_types)}"
            )
        devices = self._devices if form["grant_type"] == DEVICE_CODE else None
        bound = None
        if devices is not None:  # a device is known by its key, so that comes first
            bound = await self._possession.prove(dpop_proof, token_endpoint, None)
        try:
            if devices is not None:
                client = await devices.poll(form, bound)
            else:
                client = await self._clients.authenticate(form, token_endpoint, peer)  # (0)
        except Impostor as refusal:
            await self._refusals.of_impostor(refusal)
            raise
        try:
            if devices is None:
                bound = await self._possession.prove(dpop_proof, token_endpoint, peer)
            client = spending(client, bound)
            if form["grant_type"] == exchange.GRANT_TYPE:
                return await self._for_sub_agent(form, client, bound, token_endpoint)
            if client.agent is not None:
                answer = await self._for_agent(form, client, client.agent, bound)
                # a device learns under which name it was approved
                named = "" if devices is None else client.client_id
                return structs.replace(answer, client_id=named)
            return await self._for_operator(form, client, bound)
        except OAuthError as refusal:
            # Being asked for a nonce is no refusal of anything.
            if refusal.nonce is None:
                if client.agent is not None:
                    self._denials.record(client.agent.agent_id, self._clock.now_ms())
                await self._refusals.of_client(client, refusal)
            raise

    async def _for_agent(
        self, form: Mapping[str, str], client: Client, agent: Agent, bound: Confirmation | None
    ) -> TokenResponse:
        only(form, _AGENT_FORM)  # (1)
        if "scope" in form:
            raise OAuthError("invalid_scope", "agents ask with authorization_details, not scope")
        if not agent.active:
            raise OAuthError("unauthorized_client", "this agent is not active")
        check_resource(form, self._issuer, operator=False)
        asked = details.read_request(form)
        if asked.ttl(1) > self._max_ttl_s:
            raise OAuthError("invalid_authorization_details", f"ttl_s is at most {self._max_ttl_s}")
        now_ms = self._clock.now_ms()
        experiment, purse = await experiment_of_agent(self._store, asked.experiment_id, agent)
        issued_s = await self._mint.issue_second(
            now_ms,
            agent_id=agent.agent_id,
            owner=agent.owner,
            experiment_id=experiment.experiment_id,
        )
        longest_s = min(self._max_ttl_s, experiment.closes_ms // 1000 - issued_s)
        if not experiment.is_open(now_ms) or longest_s < 1:
            raise OAuthError("invalid_authorization_details", "the experiment is not open")
        violations = asked.beyond(experiment)
        if violations:
            raise OAuthError(
                "invalid_authorization_details", "wider than the experiment", 400, violations
            )
        granted = await decide_grant(  # (2)
            self._policy,
            asked,
            agent,
            experiment,
            purse,
            now_ms=now_ms,
            default_ttl_s=self._default_ttl_s,
            longest_s=longest_s,
            recent_denials=self._denials.recent(agent.agent_id, now_ms),
        )
        claims = AccessClaims(
            iss=self._issuer,
            sub=agent.agent_id,
            aud=GATEWAY_AUDIENCE,
            exp=issued_s + granted.ttl_s,
            iat=issued_s,
            jti=new_id(TOKEN),
            client_id=client.client_id,
            owner=agent.owner,
            scope=" ".join(sorted(agent.roles)),
            cnf=bound,
            exp_params=ExpParams.of(granted.grant),
        )
        draft = Draft(
            claims,
            _agent_row(claims, client, granted, now_ms),
            _agent_event(claims, agent, experiment, granted, now_ms),
        )
        token = await self._mint.mint(client, draft)  # (3)
        return _granted(token, claims, client, granted)

    async def _for_sub_agent(
        self, form: Mapping[str, str], client: Client, bound: Confirmation | None, endpoint: str
    ) -> TokenResponse:
        only(form, _EXCHANGE_FORM)
        check_resource(form, self._issuer, operator=False)
        if self._delegation is None or client.agent is None or not client.agent.active:
            raise OAuthError("unauthorized_client", "only an active agent delegates")
        token, claims, granted = await self._delegation.delegate(form, client, bound, endpoint)
        answer = _granted(token, claims, client, granted)
        return structs.replace(answer, issued_token_type=exchange.ACCESS_TOKEN)

    async def _for_operator(
        self, form: Mapping[str, str], client: Client, bound: Confirmation | None
    ) -> TokenResponse:
        only(form, _COMMON)  # (1)
        check_resource(form, self._issuer, operator=True)
        operator = client.operator
        if operator is None or not operator.active:
            raise OAuthError("unauthorized_client", "this operator is not active")
        if form.get("scope") != ADMIN_SCOPE:
            raise OAuthError("invalid_scope", f"operators ask for scope {ADMIN_SCOPE}")
        # (2) An operator's rights are its roles; the admin API asks for them on every request.
        if not operator.roles:
            raise OAuthError("unauthorized_client", "this operator has no role")
        now_ms = self._clock.now_ms()
        issued_s = await self._mint.issue_second(
            now_ms, agent_id=client.client_id, owner=operator.operator_id, experiment_id=""
        )
        claims = AccessClaims(
            iss=self._issuer,
            sub=client.client_id,
            aud=ADMIN_AUDIENCE,
            exp=issued_s + self._default_ttl_s,
            iat=issued_s,
            jti=new_id(TOKEN),
            client_id=client.client_id,
            owner=operator.operator_id,
            scope=ADMIN_SCOPE,
            cnf=bound,
        )
        row: dict[str, SqlValue] = {**_row(claims, client), "operator_id": operator.operator_id}
        event = Event(
            timestamp_ms=now_ms,
            action="token.issued",
            outcome=Outcome.SUCCESS,
            token_id=claims.jti,
            token_ttl_s=self._default_ttl_s,
            decision_reasons=(f"scope {ADMIN_SCOPE}",),
            actor_chain=(client.client_id,),
        )
        draft = Draft(claims, Statement("operator_token_insert", row), event)
        return _response(await self._mint.mint(client, draft), claims, client)  # (3)


def _row(claims: AccessClaims, client: Client) -> dict[str, SqlValue]:
    return {
        "token_id": claims.jti,
        "client_id": client.client_id,
        "client_kid": client.kid,
        "issued_ms": claims.iat * 1000,
        "expires_ms": claims.exp * 1000,
        "confirmation": claims.cnf.thumbprint if claims.cnf else "",
    }


def _agent_row(claims: AccessClaims, client: Client, granted: Granted, now_ms: int) -> Statement:
    grant = granted.grant
    return Statement(
        "token_insert",
        {
            **_row(claims, client),
            "experiment_id": grant.experiment_id,
            "now_ms": now_ms,
            "exp_params": msgspec.json.encode(claims.exp_params).decode(),
            "policy_digest": granted.policy_digest,
            "max_jobs": grant.max_jobs,
            "max_total_shots": grant.max_total_shots,
            "max_cost_cents": grant.max_cost_cents,
        },
    )


def _agent_event(
    claims: AccessClaims, agent: Agent, experiment: Experiment, granted: Granted, now_ms: int
) -> Event:
    return Event(
        timestamp_ms=now_ms,
        action="token.issued",
        outcome=Outcome.SUCCESS,
        agent_id=agent.agent_id,
        human_owner=agent.owner,
        experiment_id=experiment.experiment_id,
        purpose=experiment.purpose[:1024],
        gate_set=granted.grant.allowed_gate_set[:128],
        token_id=claims.jti,
        token_ttl_s=granted.ttl_s,
        policy_digest=granted.policy_digest,
        decision_reasons=granted.told() or None,
        actor_chain=(agent.agent_id,),
    )


def _granted(token: str, claims: AccessClaims, client: Client, granted: Granted) -> TokenResponse:
    answer = _response(token, claims, client, details.granted(granted.grant, granted.ttl_s))
    narrowed = tuple(asdict(violation) for violation in granted.narrowed)
    return structs.replace(answer, narrowed=narrowed)


def _response(
    token: str, claims: AccessClaims, client: Client, *given: dict[str, object]
) -> TokenResponse:
    ends_ms = client.key_ends_ms
    return TokenResponse(
        access_token=token,
        # RFC 9449 section 5; RFC 8705 section 3 has no type of its own
        token_type="DPoP" if claims.cnf and claims.cnf.jkt else "Bearer",
        client_key_expires_in=None if ends_ms is None else ends_ms // 1000 - claims.iat,
        expires_in=claims.exp - claims.iat,
        scope=claims.scope,
        authorization_details=given,
    )
