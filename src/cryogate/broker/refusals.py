"""Refused token requests as events, where it is known whose they were."""

from __future__ import annotations

from typing import Final

from cryogate.broker.authn import Client, Impostor
from cryogate.broker.oauth import OAuthError
from cryogate.broker.rows import OPERATOR_PREFIX
from cryogate.broker.signals import Signals
from cryogate.domain.events import Event, Outcome
from cryogate.ports.clock import Clock
from cryogate.ports.store import Store, UnitOfWork

_IMPOSTOR_EVERY_MS: Final = 1000
_MAX_WATCHED: Final = 4096


class Refusals:
    """Writes ``token.refused`` events.

    What a client did after it proved itself is always written. What a stranger did in a client's
    name is written at most once a second for each client, so strangers cannot flood the log.
    """

    def __init__(self, store: Store, clock: Clock, signals: Signals | None = None) -> None:
        self._store, self._clock, self._signals = store, clock, signals
        self._watched: dict[str, int] = {}

    async def of_client(self, client: Client, refusal: OAuthError) -> None:
        """A request of ``client`` was refused."""
        if self._signals is not None and refusal.error == "invalid_dpop_proof":
            self._signals.failed(client.client_id)
        owner = None if client.agent is None else client.agent.owner
        await self._write(client.client_id, owner, refusal)

    async def of_impostor(self, refusal: Impostor) -> None:
        """Somebody failed to prove to be a client that exists."""
        now_ms = self._clock.now_ms()
        last_ms = self._watched.pop(refusal.client_id, None)
        self._watched[refusal.client_id] = now_ms if last_ms is None else last_ms
        if last_ms is not None and now_ms - last_ms < _IMPOSTOR_EVERY_MS:
            return
        self._watched[refusal.client_id] = now_ms
        if len(self._watched) > _MAX_WATCHED:
            del self._watched[next(iter(self._watched))]
        await self._write(refusal.client_id, None, refusal)

    async def _write(self, client_id: str, owner: str | None, refusal: OAuthError) -> None:
        limits = tuple(f"limit {v.limit}" for v in refusal.violations[:20])
        is_agent = not client_id.startswith(OPERATOR_PREFIX)
        event = Event(
            timestamp_ms=self._clock.now_ms(),
            action="token.refused",
            outcome=Outcome.REFUSED,
            agent_id=client_id if is_agent else None,
            human_owner=owner,
            policy_digest=getattr(refusal, "policy_digest", None) or None,
            decision_reasons=(refusal.error, refusal.description[:1024], *limits),
            actor_chain=(client_id,),
        )
        await self._store.commit(UnitOfWork((), (event,)))
