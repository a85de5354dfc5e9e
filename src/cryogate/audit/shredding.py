"""``experiment shred``: everything sealed for an experiment becomes unreadable, for everybody.

(1) The experiment is over and none of its jobs is under way: the guard of the whole unit of work.
(2) The key goes, and with it every sealed text in every copy of the database that has not got
    the key; the texts go as well. What the gateway itself kept in clear for its work (programs,
    results, statements, approvals, owner and purpose) goes in the same unit of work.
(3) The log is not touched: its entries hold commitments, which nobody can open any more.
(4) That it was done, by whom and why, is an event. Its values are under the key of no experiment.
"""

from __future__ import annotations

from typing import Final

import msgspec

from cryogate.audit.sealing import SealingStore
from cryogate.domain.errors import Conflict, Malformed, NotFound
from cryogate.domain.events import Event, Outcome
from cryogate.domain.ids import is_slug
from cryogate.ports.clock import Clock
from cryogate.ports.store import GuardFailed, Statement, UnitOfWork

MAX_REASON: Final = 500
_ERASE: Final = (
    "shred_texts", "shred_results", "shred_provenance", "shred_webhooks", "shred_questions",
    "shred_asks",
    "shred_votes", "shred_approvals", "shred_jobs", "shred_tokens", "shred_experiment",
)  # fmt: skip


class Shredded(msgspec.Struct, frozen=True):
    """What is left to say of an experiment whose key is gone."""

    experiment_id: str
    shredded_ms: int


class Shredder:
    """Deletes keys of experiments."""

    def __init__(self, store: SealingStore, clock: Clock) -> None:
        self._store, self._clock = store, clock

    async def shred(self, experiment_id: str, reason: str, actor: str) -> Shredded:
        """Delete the experiment's key and what was in clear, as ``actor``. There is no way back.

        Raises:
            NotFound: there is no such experiment.
            Malformed: no reason, or too long a one.
            Conflict: it is open, has jobs under way, or was shredded before.
            StoreUnavailable: the database did not answer.
        """
        if not 0 < len(reason) <= MAX_REASON or not reason.isprintable():
            raise Malformed("malformed_reason", f"a reason has 1 to {MAX_REASON} plain characters")
        scope = {"scope": experiment_id}
        named = {"experiment_id": experiment_id}
        row = None
        if is_slug(experiment_id):
            row = await self._store.fetch_one("experiment_with_budget", named)
        if row is None:
            raise NotFound("no_such_experiment", "there is no such experiment")
        kept = await self._store.fetch_one("scope_key", scope)
        if kept is not None and kept["shredded_ms"] is not None:
            raise Conflict("shredded_already", "the experiment was shredded before")
        # One without any event yet gets a key, so that its deletion is on record like any other.
        await self._store.make_key(experiment_id)
        now_ms = self._clock.now_ms()
        event = Event(
            timestamp_ms=now_ms,
            action="experiment.shredded",
            outcome=Outcome.SUCCESS,
            experiment_id=experiment_id,
            decision_reasons=(reason,),
            actor_chain=(actor,),
        )
        key = Statement("shred_key", {**scope, "now_ms": now_ms}, guard="experiment.over")  # (1)
        erase = tuple(Statement(name, scope, rows=None) for name in _ERASE)  # (2)
        try:
            await self._store.commit(UnitOfWork((key, *erase), (event,)))
        except GuardFailed:
            raise Conflict(
                "experiment_not_over",
                "close the experiment and let its jobs end first; shredding cannot be undone",
            ) from None
        finally:
            self._store.forget(experiment_id)
        await self._store.scrub()
        return Shredded(experiment_id, now_ms)
