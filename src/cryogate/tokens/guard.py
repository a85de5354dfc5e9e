"""A protected request: token and proof together (RFC 9449 section 7, RFC 8705 section 3).

 (1) exactly one ``Authorization`` header field, and no other place to put a token (T7)
 (2) the token is genuine, ours, and in its time
 (3) the scheme is the one for how the token is bound: a token that is bound to a key is never
     taken as a bearer token (T5)
     (3a) ``DPoP``: exactly one proof, by the key in ``cnf``, for this token, method and URL, new
     (3b) ``Bearer``: the connection's certificate is the one in ``cnf`` (T6); without ``cnf``
          only where the verifier was told to take bearer tokens

Revocation is asked by the caller, who knows what it is about to touch.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence

from cryogate.tokens.access import AccessTokenVerifier, VerifiedToken
from cryogate.tokens.dpop import Proof, ProofVerifier
from cryogate.tokens.errors import InvalidProof, MalformedToken, TokenError, WrongToken

Thumbprint = Callable[[], str | None]


def no_certificate() -> None:
    """For connections that carry none."""


class ResourceGuard:
    """Steps (1) to (3) for the resources of one audience."""

    def __init__(self, tokens: AccessTokenVerifier, proofs: ProofVerifier) -> None:
        self._tokens = tokens
        self._proofs = proofs

    def check(
        self,
        authorization: Sequence[str],
        dpop: Sequence[str],
        *,
        method: str,
        url: str,
        certificate: Thumbprint = no_certificate,
    ) -> tuple[VerifiedToken, Proof | None]:
        """The token of a request, possession proven, and the proof where there is one.

        The proof is not accepted before `settle` has been awaited for it.

        ``authorization`` and ``dpop`` are all values of these header fields. ``url`` is the
        configured base URL with the request's path, ``certificate`` gives the thumbprint
        (``x5t#S256``) of the client's certificate on this connection.

        Raises:
            TokenError: whatever is wrong; `challenge` turns it into ``WWW-Authenticate``.
            Unavailable: the replay window is full.
        """
        if len(authorization) != 1:  # (1)
            raise MalformedToken("exactly one Authorization header is due")
        scheme, _, token = authorization[0].partition(" ")
        kind = scheme.lower()
        if kind not in ("dpop", "bearer") or not token:
            raise MalformedToken("send the token as 'Authorization: DPoP <token>' with a proof")
        if kind == "dpop" and len(dpop) != 1:
            raise InvalidProof("exactly one DPoP header is due")
        verified = self._tokens.verify(token)  # (2)
        if kind == "dpop":
            if not verified.jkt:
                raise WrongToken("the token is not bound to a key")
            try:
                proof = self._proofs.verify(  # (3a)
                    dpop[0], method=method, url=url, ath=verified.ath, jkt=verified.jkt
                )
            except InvalidProof as error:
                error.client_id = verified.client_id
                raise
            return verified, proof
        if verified.jkt:
            raise WrongToken("the token is bound to a key: send it with scheme DPoP and a proof")
        if verified.x5t:  # (3b)
            shown = certificate()
            if shown is None or not hmac.compare_digest(shown, verified.x5t):
                raise WrongToken("the token is bound to another certificate than the connection's")
        return verified, None

    async def settle(self, proof: Proof) -> None:
        """As `ProofVerifier.settle`."""
        await self._proofs.settle(proof)


def challenge(error: TokenError) -> str:
    """``WWW-Authenticate`` for a refused request (RFC 9449 section 7.1, RFC 6750 section 3)."""
    code = error.code if isinstance(error, InvalidProof) else "invalid_token"
    return f'DPoP error="{code}", algs="ES256"'
