"""Delegation by token exchange (RFC 8693): an agent gives a sub-agent strictly less than it has.

The agent that delegates is the client. It sends its own access token as ``subject_token``, and as
``actor_token`` the sub-agent's signed consent. What comes back is bound to the sub-agent's key, so
the one never holds a token of the other.

 (0) the client is authenticated and its DPoP key proven, as for every token
 (1) the subject token is genuine, the client's own, bound to the very key that was proven, and
     nothing revokes it: a stolen token delegates nothing
 (2) the actor token names another, active agent that is not in the chain yet, and is signed by one
     of that agent's keys; the chain is not too deep
 (3) what is asked for is within the subject token's bounds, and less in at least one of them
 (4) policy decides for the *sub-agent*; what it was not asked for is the lesser of both
 (5) the row names its parent; the insert locks parent, agents, key and experiment, so that a
     revocation of any comes wholly before it or finds it (T9). Then it is signed.

The parent's counters are charged with every reservation of the child (A7), and the child's life
ends with its parent's at the latest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from cryogate.broker import details
from cryogate.broker.authn import Client, ClientAuthenticator, Impostor
from cryogate.broker.decide import Granted, decide_grant, experiment_of_agent
from cryogate.broker.mint import Draft, Mint
from cryogate.broker.oauth import OAuthError
from cryogate.domain.agents import Agent
from cryogate.domain.events import Event, Outcome
from cryogate.domain.grants import Grant
from cryogate.domain.ids import TOKEN, new_id
from cryogate.ports.clock import Clock
from cryogate.ports.denials import Denials
from cryogate.ports.policy import PolicyEngine
from cryogate.ports.revocations import RevocationView, Subject
from cryogate.ports.store import ReadStore, Statement
from cryogate.tokens.access import GATEWAY_AUDIENCE, AccessTokenVerifier, VerifiedToken
from cryogate.tokens.claims import (
    MAX_PARENTS,
    AccessClaims,
    Confirmation,
    ExpParams,
    actor_of,
)
from cryogate.tokens.errors import TokenError

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a type
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
FORM: Final = frozenset(
    {
        "subject_token",
        "subject_token_type",
        "actor_token",
        "actor_token_type",
        "requested_token_type",
    }
)
DEFAULT_DEPTH: Final = 3


class Delegation:
    """Steps (1) to (5). ``max_depth`` is how many sub-agents may follow one another; 0: none."""

    def __init__(
        self,
        *,
        store: ReadStore,
        policy: PolicyEngine,
        clients: ClientAuthenticator,
        tokens: AccessTokenVerifier,
        view: RevocationView,
        mint: Mint,
        clock: Clock,
        denials: Denials,
        issuer: str,
        default_ttl_s: int,
        max_ttl_s: int,
        max_depth: int = DEFAULT_DEPTH,
    ) -> None:
        if not 0 <= max_depth <= MAX_PARENTS:
            raise ValueError(f"delegation is at most {MAX_PARENTS} deep")
        self._store, self._policy, self._clients = store, policy, clients
        self._tokens, self._view, self._mint = tokens, view, mint
        self._clock, self._denials, self._issuer = clock, denials, issuer
        self._default_ttl_s, self._max_ttl_s = default_ttl_s, max_ttl_s
        self._max_depth = max_depth

    async def delegate(
        self,
        form: Mapping[str, str],
        client: Client,
        bound: Confirmation | None,
        endpoint: str,
    ) -> tuple[str, AccessClaims, Granted]:
        """The sub-agent's token, its claims, and what was granted.

        Raises:
            OAuthError: the refusal to be sent.
            Unavailable: something that must answer did not, so nothing was issued.
        """
        parent, held = self._subject(form, client, bound)  # (1)
        actor, agent = await self._actor(form, parent, endpoint)  # (2)
        asked = details.read_request(form)
        violations = asked.wider_than(held)  # (3)
        if violations:
            raise OAuthError(
                "invalid_authorization_details", "wider than the subject token", 400, violations
            )
        now_ms = self._clock.now_ms()
        experiment, purse = await experiment_of_agent(self._store, held.experiment_id, agent)
        issued_s = await self._mint.issue_second(
            now_ms,
            agent_id=agent.agent_id,
            owner=agent.owner,
            experiment_id=experiment.experiment_id,
        )
        longest_s = min(
            self._max_ttl_s,
            experiment.closes_ms // 1000 - issued_s,
            parent.expires_ms // 1000 - issued_s,
        )
        if not experiment.is_open(now_ms) or longest_s < 1:
            raise OAuthError("invalid_request", "the subject token or its experiment is at its end")
        granted = await decide_grant(  # (4)
            self._policy,
            asked,
            agent,
            experiment,
            purse,
            now_ms=now_ms,
            default_ttl_s=self._default_ttl_s,
            longest_s=longest_s,
            recent_denials=self._denials.recent(agent.agent_id, now_ms),
            ceiling=held,
        )
        if granted.grant.within(held) or not held.within(granted.grant):
            raise OAuthError(
                "invalid_authorization_details",
                "a sub-agent is given strictly less: ask for less in at least one bound",
            )
        actors = (agent.agent_id, *parent.actors)
        claims = AccessClaims(
            iss=self._issuer,
            sub=parent.subject,
            aud=GATEWAY_AUDIENCE,
            exp=issued_s + granted.ttl_s,
            iat=issued_s,
            jti=new_id(TOKEN),
            client_id=agent.agent_id,
            owner=agent.owner,
            scope=" ".join(sorted(agent.roles)),
            cnf=Confirmation(jkt=actor.kid),
            exp_params=ExpParams.of(granted.grant),
            act=actor_of(actors),
            parents=(parent.token_id, *parent.ancestors),
        )
        chain = (parent.subject, *reversed(actors))
        draft = Draft(
            claims,
            _row(claims, client, actor, parent, granted, now_ms),
            _event(claims, agent, experiment.purpose, granted, chain, now_ms),
            actor.uses,
        )
        return await self._mint.mint(client, draft), claims, granted  # (5)

    def _subject(
        self, form: Mapping[str, str], client: Client, bound: Confirmation | None
    ) -> tuple[VerifiedToken, Grant]:
        if form.get("subject_token_type") != ACCESS_TOKEN:
            raise OAuthError("invalid_request", f"subject_token_type must be {ACCESS_TOKEN}")
        if form.get("requested_token_type", ACCESS_TOKEN) != ACCESS_TOKEN:
            raise OAuthError("invalid_request", f"requested_token_type must be {ACCESS_TOKEN}")
        try:
            token = self._tokens.verify(form.get("subject_token", ""))
        except TokenError as error:
            raise OAuthError("invalid_request", f"subject_token: {error.detail}") from None
        if token.client_id != client.client_id or token.grant is None:
            raise OAuthError("invalid_request", "subject_token: this is not the client's own")
        if token.bound_to != bound:
            raise OAuthError(
                "invalid_request", "subject_token: prove possession of the key it is bound to"
            )
        if self._view.revoked(Subject.of(token)) is not None:
            raise OAuthError("invalid_request", "subject_token: revoked")
        if len(token.ancestors) >= self._max_depth:
            raise OAuthError(
                "invalid_request", f"delegation ends after {self._max_depth} sub-agents"
            )
        return token, token.grant

    async def _actor(
        self, form: Mapping[str, str], parent: VerifiedToken, endpoint: str
    ) -> tuple[Client, Agent]:
        if form.get("actor_token_type") != JWT or "actor_token" not in form:
            raise OAuthError("invalid_request", f"send the sub-agent's actor_token of type {JWT}")
        try:
            actor = await self._clients.actor(form["actor_token"], endpoint)
        except Impostor as error:
            raise OAuthError("invalid_request", f"actor_token: {error.description}") from None
        except OAuthError:
            raise OAuthError("invalid_request", "actor_token: not accepted") from None
        agent = actor.agent
        if agent is None or not agent.active:
            raise OAuthError("invalid_request", "actor_token: not an active agent")
        if agent.agent_id in (parent.subject, *parent.actors):
            raise OAuthError("invalid_request", "actor_token: this agent is in the chain already")
        return actor, agent


def _row(
    claims: AccessClaims,
    client: Client,
    actor: Client,
    parent: VerifiedToken,
    granted: Granted,
    now_ms: int,
) -> Statement:
    grant = granted.grant
    return Statement(
        "delegated_token_insert",
        {
            "token_id": claims.jti,
            "parent_token_id": parent.token_id,
            "parent_id": client.client_id,
            "client_id": actor.client_id,
            "client_kid": actor.kid,
            "issued_ms": claims.iat * 1000,
            "expires_ms": claims.exp * 1000,
            "confirmation": claims.cnf.thumbprint if claims.cnf else "",
            "experiment_id": grant.experiment_id,
            "now_ms": now_ms,
            "exp_params": msgspec.json.encode(claims.exp_params).decode(),
            "policy_digest": granted.policy_digest,
            "max_jobs": grant.max_jobs,
            "max_total_shots": grant.max_total_shots,
            "max_cost_cents": grant.max_cost_cents,
        },
    )


def _event(
    claims: AccessClaims,
    agent: Agent,
    purpose: str,
    granted: Granted,
    chain: tuple[str, ...],
    now_ms: int,
) -> Event:
    return Event(
        timestamp_ms=now_ms,
        action="token.delegated",
        outcome=Outcome.SUCCESS,
        agent_id=agent.agent_id,
        human_owner=agent.owner,
        experiment_id=granted.grant.experiment_id,
        purpose=purpose[:1024],
        gate_set=granted.grant.allowed_gate_set[:128],
        token_id=claims.jti,
        token_ttl_s=granted.ttl_s,
        policy_digest=granted.policy_digest,
        decision_reasons=(
            f"parent {claims.parents[0]}",
            *granted.told(),
        ),
        actor_chain=chain,
    )
