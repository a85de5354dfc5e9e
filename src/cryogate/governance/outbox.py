"""The outbox: what the log says is told to people, each thing at least once.

(1) The log is the source. A reader follows it by ``seq``, which has no gaps and no late
    arrivals, and writes the messages in the same unit of work that moves its place. So nothing
    is written on a request, nothing is lost by a crash, and of several readers one wins.
(2) A message is claimed before it is sent, by a guarded update that moves its next try. Who
    crashes with a claim loses it when that time comes; a repetition has the same id.
(3) What failed is tried again, later and later, up to `MAX_ATTEMPTS`; then it is dead, and an
    event says so.
(4) A request for a decision that has been taken meanwhile is dropped, not sent.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from cryogate.domain.approvals import ApprovalState
from cryogate.domain.events import Event, Outcome
from cryogate.governance.approval_desk import seen_at
from cryogate.governance.approval_rows import record
from cryogate.governance.following import Place, Span, follow
from cryogate.governance.messages import (
    approval_data,
    approval_facts,
    approval_title,
    event_facts,
    quoted,
)
from cryogate.governance.rows import maybe_text, number, text
from cryogate.ports.channels import ASKS, JOB_ENDS, URGENT, Channel, Message, NotSent
from cryogate.ports.clock import Clock
from cryogate.ports.privacy import EventReader
from cryogate.ports.store import GuardFailed, ReadStore, Row, SqlValue, Statement, Store, UnitOfWork

log = logging.getLogger("cryogate.outbox")
CURSOR = "outbox"
MAX_ATTEMPTS = 14
LEASE_MS = 60_000
KEEP_MS = 30 * 24 * 3600 * 1000
_FIRST_WAIT_MS, _LONGEST_WAIT_MS = 5_000, 3_600_000
_QUIET_MS = _PRUNE_MS = 3_600_000
_JOB_FACTS = (
    "job_id", "experiment_id", "agent_id", "qpu", "shots", "cost_actual_cents", "currency",
)  # fmt: skip
_JOB_IDS = ("job_id", "experiment_id", "agent_id")
_BATCH, _AT_ONCE, _SPAN = 100, 20, 5_000


class Outbox:
    """Follows the log and delivers. ``console`` is the URL under which people decide."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        channels: Sequence[Channel],
        console: str,
        reader: EventReader | None = None,
    ) -> None:
        """``reader`` opens what is sealed in events; without one people are told commitments."""
        self._store = store
        self._reader = reader
        self._clock = clock
        self._channels: Mapping[str, Channel] = {c.name: c for c in channels}
        if len(self._channels) != len(channels):
            raise ValueError("two channels have one name")
        self._console = console
        self._asked = any(channel.by_request for channel in channels)
        self._jobs = int(self._asked or any(channel.experiment for channel in channels))
        self._prune_ms = 0
        self.place = Place(store, CURSOR, _SPAN)

    async def run(self, interval_s: float = 1.0) -> None:
        """Follow and deliver until cancelled."""
        await follow(self.place, self.follow_once, self.deliver_once, every_s=interval_s, log=log)

    # -- (1) -------------------------------------------------------------------------------

    async def follow_once(self) -> bool:
        """Read on; whether there was anything to read."""
        span = await self.place.next()
        if span is None:
            return False
        params = {"first": span.first, "past": span.past, "jobs": self._jobs}
        rows = await self._store.fetch("events_to_tell", params)
        if len(rows) > _BATCH:
            rows = rows[:_BATCH]
            span = Span(span.first, number(rows[-1], "seq") + 1)
        statements = [self.place.moved(span)]
        events = [json.loads(text(row, "body")) for row in rows]
        hooks = await self._hooks(events)
        for event, clear in zip(events, await self._clear(events), strict=True):
            asked = hooks.get(str(event.get("job_id")), frozenset())
            statements += self._entries(event, clear, asked)
        try:
            await self._commit(*statements)
        except GuardFailed:
            return False  # another replica has read this far
        return True

    async def _clear(self, events: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        return events if self._reader is None else await self._reader.clear(events)

    async def _hooks(self, events: Sequence[Mapping[str, Any]]) -> Mapping[str, AbstractSet[str]]:
        """For each job that is over, the channels through which it wants that told."""
        found: dict[str, set[str]] = {}
        jobs = [event["job_id"] for event in events if event["action"] in JOB_ENDS]
        if self._asked and jobs:
            for row in await self._store.fetch("hooks_of_jobs", {"jobs": json.dumps(jobs)}):
                found.setdefault(text(row, "job_id"), set()).add(text(row, "channel"))
        return found

    def _entries(
        self, event: Mapping[str, Any], clear: Mapping[str, Any], hooks: AbstractSet[str]
    ) -> Sequence[Statement]:
        """What is kept of an event until it is told is as sealed as the event."""
        kind, about, quiet_ms = _sorted(clear)
        now_ms = self._clock.now_ms()
        entry: dict[str, SqlValue] = {
            "about": about,
            "kind": kind,
            "body": json.dumps(event, sort_keys=True),
            "now_ms": now_ms,
            "quiet_ms": now_ms - quiet_ms,
        }
        return [
            Statement("outbox_add", {**entry, "channel": name}, rows=None)
            for name, channel in self._channels.items()
            if (name in hooks if channel.by_request else _concerns(channel, kind, event))
        ]

    # -- (2) to (4) ------------------------------------------------------------------------

    async def deliver_once(self) -> bool:
        """Send what is due; whether anything was."""
        now_ms = self._clock.now_ms()
        rows = await self._store.fetch("outbox_due", {"now_ms": now_ms, "limit": _AT_ONCE})
        await asyncio.gather(*(self._deliver(row) for row in rows))
        if not rows and now_ms >= self._prune_ms:
            self._prune_ms = now_ms + _PRUNE_MS
            await self._commit(
                Statement("outbox_prune", {"before_ms": now_ms - KEEP_MS}, rows=None)
            )
        return bool(rows)

    async def _deliver(self, row: Row) -> None:
        mine = number(row, "attempts") + 1
        key: dict[str, SqlValue] = {"message_id": number(row, "message_id")}
        claim = {**key, "attempts": mine - 1, "lease_ms": self._clock.now_ms() + LEASE_MS}
        try:
            await self._commit(Statement("outbox_claim", claim))
        except GuardFailed:
            return  # another replica has it
        key["attempts"] = mine
        channel = self._channels.get(text(row, "channel"))
        message = None if channel is None else await self._message(row, mine)
        if channel is None or message is None:
            await self._done(key, "dropped", None)
            return
        try:
            async with asyncio.timeout(LEASE_MS / 2000):
                await channel.send(message)
        except (NotSent, TimeoutError) as error:
            await self._failed(row, key, mine, str(error) or "no answer in time")
            return
        await self._done(key, "sent", None)

    async def _failed(self, row: Row, key: Mapping[str, SqlValue], tried: int, why: str) -> None:
        log.warning("message %s to %s: %s", row["message_id"], row["channel"], why)
        if tried >= MAX_ATTEMPTS:
            named = self._channels[str(row["channel"])].by_request
            event = Event(
                timestamp_ms=self._clock.now_ms(),
                # an agent's own address that does not answer is for the log, not for people
                action="webhook.undeliverable" if named else "message.undeliverable",
                outcome=Outcome.FAILURE,
                decision_reasons=(f"channel:{row['channel']}", f"kind:{row['kind']}"),
            )
            # a message about undeliverable messages that cannot be delivered says no more
            events = () if row["kind"] == "message.undeliverable" else (event,)
            await self._done(key, "dead", why[:200], events)
            return
        wait_ms = min(_LONGEST_WAIT_MS, _FIRST_WAIT_MS << (tried - 1))
        due_ms = self._clock.now_ms() + int(wait_ms * random.uniform(0.75, 1.25))  # noqa: S311
        params = {**key, "due_ms": due_ms, "trouble": why[:200]}
        await self._commit(Statement("outbox_retry", params, rows=None))

    async def _done(
        self,
        key: Mapping[str, SqlValue],
        state: str,
        trouble: str | None,
        events: tuple[Event, ...] = (),
    ) -> None:
        params = {**key, "state": state, "trouble": trouble, "now_ms": self._clock.now_ms()}
        await self._store.commit(UnitOfWork((Statement("outbox_done", params, rows=None),), events))

    async def _message(self, row: Row, attempt: int) -> Message | None:
        """The message as it is true now; None when it is not any more (4)."""
        kind, about = text(row, "kind"), text(row, "about")
        event = json.loads(text(row, "body"))
        message_id = f"msg-{row['message_id']}"
        created_ms = number(row, "created_ms")
        urgent = kind in URGENT
        if kind in JOB_ENDS:
            title, data, to = f"Job {about}: {kind.removeprefix('job.')}", _job_data(event), ""
            if self._channels[text(row, "channel")].by_request:
                named = {"job_id": about, "channel": text(row, "channel")}
                hook = await self._store.fetch_one("hook_of", named)
                if hook is None:
                    return None  # it was taken back meanwhile
                to, data = text(hook, "url"), _job_ids(event)
            return Message(
                message_id, kind, about, title, (), "", "", created_ms, attempt, urgent, data, to
            )
        if not kind.startswith("approval."):
            [clear] = await self._clear([event])
            return Message(
                message_id, kind, about, quoted(f"{kind} {about}".strip()), event_facts(clear), "",
                f"{self._console}/alerts", created_ms, attempt, urgent, {"event": kind},
            )  # fmt: skip
        stored = await self._store.fetch_one("approval_by_id", {"approval_id": about})
        if stored is None:
            return None
        found = seen_at(record(stored), self._clock.now_ms())
        if kind in ASKS and found.approval.state is not ApprovalState.PENDING:
            return None
        votes = await self._store.fetch("approval_votes", {"approval_id": about})
        return Message(
            message_id=message_id,
            kind=kind,
            about=about,
            title=approval_title(kind, found),
            facts=approval_facts(found, len(votes)),
            quote=quoted(found.approval.reason) if found.approval.requested_by else "",
            url=f"{self._console}/approvals/{about}",
            created_ms=created_ms,
            attempt=attempt,
            urgent=urgent,
            data=approval_data(kind, found),
        )

    async def _commit(self, *statements: Statement) -> None:
        await self._store.commit(UnitOfWork(statements))


def _concerns(channel: Channel, kind: str, event: Mapping[str, Any]) -> bool:
    if kind in JOB_ENDS:
        return bool(channel.experiment) and channel.experiment == event.get("experiment_id")
    return not channel.experiment and channel.wants(kind)


def _job_data(event: Mapping[str, Any]) -> dict[str, object]:
    """What a program is told of a job that is over: ids and numbers, and nothing a vendor wrote."""
    told = {name: event.get(name) for name in _JOB_FACTS}
    return {"event": event["action"], **{n: v for n, v in told.items() if v is not None}}


def _job_ids(event: Mapping[str, Any]) -> dict[str, object]:
    """What an address hears that an agent has named: ids and the state."""
    found: dict[str, object] = {n: event[n] for n in _JOB_IDS if event.get(n) is not None}
    return {**found, "state": str(event["action"]).removeprefix("job.")}


def _sorted(event: Mapping[str, Any]) -> tuple[str, str, int]:
    """Kind of message, what it is about, and for how long the same is not said again.

    An alert that goes on is one row that counts; people are told of it once an hour at most, and
    of a minor one only where programs listen.
    """
    kind = str(event["action"])
    if kind in JOB_ENDS:
        return kind, str(event.get("job_id") or ""), 0
    if kind != "alert.raised":
        return kind, str(event.get("approval_id") or ""), 0
    reasons = [str(reason) for reason in event.get("decision_reasons") or ()]
    what, whom, severity, *_ = [*reasons, "", "", ""]
    urgent = severity in ("high", "critical")
    return kind if urgent else "alert.noted", f"{what} {whom}"[:300], _QUIET_MS


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one message: ``waiting``, ``sent``, ``dropped`` or ``dead``, and why."""

    channel: str
    kind: str
    state: str
    attempts: int
    trouble: str | None


async def told_about(store: ReadStore, about: str) -> Sequence[Told]:
    """The messages about an approval, oldest first.

    Raises:
        StoreUnavailable: the database did not answer.
    """
    rows = await store.fetch("outbox_of", {"about": about})
    return tuple(
        Told(
            text(row, "channel"), text(row, "kind"), text(row, "state"), number(row, "attempts"),
            maybe_text(row, "trouble"),
        )
        for row in rows
    )  # fmt: skip
