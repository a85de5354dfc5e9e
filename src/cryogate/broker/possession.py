"""What a token will be bound to: proven before anything is issued.

(1) a DPoP proof for this very request → its key (RFC 9449 section 5)
(2) else the certificate of the connection (RFC 8705 section 3)
(3) else nothing, only where ``insecure_bearer`` allows it
"""

from __future__ import annotations

from dataclasses import replace

from cryogate.broker.authn import Client
from cryogate.broker.federation import bind, expiry_ms
from cryogate.broker.oauth import OAuthError
from cryogate.tokens.certificates import PeerCertificate
from cryogate.tokens.claims import Confirmation
from cryogate.tokens.dpop import ProofVerifier
from cryogate.tokens.errors import NonceRequired, TokenError
from cryogate.tokens.keys import PublicKey


class Possession:
    """Steps (1) to (3) for the broker's endpoints."""

    def __init__(self, proofs: ProofVerifier, *, insecure_bearer: bool = False) -> None:
        self._proofs, self._insecure_bearer = proofs, insecure_bearer

    async def prove(
        self, proof: str | None, endpoint: str, peer: PeerCertificate | None
    ) -> Confirmation | None:
        """What the sender of a request to ``endpoint`` has proven to hold.

        Raises:
            OAuthError: nothing, or not for this request.
        """
        if proof is not None:
            return Confirmation(jkt=(await self.key(proof, endpoint)).kid)  # (1)
        if peer is not None:
            return Confirmation(x5t=peer.thumbprint)  # (2)
        if self._insecure_bearer:
            return None  # (3)
        raise OAuthError("invalid_dpop_proof", "send a DPoP proof: tokens here are bound")

    async def key(self, proof: str | None, endpoint: str) -> PublicKey:
        """The key that made ``proof``.

        Raises:
            OAuthError: there is none, or it does not hold for a POST to ``endpoint``.
        """
        if proof is None:
            raise OAuthError("invalid_dpop_proof", "send a DPoP proof by the key in question")
        try:
            found = self._proofs.verify(proof, method="POST", url=endpoint)
            await self._proofs.settle(found)
        except NonceRequired as error:
            raise OAuthError(error.code, error.detail, nonce=error.nonce) from None
        except TokenError as error:
            raise OAuthError("invalid_dpop_proof", error.detail) from None
        return found.key


def spending(client: Client, bound: Confirmation | None) -> Client:
    """The client, with what its federated assertion costs: its first use binds it to a key.

    Raises:
        OAuthError: there is no key to bind it to.
    """
    if client.assertion is None:
        return client
    if bound is None:
        raise OAuthError("invalid_dpop_proof", "send a DPoP proof: this assertion is no secret")
    token, ends_ms = client.assertion.token, expiry_ms(client.assertion)
    use = bind(client.client_id, token, bound.thumbprint, ends_ms, client.max_keys)
    return replace(client, uses=(*client.uses, use))
