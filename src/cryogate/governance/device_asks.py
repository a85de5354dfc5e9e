"""Approvals put to people on their own devices, where they log in to say yes.

(1) Asked are active operators whom the provider knows, who have the role, are not the agent's
    owner and have not voted; each once at a time.
(2) The device shows a code that is the beginning of the terms' digest, the agent and the cost; the
    same code stands in every other message and in the console.
(3) A yes counts only from the person who was asked: the subject that the provider names is the
    one that is linked to that operator, for good.
(4) It is then that operator's vote, by the same desk and the same rules as any other. A no on the
    device is no denial: it may only mean "not now".
"""

from __future__ import annotations

import asyncio
import logging

from cryogate.domain.approvals import ApprovalState, Terms
from cryogate.domain.errors import Refused, Unavailable
from cryogate.domain.events import Event
from cryogate.governance.approval_desk import ApprovalDesk
from cryogate.governance.approval_rows import ApprovalRecord, approval_event
from cryogate.governance.messages import code_of
from cryogate.governance.rows import number, text
from cryogate.governance.voters import Voter, voter_of
from cryogate.ports.backchannel import BackChannel, Reply
from cryogate.ports.channels import ASKS, Channel, Message, NotSent
from cryogate.ports.clock import Clock
from cryogate.ports.store import GuardFailed, Row, SqlValue, Statement, Store, UnitOfWork

log = logging.getLogger("cryogate.approvals")
_CALL_MS = 30_000
_NOTE = "agreed on their own device"


class DeviceAsks(Channel):
    """A channel of the outbox, and the loop that asks for the answers."""

    def __init__(self, store: Store, clock: Clock, back: BackChannel, desk: ApprovalDesk) -> None:
        self._store, self._clock, self._back, self._desk = store, clock, back, desk

    @property
    def name(self) -> str:
        """See `Channel.name`."""
        return "device"

    def wants(self, kind: str) -> bool:
        """What asks for a decision."""
        return kind in ASKS

    async def _send(self, message: Message) -> None:
        found = await self._desk.get(message.about)
        asked = {
            text(row, "operator_id")
            for row in await self._store.fetch("device_asks_of", {"approval_id": message.about})
            if row["state"] == "waiting" and number(row, "expires_ms") > self._clock.now_ms()
        }
        failed = 0
        for voter in await self._people(found):
            if voter.operator_id in asked:
                continue
            try:
                await self._ask(found, voter)
            except Unavailable:
                log.warning("%s cannot be asked on a device", voter.operator_id, exc_info=True)
                failed += 1
        if failed:
            raise NotSent(f"device: {failed} could not be asked")

    async def _people(self, found: ApprovalRecord) -> list[Voter]:
        """(1)"""
        rows = await self._store.fetch("device_people", {"issuer": self._back.issuer})
        voted = [vote.voter for vote, _ in await self._desk.votes(found)]
        role = found.approval.role
        return [
            voter
            for voter in map(voter_of, rows)
            if voter.may(role)
            and not voter.is_person(found.owner)
            and not any(voter.is_person(*other.names) for other in voted)
        ]

    async def _ask(self, found: ApprovalRecord, voter: Voter) -> None:
        started = await self._back.start(voter.person, binding_message(found))
        now_ms = self._clock.now_ms()
        params: dict[str, SqlValue] = {
            "approval_id": found.approval.approval_id,
            "operator_id": voter.operator_id,
            "request_id": started.request_id,
            "interval_s": started.interval_s,
            "next_ms": now_ms + started.interval_s * 1000,
            "expires_ms": now_ms + started.expires_s * 1000,
        }
        await self._store.commit(UnitOfWork((Statement("device_ask_put", params),)))

    async def run(self, interval_s: float = 1.0) -> None:
        """Ask for answers until cancelled."""
        while True:
            try:
                await self.look()
            except Unavailable:
                log.warning("device approvals cannot be read or written", exc_info=True)
            await asyncio.sleep(interval_s)

    async def look(self) -> None:
        """Ask for the answers that are due.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        due = await self._store.fetch("device_asks_due", {"now_ms": self._clock.now_ms()})
        for row in due:
            await self._answer(row)

    async def _answer(self, row: Row) -> None:
        key: dict[str, SqlValue] = {
            name: text(row, name) for name in ("approval_id", "operator_id", "request_id")
        }
        now_ms = self._clock.now_ms()
        if number(row, "expires_ms") <= now_ms:
            await self._end(key, "over")
            return
        claim = {**key, "next_ms": number(row, "next_ms"), "later_ms": now_ms + _CALL_MS}
        try:
            await self._store.commit(UnitOfWork((Statement("device_ask_claim", claim),)))
        except GuardFailed:
            return  # another replica asks
        interval_s = number(row, "interval_s")
        try:
            answer = await self._back.answer(str(key["request_id"]))
        except Unavailable:
            log.warning("the answer of a device cannot be had", exc_info=True)
            await self._again(key, interval_s)
            return
        if answer.reply is Reply.AGREED:
            await self._agreed(key, answer.subject)
        elif answer.reply is Reply.DECLINED:
            await self._declined(key)
        elif answer.reply is Reply.OVER:
            await self._end(key, "over")
        else:
            slower = 5 if answer.reply is Reply.SLOW_DOWN else 0
            await self._again(key, interval_s + slower)

    async def _agreed(self, key: dict[str, SqlValue], subject: str) -> None:
        """(3), (4)"""
        whose: dict[str, SqlValue] = {"issuer": self._back.issuer, "subject": subject}
        row = await self._store.fetch_one("device_person", whose)
        if row is None or row["operator_id"] != key["operator_id"]:
            log.error("somebody else than %s answered on a device", key["operator_id"])
            await self._end(key, "moot")
            return
        actor = f"operator:{key['operator_id']}"
        try:
            await self._desk.approve(str(key["approval_id"]), actor, _NOTE)
        except Refused as refused:
            log.warning("a yes on a device came to nothing: %s", refused)
            await self._end(key, "moot")
            return
        await self._end(key, "agreed")

    async def _declined(self, key: dict[str, SqlValue]) -> None:
        found = await self._desk.get(str(key["approval_id"]))
        events: tuple[Event, ...] = ()
        if found.approval.state is ApprovalState.PENDING:
            actor = f"operator:{key['operator_id']}"
            now_ms = self._clock.now_ms()
            events = (
                approval_event(
                    "approval.declined", found.approval, found.owner, now_ms, actor=actor
                ),
            )
        await self._end(key, "declined", events)

    async def _again(self, key: dict[str, SqlValue], interval_s: int) -> None:
        next_ms = self._clock.now_ms() + interval_s * 1000
        params = {**key, "interval_s": interval_s, "next_ms": next_ms}
        await self._store.commit(UnitOfWork((Statement("device_ask_again", params, None),)))

    async def _end(
        self, key: dict[str, SqlValue], state: str, events: tuple[Event, ...] = ()
    ) -> None:
        statement = Statement("device_ask_end", {**key, "state": state}, None)
        await self._store.commit(UnitOfWork((statement,), events))


def binding_message(found: ApprovalRecord) -> str:
    """(2) Short, and made of our words, ids and numbers only."""
    terms = found.approval.terms
    what = found.approval.kind.value
    cost = ""
    if isinstance(terms, Terms):
        cents = terms.cost_ceiling_cents
        cost = f" up to {cents // 100}.{cents % 100:02d} {terms.currency}"
    return f"{code_of(terms)} {what} of {terms.agent_id[:32]}{cost}"
