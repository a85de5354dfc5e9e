"""Is this token good? RFC 7662, truthfully, and only to whom it concerns; signed, RFC 9701.

An operator may ask about every token, an agent about its own. For everybody else a token is
inactive, which is what it is to them (section 4): nothing can be learned by asking.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from cryogate.broker.authn import ClientAuthenticator
from cryogate.broker.oauth import OAuthError, invalid_client, only
from cryogate.broker.revoke import own_token
from cryogate.ports.clock import Clock
from cryogate.ports.keys import TokenSigner
from cryogate.ports.revocations import RevocationView, Subject
from cryogate.ports.store import AlreadyExists, Store, UnitOfWork
from cryogate.tokens.access import AccessTokenVerifier, VerifiedToken
from cryogate.tokens.certificates import PeerCertificate
from cryogate.tokens.claims import ExpParams, actor_claim

_FORM: Final = frozenset(
    {"token", "token_type_hint", "client_assertion_type", "client_assertion", "client_id"}
)
_TOKEN_FORM: Final = frozenset({"token", "token_type_hint"})
TYPE: Final = "token-introspection+jwt"
MEDIA_TYPE: Final = "application/token-introspection+jwt"
_MAX_SAID: Final = 4096
_INACTIVE: Final = {"active": False}


class Introspection:
    """``verifiers`` are those of every audience of this issuer."""

    def __init__(
        self,
        store: Store,
        clients: ClientAuthenticator,
        verifiers: tuple[AccessTokenVerifier, ...],
        view: RevocationView,
        *,
        signer: TokenSigner,
        clock: Clock,
        issuer: str,
    ) -> None:
        self._store, self._clients = store, clients
        self._verifiers, self._view = verifiers, view
        self._signer, self._clock, self._issuer = signer, clock, issuer
        self._said: dict[str, dict[str, object]] = {}

    async def introspect(
        self, form: Mapping[str, str], endpoint: str, peer: PeerCertificate | None = None
    ) -> tuple[str, Mapping[str, object]]:
        """Who asked, and the introspection response.

        Raises:
            OAuthError: the client is not authenticated, or the request is not well-formed.
            StaleRevocations: nobody can say now.
        """
        only(form, _FORM)
        client = await self._clients.authenticate(form, endpoint, peer)
        if not form.get("token"):
            raise OAuthError("invalid_request", "token is missing")
        try:
            await self._store.commit(UnitOfWork(client.uses))
        except AlreadyExists:
            raise invalid_client("the assertion was used before") from None
        if not client.active:
            return client.client_id, _INACTIVE
        whose = None if client.operator is not None else client.client_id
        return client.client_id, self._answer(form["token"], whose)

    def look(self, form: Mapping[str, str]) -> Mapping[str, object]:
        """The introspection response for an operator that has proven itself already.

        Raises:
            OAuthError: the request is not well-formed.
            StaleRevocations: nobody can say now.
        """
        only(form, _TOKEN_FORM)
        if not form.get("token"):
            raise OAuthError("invalid_request", "token is missing")
        return self._answer(form["token"], None)

    async def signed(self, answer: Mapping[str, object], audience: str) -> str:
        """The response as a JWT for ``audience``, whoever asked (RFC 9701 section 5).

        Raises:
            Unavailable: there is no key to sign with.
        """
        claims = {
            "iss": self._issuer,
            "aud": audience,
            "iat": self._clock.now_ms() // 1000,
            "token_introspection": answer,
        }
        return await self._signer.sign({"typ": TYPE}, msgspec.json.encode(claims))

    def _answer(self, text: str, whose: str | None) -> Mapping[str, object]:
        token = own_token(self._verifiers, text, whose)
        if token is None or self._view.revoked(Subject.of(token)) is not None:
            return _INACTIVE
        # What is said of a token does not change while it is good, which is asked every time.
        known = self._said.get(token.ath)
        if known is None:
            if len(self._said) >= _MAX_SAID:
                del self._said[next(iter(self._said))]
            known = self._said[token.ath] = self._document(token)
        return known

    def _document(self, token: VerifiedToken) -> dict[str, object]:
        document: dict[str, object] = {
            "active": True,
            "sub": token.subject,
            "aud": token.audience,
            "client_id": token.client_id,
            "scope": " ".join(sorted(token.scope)),
            "token_type": "DPoP" if token.jkt else "Bearer",
            "iat": token.issued_ms // 1000,
            "exp": token.expires_ms // 1000,
            "jti": token.token_id,
            "iss": self._issuer,
        }
        if token.actors:
            document["act"] = actor_claim(token.actors)
        if token.jkt or token.x5t:
            document["cnf"] = {"jkt": token.jkt} if token.jkt else {"x5t#S256": token.x5t}
        if token.grant is not None:
            document["exp_params"] = msgspec.to_builtins(ExpParams.of(token.grant))
        return document
