"""An agent replaces its key, with proof of both.

 (1) the old key: a client assertion for this very endpoint, as for a token
 (2) the new key: a DPoP proof for this request, which carries its public half
 (3) one unit of work: the assertion is spent, the old key goes, the new one comes

Tokens that are bound to the old key live on for their minutes: jobs under way must not die of a
rotation. Who suspects the old key removes it (`ClientKeys.remove`), which ends them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cryogate.broker.authn import ClientAuthenticator, Impostor
from cryogate.broker.client_keys import ClientKey, insert_key, registry_event
from cryogate.broker.oauth import OAuthError, invalid_client, only
from cryogate.broker.possession import Possession
from cryogate.broker.refusals import Refusals
from cryogate.ports.clock import Clock
from cryogate.ports.store import AlreadyExists, GuardFailed, Statement, Store, UnitOfWork

_FORM: Final = frozenset({"client_assertion_type", "client_assertion", "client_id"})


class KeyRotation:
    """See the module."""

    def __init__(
        self, store: Store, clock: Clock, clients: ClientAuthenticator, possession: Possession
    ) -> None:
        self._store, self._clock = store, clock
        self._clients, self._possession = clients, possession
        self._refusals = Refusals(store, clock)

    async def rotate(
        self, form: Mapping[str, str], proof: str | None, endpoint: str
    ) -> tuple[str, ClientKey]:
        """The client, and the key it has from now on.

        Raises:
            OAuthError: the refusal to be sent.
        """
        only(form, _FORM)
        try:
            client = await self._clients.authenticate(form, endpoint)  # (1)
        except Impostor as refusal:
            await self._refusals.of_impostor(refusal)
            raise
        if not client.active:
            raise OAuthError("unauthorized_client", "this client is not active")
        key = await self._possession.key(proof, endpoint)  # (2)
        if key.kid == client.kid:
            raise OAuthError("invalid_request", "the proof must be by the new key")
        now_ms = self._clock.now_ms()
        reasons = (f"old kid {client.kid}", f"new kid {key.kid}")
        event = registry_event(now_ms, "key.rotated", client.client_id, client.agent, reasons)
        remove = Statement(
            "client_key_replace", {"client_id": client.client_id, "kid": client.kid}, guard="old"
        )
        work = UnitOfWork(  # (3)
            (*client.uses, remove, insert_key(now_ms, client.client_id, key)), (event,)
        )
        try:
            await self._store.commit(work)
        except AlreadyExists as error:
            if error.guard == "assertion":
                raise invalid_client("the assertion was used before") from None
            raise OAuthError("invalid_request", "this key is registered already") from None
        except GuardFailed as error:
            if error.guard == "old":
                raise invalid_client() from None
            raise OAuthError("invalid_request", "this key cannot be registered") from None
        return client.client_id, ClientKey(key.kid, key.jwk(), now_ms)
