"""A store whose events are sealed on their way in: every writer of events goes through it.

(1) What a field's class (`cryogate.domain.event_classes`) does not leave open is replaced by its
    commitment before the event is encoded, and its text is written beside the event in the same
    unit of work: an event in the log has its text for as long as its key is there.
(2) A scope's key is on disk, sealed by the master key, before anything is sealed under it.
(3) A text that is known to be on disk is not written again. What is known of a unit of work that
    failed is nothing.
(4) In a scope that was shredded, values are committed to under a key that exists nowhere. Other
    processes learn of a shred by `follow`; until then the database takes no text of theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import Final

from cryogate.audit.seals import KEY_BYTES, LostKey, ScopeKey
from cryogate.domain.event_classes import open_actor, open_reason
from cryogate.domain.events import Event
from cryogate.domain.secrets import Secret
from cryogate.ports.audit import rfc3339
from cryogate.ports.clock import Clock
from cryogate.ports.credentials import Sealer
from cryogate.ports.store import (
    ReadStore,
    Row,
    SqlValue,
    Statement,
    Store,
    StoreUnavailable,
    UnitOfWork,
)

# What belongs to no experiment is under the key of its month, so that it can end with its entries.
# No experiment's name begins so.
_MONTH: Final = "~"
# Told in an experiment's name when its key is gone; who did it must stay readable.
_ABOUT_KEYS: Final = frozenset({"experiment.shredded"})
_MAX_SCOPES: Final = 1024
_MAX_STORED: Final = 1 << 14


def scope_of(action: str, experiment_id: str | None, timestamp: str | int) -> str:
    """Under whose key an event's values are; its time stamp as text or in epoch milliseconds."""
    if experiment_id is not None and action not in _ABOUT_KEYS:
        return experiment_id
    text = rfc3339(timestamp) if isinstance(timestamp, int) else timestamp
    return _MONTH + text[:7]


def month_scope(timestamp_ms: int) -> str:
    """The scope of what belongs to no experiment and happened then."""
    return scope_of("", None, timestamp_ms)


class ScopeKeys:
    """The scopes' keys, read when they are first needed."""

    def __init__(self, store: ReadStore, sealer: Sealer) -> None:
        self._store, self._sealer = store, sealer
        self._held: dict[str, ScopeKey] = {}

    def held(self, scope: str) -> ScopeKey | None:
        """The key, if it is in memory."""
        return self._held.get(scope)

    async def find(self, scope: str) -> ScopeKey | None:
        """The key to open with; None if the scope has none, or none any more.

        Raises:
            StoreUnavailable: the database did not answer, or the key does not open.
        """
        known = self._held.get(scope) or await self.load(scope)
        return None if isinstance(known, LostKey) else known

    async def refresh(self) -> None:
        """(4)

        Raises:
            StoreUnavailable: the database did not answer.
        """
        for row in await self._store.fetch("scopes_shredded", {}):
            scope = str(row["scope"])
            if not isinstance(self._held.get(scope), LostKey):
                self.forget(scope)

    def forget(self, scope: str) -> None:
        """Let go of a key: it is read anew, and what is not there any more is not found."""
        self._held.pop(scope, None)

    async def load(self, scope: str) -> ScopeKey | None:
        """The key as it is kept now; a `LostKey` if it was deleted, None if there never was one.

        Raises:
            StoreUnavailable: as `find`.
        """
        row = await self._store.fetch_one("scope_key", {"scope": scope})
        if row is None:
            return None
        if len(self._held) >= _MAX_SCOPES:
            self._held.clear()
        key = LostKey(scope) if row["shredded_ms"] is not None else self._open(scope, row)
        self._held[scope] = key
        return key

    def _open(self, scope: str, row: Row) -> ScopeKey:
        try:
            return ScopeKey(scope, self._sealer.open(str(row["sealed"]), _context(scope)))
        except ValueError as error:
            # Without it no event of the scope can be written, so nothing of it may happen.
            raise StoreUnavailable(
                f"the key of the audit log's scope {scope} does not open: another "
                f"master key, or the row was altered"
            ) from error


class SealingStore(Store):
    """See the module. Wraps any driver; reads go straight through."""

    def __init__(self, inner: Store, sealer: Sealer, clock: Clock) -> None:
        self._inner, self._sealer, self._clock = inner, sealer, clock
        self.keys = ScopeKeys(inner, sealer)
        self._stored: set[tuple[str, str]] = set()
        # A read in the path of every request: not one frame more than it needs.
        self.fetch = inner.fetch  # type: ignore[method-assign]

    async def open(self) -> None:
        """See `Store.open`."""
        await self._inner.open()

    async def close(self) -> None:
        """See `Store.close`."""
        await self._inner.close()

    async def fetch(self, query: str, params: Mapping[str, SqlValue]) -> Sequence[Row]:
        """See `ReadStore.fetch`."""
        return await self._inner.fetch(query, params)

    @property
    def state(self) -> int | None:
        """See `ReadStore.state`."""
        return self._inner.state

    async def scrub(self) -> None:
        """See `Store.scrub`."""
        await self._inner.scrub()

    async def commit(self, work: UnitOfWork) -> Sequence[Sequence[Row]]:
        """See `Store.commit`."""
        if not work.events:
            return await self._inner.commit(work)
        held = self.keys.held
        texts: dict[tuple[str, str], tuple[ScopeKey, str, str]] = {}
        events = list[Event]()
        for event in work.events:
            scope = scope_of(event.action, event.experiment_id, event.timestamp_ms)
            key = held(scope) or await self.make_key(scope)
            events.append(_sealed(event, key, self._stored, texts))
        if not texts:
            return await self._inner.commit(UnitOfWork(work.statements, tuple(events)))
        # In one order everywhere, so that two units with the same new texts do not wait for one
        # another; and behind all else, so that nothing waits for what they lock.
        places = sorted(texts)
        seals = [_seal(place, *texts[place]) for place in places]
        done = await self._inner.commit(UnitOfWork((*work.statements, *seals), tuple(events)))
        if len(self._stored) > _MAX_STORED:
            self._stored.clear()  # written again where need be, which changes nothing
        self._stored.update(places)  # (3)
        return done[: len(work.statements)]

    async def make_key(self, scope: str) -> ScopeKey:
        """The key to seal with; a new scope's is on disk when this returns (2).

        Raises:
            StoreUnavailable: the database did not answer, or the key does not open.
        """
        known = await self.keys.load(scope)
        if known is None:
            sealed = self._sealer.seal(Secret(os.urandom(KEY_BYTES)), _context(scope))
            params: dict[str, SqlValue] = {
                "scope": scope,
                "sealed": sealed,
                "now_ms": self._clock.now_ms(),
            }
            # Another process may be first: whoever was, its key is the one.
            await self._inner.commit(UnitOfWork((Statement("scope_key_add", params, rows=None),)))
            known = await self.keys.load(scope)
        if known is None:
            raise StoreUnavailable("a key that was just kept is not there")
        return known

    async def follow(self, interval_s: float) -> None:
        """(4), until cancelled."""
        while True:
            await asyncio.sleep(interval_s)
            with contextlib.suppress(StoreUnavailable):  # nothing can be read then, either
                await self.keys.refresh()

    def forget(self, scope: str) -> None:
        """A scope was shredded: neither its key nor what was stored under it is there any more."""
        self.keys.forget(scope)
        self._stored = {place for place in self._stored if place[0] != scope}


_Texts = dict[tuple[str, str], tuple[ScopeKey, str, str]]
_OWNER = Event._fields.index("human_owner")
_CIRCUIT = Event._fields.index("circuit_sha256")
_REASONS = Event._fields.index("decision_reasons")


def _sealed(event: Event, key: ScopeKey, stored: set[tuple[str, str]], texts: _Texts) -> Event:
    """(1): the event with its commitments; new texts go to ``texts``.

    By position, because this runs for every event: a test holds the fields' order to what is here.
    """
    action, owner, purpose = event.action, event.human_owner, event.purpose
    circuit, reasons, chain = event.circuit_sha256, event.decision_reasons, event.actor_chain
    # Most events say of whom and why what others said before: looked up all at once.
    about = action, owner, purpose, reasons, chain
    told = key.told.get(about)
    if told is None:
        before = len(texts)
        told = (
            owner and _token("human_owner", owner, key, stored, texts),
            purpose and _token("purpose", purpose, key, stored, texts),
            reasons and _reasons(action, reasons, key, stored, texts),
            chain and _actors(chain, key, stored, texts),
        )
        if len(texts) == before:
            key.remember(about, told)
    if circuit is not None:
        if event.job_id is None:
            circuit = _token("circuit_sha256", circuit, key, stored, texts)
        else:
            # A job's own row has it; the opener reads it there, and the commitment proves it.
            circuit = key.token("circuit_sha256", circuit)
    owner, purpose, reasons, chain = told
    front, between = event[:_OWNER], event[_CIRCUIT + 1 : _REASONS]
    about_it = (owner, event.experiment_id, purpose, circuit)
    return Event._make((*front, *about_it, *between, reasons, event.approval_id, chain))


def _token(
    field: str, value: str, key: ScopeKey, stored: set[tuple[str, str]], texts: _Texts
) -> str:
    found = key.token(field, value)
    place = key.scope, found
    if place not in stored:
        texts[place] = key, field, value
    return found


def _reasons(
    action: str,
    reasons: tuple[str, ...],
    key: ScopeKey,
    stored: set[tuple[str, str]],
    texts: _Texts,
) -> tuple[str, ...]:
    return tuple(
        reason
        if open_reason(action, place, reason)
        else _token("decision_reasons", reason, key, stored, texts)
        for place, reason in enumerate(reasons)
    )


def _actors(
    chain: tuple[str, ...], key: ScopeKey, stored: set[tuple[str, str]], texts: _Texts
) -> tuple[str, ...]:
    return tuple(
        actor if open_actor(actor) else _token("actor_chain", actor, key, stored, texts)
        for actor in chain
    )


def _seal(place: tuple[str, str], key: ScopeKey, field: str, value: str) -> Statement:
    scope, token = place
    params: dict[str, SqlValue] = {
        "scope": scope,
        "token": token,
        "text": key.seal(field, value, token),
    }
    return Statement("scope_seal", params, rows=None)


def _context(scope: str) -> str:
    return f"scope_keys/{scope}"
