"""Follows the log and tells when an agent is unlike itself. Never on a request.

(1) Events are read by ``seq``: in order, each once. Profiles, alerts and the place read up to
    move in one unit of work, so a crash neither counts an event twice nor forgets an alert.
(2) Profiles are kept in memory only while this process is the one that moves the place; another
    replica's move shows as a failed guard, and everything is read again.
(3) What an alert does to its agent (nothing, a need for approval, suspension) is written with the
    alert and ends when an operator closes it. Closing tells the profile that this is usual now.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from cryogate.domain.errors import Unavailable
from cryogate.domain.events import Event, Outcome
from cryogate.domain.ids import is_slug, new_id
from cryogate.governance.following import Place, Span, follow
from cryogate.governance.profiles import Finding, Profile, instant_ms
from cryogate.governance.rows import number, text
from cryogate.ports.clock import Clock
from cryogate.ports.holds import HoldKind
from cryogate.ports.store import GuardFailed, SqlValue, Statement, Store, UnitOfWork

log = logging.getLogger("cryogate.alerts")
CURSOR: Final = "detector"
_SPAN: Final = 2000
_MOST_CACHED: Final = 2000
_PROFILE = msgspec.json.Decoder(Profile)
_EVENT = msgspec.json.Decoder(dict[str, Any])


class Detector:
    """``actions`` says which kinds of alert hold their agent; ``held`` is awaited after a hold."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        actions: Mapping[str, HoldKind],
        held: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._actions = dict(actions)
        self._held = held
        self.place = Place(store, CURSOR, _SPAN)
        self._read = -1
        self._profiles: dict[str, Profile] = {}

    async def run(self, interval_s: float = 0.5) -> None:
        """Follow until cancelled."""
        await follow(self.place, self.follow_once, every_s=interval_s, log=log, lost=self._forget)

    async def follow_once(self) -> bool:
        """Read on; whether there was anything to read.

        Raises:
            StoreUnavailable: nothing was counted.
        """
        span = await self.place.next()
        if span is None:
            return False
        if span.first != self._read:
            self._forget()  # (2)
        params = {"first": span.first, "past": span.past}
        rows = await self._store.fetch("events_to_watch", params)
        touched: set[str] = set()
        found: list[tuple[str, Finding, int]] = []
        holds: list[Statement] = []
        for row in rows:
            event = _EVENT.decode(text(row, "body")) | {"seq": number(row, "seq")}
            if str(event["action"]).startswith("alert."):
                holds += await self._alert(event, touched)
                continue
            agent_id = event.get("agent_id")
            if not isinstance(agent_id, str) or _of_a_hold(event):
                continue
            profile = await self._profile(agent_id)
            touched.add(agent_id)
            found += [(agent_id, f, instant_ms(event)) for f in profile.see(event)]
        await self._write(span, touched, found, holds)
        return True

    async def _write(
        self,
        span: Span,
        touched: set[str],
        found: list[tuple[str, Finding, int]],
        holds: list[Statement],
    ) -> None:
        """(1)"""
        statements = [self.place.moved(span)]
        for agent_id in sorted(touched):
            body = msgspec.json.encode(self._profiles[agent_id]).decode()
            statements.append(Statement("profile_put", {"agent_id": agent_id, "profile": body}))
        statements += [self._fold(agent_id, f, at_ms) for agent_id, f, at_ms in found]
        events = tuple(self._event(agent_id, f) for agent_id, f, _ in found)
        try:
            await self._store.commit(UnitOfWork((*statements, *holds), events))
        except GuardFailed:
            self._forget()
            return
        except Unavailable:
            self._forget()
            raise
        self._read = span.past
        if holds or any(f.kind in self._actions for _, f, _ in found):
            await self._held()
        if len(self._profiles) > _MOST_CACHED:
            self._profiles.clear()

    async def _alert(self, event: Mapping[str, Any], touched: set[str]) -> list[Statement]:
        """(3) An alert of another part holds its agent; a closed one makes the new thing usual."""
        reasons = [str(reason) for reason in event.get("decision_reasons") or ()]
        if event["action"] == "alert.closed" and len(reasons) >= 3 and is_slug(reasons[2]):
            (await self._profile(reasons[2])).accept(reasons[1])
            touched.add(reasons[2])
        if event["action"] == "alert.raised" and len(reasons) >= 2 and is_slug(reasons[1]):
            action = self._actions.get(reasons[0])
            if action is not None:
                params = {"kind": reasons[0], "subject": reasons[1], "hold": action.value}
                return [Statement("alert_hold", params, rows=None)]
        return []

    async def _profile(self, agent_id: str) -> Profile:
        known = self._profiles.get(agent_id)
        if known is None:
            row = await self._store.fetch_one("profile_of", {"agent_id": agent_id})
            known = Profile() if row is None else _PROFILE.decode(text(row, "profile"))
            self._profiles[agent_id] = known
        return known

    def _fold(self, agent_id: str, found: Finding, at_ms: int) -> Statement:
        action = self._actions.get(found.kind)
        params: dict[str, SqlValue] = {
            "alert_id": new_id("alt"),
            "kind": found.kind,
            "subject": agent_id,
            "severity": found.severity.value,
            "evidence": json.dumps(found.evidence, sort_keys=True),
            "at_ms": at_ms,
            "hold": None if action is None else action.value,
        }
        return Statement("alert_fold_held", params)

    def _event(self, agent_id: str, found: Finding) -> Event:
        shown = (f"{name}={value}" for name, value in found.evidence.items())
        return Event(
            timestamp_ms=self._clock.now_ms(),
            action="alert.raised",
            outcome=Outcome.SUCCESS,
            agent_id=agent_id,
            decision_reasons=(found.kind, agent_id, found.severity.value, *shown),
        )

    def _forget(self) -> None:
        self._profiles.clear()
        self._read = -1


def _of_a_hold(event: Mapping[str, Any]) -> bool:
    """A refusal that follows from an alert says nothing new about the agent."""
    reasons = event.get("decision_reasons")
    return isinstance(reasons, list) and "suspended" in reasons
