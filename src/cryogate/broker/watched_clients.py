"""Client authentication that is watched: rates per client, and signs of misuse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from typing import Any

from cryogate.broker.authn import Client, ClientAuthenticator, Impostor
from cryogate.broker.oauth import OAuthError
from cryogate.broker.signals import Signals


class WatchedClients(ClientAuthenticator):
    """``take`` gives 0, or the seconds a client has to wait. Only a client that has proven itself
    is counted: nobody can use up the rate of another by giving its name.
    """

    def __init__(
        self, *args: Any, signals: Signals, take: Callable[[str], float] | None, **more: Any
    ) -> None:
        super().__init__(*args, **more)
        self._signals, self._take = signals, take

    async def authenticate(self, form: Mapping[str, str], *args: Any, **more: Any) -> Client:
        """See `ClientAuthenticator.authenticate`.

        Raises:
            OAuthError: besides, ``temporarily_unavailable`` (429) for a client that asks too fast.
        """
        try:
            client = await super().authenticate(form, *args, **more)
        except Impostor as refusal:
            self._signals.failed(refusal.client_id)
            raise
        wait_s = 0.0 if self._take is None else self._take(client.client_id)
        if wait_s:
            self._signals.held_back(client.client_id)
            raise OAuthError(
                "temporarily_unavailable",
                "this client asks too fast: come back after Retry-After seconds",
                429,
                retry_after_s=ceil(wait_s),
            )
        self._signals.proven(client.client_id)
        return client
