"""Why a token or a proof was refused.

::

    Unauthenticated
    └── TokenError
        ├── MalformedToken     not one of our JWTs, or not in its only spelling
        ├── BadSignature       unknown key, or the signature does not hold
        ├── WrongToken         a sound JWT, but meant for another use, issuer or audience
        ├── ExpiredToken       outside its time
        └── InvalidProof       possession of the key was not proven (RFC 9449)
            ├── ReplayedProof      proven, but this proof was used before
            └── NonceRequired      must carry the nonce that comes with the error
"""

from __future__ import annotations

from cryogate.domain.errors import Unauthenticated


class TokenError(Unauthenticated):
    """A token was refused. ``code`` is stable, ``detail`` may be shown to whoever sent it."""


class MalformedToken(TokenError):
    """Not a compact JWS of a kind that is accepted, or not in its one spelling."""

    def __init__(self, detail: str) -> None:
        super().__init__("malformed_token", detail)


class BadSignature(TokenError):
    """The key is not known, or the signature is not by it."""

    def __init__(self, detail: str = "the signature does not hold") -> None:
        super().__init__("bad_signature", detail)


class WrongToken(TokenError):
    """Signed by the right key, but for another purpose (RFC 8725 section 2.8)."""

    def __init__(self, detail: str) -> None:
        super().__init__("wrong_token", detail)


class ExpiredToken(TokenError):
    """Its time is over, or has not come."""

    def __init__(self, detail: str) -> None:
        super().__init__("expired_token", detail)


class InvalidProof(TokenError):
    """The DPoP proof is absent, foreign, stale or for another request.

    ``client_id`` is whose token it came with, once that is known to be genuine.
    """

    client_id: str | None = None

    def __init__(self, detail: str, code: str = "invalid_dpop_proof") -> None:
        super().__init__(code, detail)


class ReplayedProof(InvalidProof):
    """This very proof was accepted before (RFC 9449 section 11.1)."""

    def __init__(self) -> None:
        super().__init__("the proof was used before: make a new one for every request")


class NonceRequired(InvalidProof):
    """Send the request again with ``nonce`` in the proof (RFC 9449 sections 8 and 9)."""

    def __init__(self, nonce: str) -> None:
        super().__init__("make the proof again with the nonce given here", "use_dpop_nonce")
        self.nonce = nonce
