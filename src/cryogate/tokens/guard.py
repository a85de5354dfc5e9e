"""A protected request: token and proof together (RFC 9449 section 7).

 (1) exactly one ``Authorization`` and one ``DPoP`` header field, scheme ``DPoP``: a bound token
     is never taken as a bearer token, and there is no other place to put it (T5, T7)
 (2) the token is genuine, ours, and in its time
 (3) the proof is by the key in ``cnf``, for this token, method and URL, and new

Revocation is asked by the caller, who knows what it is about to touch.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryogate.tokens.access import AccessTokenVerifier, VerifiedToken
from cryogate.tokens.dpop import ProofVerifier
from cryogate.tokens.errors import InvalidProof, MalformedToken, TokenError


class ResourceGuard:
    """Steps (1) to (3) for the resources of one audience."""

    def __init__(self, tokens: AccessTokenVerifier, proofs: ProofVerifier) -> None:
        self._tokens = tokens
        self._proofs = proofs

    def check(
        self, authorization: Sequence[str], dpop: Sequence[str], *, method: str, url: str
    ) -> VerifiedToken:
        """The token of a request, possession proven.

        ``authorization`` and ``dpop`` are all values of these header fields. ``url`` is the
        configured base URL with the request's path.

        Raises:
            TokenError: whatever is wrong; `challenge` turns it into ``WWW-Authenticate``.
            Unavailable: the replay window is full.
        """
        if len(authorization) != 1:  # (1)
            raise MalformedToken("exactly one Authorization header is due")
        scheme, _, token = authorization[0].partition(" ")
        if scheme.lower() != "dpop" or not token:
            raise MalformedToken("send the token as 'Authorization: DPoP <token>' with a proof")
        if len(dpop) != 1:
            raise InvalidProof("exactly one DPoP header is due")
        verified = self._tokens.verify(token)  # (2)
        self._proofs.verify(  # (3)
            dpop[0], method=method, url=url, ath=verified.ath, jkt=verified.jkt
        )
        return verified


def challenge(error: TokenError) -> str:
    """``WWW-Authenticate`` for a refused request (RFC 9449 section 7.1, RFC 6750 section 3)."""
    code = error.code if isinstance(error, InvalidProof) else "invalid_token"
    return f'DPoP error="{code}", algs="ES256"'
