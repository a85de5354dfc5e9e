"""Pruning: old entries lose their text under a written policy, and the log goes on proving itself.

(1) Without a policy nothing goes. What is younger than the policy says, held by it, not signed yet,
    or not yet taken by every sink, stays.
(2) What goes is verified first, entry by entry, and its own time stamps must be old enough: pruning
    buries no tampering.
(3) Whole bundles of 256 go, from the first on (C2SP tlog-tiles, "Pruning"). Their hashes stay, so
    every root, every proof and every receipt stays what it was.
(4) The log says so before it is done: `audit.pruned` with the policy's digest and the new first
    entry is under a signed head when the first text goes. A verifier believes nothing else about
    absent texts; whoever deletes them otherwise is found.
(5) With its last entry goes a month's key, under which people are in events of no experiment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

from cryogate.audit.errors import LogIntegrityError
from cryogate.audit.log import AuditLog
from cryogate.audit.nodes import TILE_WIDTH
from cryogate.audit.reading import LEFT_FROM, PRUNED, pruned_before, read_entries
from cryogate.audit.sealing import SealingStore, month_scope
from cryogate.domain.errors import Conflict
from cryogate.domain.events import Event, Outcome
from cryogate.ports.clock import Clock
from cryogate.ports.retention import RetentionPolicy
from cryogate.ports.store import GuardFailed, SqlValue, Statement, UnitOfWork

#: The most entries that one run takes; the next takes more.
MAX_ENTRIES: Final = 1 << 20


class PrunePlan(msgspec.Struct, frozen=True):
    """What may go: the entries in [first, past). ``held_by`` says why no more may."""

    first: int
    past: int
    cutoff_ms: int
    held_by: str


class Pruner:
    """Prunes ``log``. ``policy`` is None where none was written; ``sinks`` are those configured."""

    def __init__(
        self,
        store: SealingStore,
        log: AuditLog,
        clock: Clock,
        policy: RetentionPolicy | None,
        sinks: tuple[str, ...],
    ) -> None:
        self._store, self._log, self._clock = store, log, clock
        self._policy, self._sinks = policy, sinks

    async def plan(self) -> PrunePlan:
        """What `prune` would do now.

        Raises:
            Conflict: there is no policy.
            StoreUnavailable: the database did not answer.
        """
        policy = self._written()
        first = await pruned_before(self._store)
        cutoff_ms = policy.cutoff_ms(self._clock.now_ms())
        past, held_by = min(self._log.published_size, first + MAX_ENTRIES), ""
        span: dict[str, SqlValue] = {"first": first, "past": past}
        young = await self._first("log_first_young", {**span, "cutoff_ms": cutoff_ms})
        if young is not None:
            past, held_by = young, "keep_days"
        for experiment in policy.holds:
            asked = {**span, "past": past, "experiment_id": experiment}
            held = await self._first("log_first_held", asked)
            if held is not None:
                past, held_by = held, f"hold on {experiment}"
        for name, place in (await self._places()).items():
            if place < past:
                past, held_by = place, f"sink {name}"
        return PrunePlan(first, max(first, past - past % TILE_WIDTH), cutoff_ms, held_by)  # (3)

    async def prune(self, actor: str) -> PrunePlan:
        """Do it, as ``actor``; what was done.

        Raises:
            Conflict: there is no policy, or another process prunes at the same time.
            LogIntegrityError: an entry that was to go is not what was logged; nothing went.
            StoreUnavailable: the database did not answer; run it again.
        """
        policy, plan = self._written(), await self.plan()
        if plan.past == plan.first:
            return plan
        await self._check(plan)
        event = Event(
            timestamp_ms=self._clock.now_ms(),
            action=PRUNED,
            outcome=Outcome.INTENT,
            decision_reasons=(
                f"{LEFT_FROM}{plan.past}", f"old {plan.first}", f"retention sha256:{policy.digest}"
            ),
            actor_chain=(actor,),
        )  # fmt: skip
        await self._store.commit(UnitOfWork((), (event,)))
        await self._log.sequence_now()
        await self._log.checkpoint_now()  # (4)
        for first in range(plan.first, plan.past, 16 * TILE_WIDTH):
            past = min(plan.past, first + 16 * TILE_WIDTH)
            span: dict[str, SqlValue] = {"first": first, "past": past}
            texts = Statement("log_prune_texts", span, past - first)
            mark = Statement("log_prune_mark", span, guard="log.pruned")
            try:
                await self._store.commit(UnitOfWork((mark, texts)))
            except GuardFailed:
                raise Conflict("pruned_meanwhile", "another process prunes: look again") from None
        await self._end_months(plan.past)
        await self._store.scrub()
        return plan

    def _written(self) -> RetentionPolicy:
        if self._policy is None:  # (1)
            raise Conflict(
                "no_retention_policy",
                "entries go only under a written policy: name its file in audit.retention_file",
            )
        return self._policy

    async def _first(self, query: str, params: Mapping[str, SqlValue]) -> int | None:
        row = await self._store.fetch_one(query, params)
        return None if row is None else int(row["seq"] or 0)

    async def _places(self) -> dict[str, int]:
        """How far each configured sink has got; one that has not begun has got nowhere."""
        rows = await self._store.fetch("sink_positions", {})
        known = {str(row["name"]): int(row["position"] or 0) for row in rows}
        return {name: known.get(name, 0) for name in self._sinks}

    async def _check(self, plan: PrunePlan) -> None:
        """(2)"""
        first = plan.first
        while first < plan.past:
            entries = await read_entries(self._store, first, min(1000, plan.past - first))
            if not entries:
                raise LogIntegrityError(f"log entry {first} is missing")
            for entry in entries:
                at = datetime.fromisoformat(json.loads(entry.data)["timestamp"])
                if at.timestamp() * 1000 >= plan.cutoff_ms:
                    raise LogIntegrityError(
                        f"log entry {entry.seq} is younger than its row says: nothing was pruned"
                    )
            first = entries[-1].seq + 1

    async def _end_months(self, past: int) -> None:
        """(5)"""
        span = {"first": past, "past": past + MAX_ENTRIES}
        row = await self._store.fetch_one("log_oldest_text", span)
        oldest = None if row is None else row["timestamp_ms"]
        now_ms = self._clock.now_ms()
        month = month_scope(oldest if isinstance(oldest, int) else now_ms)
        for row in await self._store.fetch("scopes_of_months", {"month": month}):
            scope = str(row["scope"])
            end = Statement("scope_end", {"scope": scope, "now_ms": now_ms}, rows=None)
            texts = Statement("shred_texts", {"scope": scope}, rows=None)
            await self._store.commit(UnitOfWork((end, texts)))
            self._store.forget(scope)
