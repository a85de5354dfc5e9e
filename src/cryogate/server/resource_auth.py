"""(0) of every request that needs a token.

 (a) there is no token in the URL (T7)
 (b) the token is genuine, for this audience and in its time, and its key is proven for this very
     request: `cryogate.tokens.guard`
 (c) nothing revokes the token, its agent, owner or experiment, in a view that is not stale

Nothing here is remembered between requests except the token's signature check (RFC 9449
section 7, RFC 9068 section 4).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import ceil

from starlette.requests import Request

from cryogate.broker.signals import Signals
from cryogate.domain.agents import Operator
from cryogate.domain.errors import Forbidden, Malformed, Throttled, Unauthenticated
from cryogate.gateway.caller import Caller
from cryogate.governance.rates import RateLimiter
from cryogate.ports.revocations import RevocationView, Subject
from cryogate.server.peers import PeerCertificates
from cryogate.server.session_auth import Person, SessionAuth
from cryogate.tokens.access import ADMIN_SCOPE, VerifiedToken
from cryogate.tokens.errors import InvalidProof, NonceRequired
from cryogate.tokens.guard import ResourceGuard

FindOperator = Callable[[str], Awaitable[Operator | None]]

_CALLERS = 4096


class ResourceAuth:
    """Turns a request into a `Caller` or an `Operator`, or refuses it."""

    def __init__(
        self,
        *,
        agents: ResourceGuard,
        operators: ResourceGuard,
        revocations: RevocationView,
        find_operator: FindOperator,
        base_url: str,
        peers: PeerCertificates,
        people: SessionAuth | None,
        rate: RateLimiter | None = None,
        signals: Signals | None = None,
    ) -> None:
        self._agents = agents
        self._operators = operators
        self._revocations = revocations
        self._find_operator = find_operator
        self._base_url = base_url
        self._peers = peers
        self._rate = rate
        self._signals = signals
        self._people = people
        self._callers: dict[str, tuple[VerifiedToken, Subject, Caller]] = {}

    async def agent(self, request: Request) -> Caller:
        """The agent that proved its token on this request.

        Raises:
            Unauthenticated: any of (a) to (c) does not hold.
            Unavailable: the view of revocations is stale.
        """
        token = await self._prove(request, self._agents)
        known = self._callers.get(token.ath)
        if known is None or known[0] is not token:
            known = self._remember(token)
        _, subject, caller = known
        revoked = self._revocations.revoked(subject)
        if revoked is not None:
            raise Unauthenticated("revoked", f"revoked: {revoked.value}")
        return caller

    def _remember(self, token: VerifiedToken) -> tuple[VerifiedToken, Subject, Caller]:
        # Both follow from the verified token and from nothing else, and a token is used many times.
        if token.grant is None:
            raise Unauthenticated("invalid_token", "the token grants nothing here")
        if len(self._callers) >= _CALLERS:
            self._callers.clear()
        known = (token, Subject.of(token), Caller.of(token, token.grant))
        self._callers[token.ath] = known
        return known

    async def operator(self, request: Request) -> Operator:
        """The operator that proved its token on this request, or whose session it is.

        Never both: a request with an ``Authorization`` header is judged by that alone.

        Raises:
            Unauthenticated: any of (a) to (c) does not hold.
            Forbidden: an operator no more.
            Unavailable: the view of revocations is stale.
        """
        if (
            self._people is not None
            and "authorization" not in request.headers
            and self._people.present(request)
        ):
            _no_token_in_url(request)
            return await self._people.operator(request)
        token = await self._prove(request, self._operators)
        if ADMIN_SCOPE not in token.scope:
            raise Unauthenticated("invalid_token", "the token has no admin scope")
        # An operator is no agent: only its token and the owner-wide switch can name it. The global
        # switch stops agents, not the people who must be able to turn it off again.
        revoked = self._revocations.revoked(Subject.of(token))
        if revoked is not None and revoked != "all":
            raise Unauthenticated("revoked", f"revoked: {revoked.value}")
        operator = await self._find_operator(token.subject.removeprefix("operator:"))
        if operator is None or not operator.active:
            raise Forbidden("operator_inactive", "this operator has no rights any more")
        return operator

    async def person(self, request: Request) -> Person:
        """The person whose session this request belongs to, with the form it posts.

        Raises:
            Unauthenticated, Forbidden, Malformed, Unavailable: there is none.
        """
        if self._people is None:
            raise Unauthenticated("no_sessions", "people do not sign in here")
        return await self._people.person(request)

    async def _prove(self, request: Request, guard: ResourceGuard) -> VerifiedToken:
        scope = request.scope
        _no_token_in_url(request)
        authorization, proofs = [], []
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization.append(value.decode("latin-1"))
            elif name == b"dpop":
                proofs.append(value.decode("latin-1"))
        path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        try:
            token, proof = guard.check(
                authorization,
                proofs,
                method=scope["method"],
                url=self._base_url + path,
                certificate=lambda: self._peers.thumbprint(scope),
            )
            if proof is not None and proof.shared:
                await guard.settle(proof)
        except InvalidProof as error:
            asked_for_nonce = isinstance(error, NonceRequired)
            if self._signals is not None and error.client_id and not asked_for_nonce:
                self._signals.failed(error.client_id)
            raise
        # (d) Only whoever has proven itself is counted, so nobody uses up the rate of another.
        wait_s = 0.0 if self._rate is None else self._rate.take(token.client_id)
        if wait_s:
            if self._signals is not None:
                self._signals.held_back(token.client_id)
            raise Throttled(
                "rate_limited",
                "this client asks too fast: come back after Retry-After seconds",
                retry_after_s=ceil(wait_s),
            )
        return token


def _no_token_in_url(request: Request) -> None:
    """(a)"""
    if b"access_token" in request.scope["query_string"].lower():
        raise Malformed(
            "token_in_url", "send the token in the Authorization header, never in a URL"
        )
