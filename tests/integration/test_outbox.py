"""The outbox: what the log says reaches people at least once, and never holds a request up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.support.audit import ORIGIN, signer
from tests.support.governance import OWNER, World, hold_of, terms_of, world

from cryogate.audit.heads import FileHeadStore
from cryogate.audit.log import AuditLog
from cryogate.domain.events import Event, Outcome
from cryogate.governance.messages import MAX_QUOTE, quoted
from cryogate.governance.outbox import LEASE_MS, MAX_ATTEMPTS, Outbox
from cryogate.governance.prompting import Prompter, Prompts
from cryogate.ports.channels import FOR_PEOPLE, Channel, Message, NotSent
from cryogate.ports.store import UnitOfWork

BOB = "operator:bob"
HOUR = 3600 * 1000


class Heard(Channel):
    """Keeps what it is sent; fails, or hangs, as often as it is told to."""

    def __init__(self, name: str = "heard", *, people: bool = False) -> None:
        self._name, self._people = name, people
        self.messages: list[Message] = []
        self.tries: list[str] = []
        self.fail = 0

    @property
    def name(self) -> str:
        return self._name

    def wants(self, kind: str) -> bool:
        return kind in FOR_PEOPLE or not self._people

    async def _send(self, message: Message) -> None:
        self.tries.append(message.message_id)
        if self.fail:
            self.fail -= 1
            raise NotSent("the other side is out")
        self.messages.append(message)

    @property
    def kinds(self) -> list[str]:
        return [m.kind for m in self.messages]


class Told:
    """A world whose log is sequenced, and an outbox that follows it."""

    def __init__(self, w: World, log: AuditLog, *channels: Heard) -> None:
        self.w, self.log = w, log
        self.box = Outbox(w.store, w.clock, channels, "https://q.example/console")
        prompts = Prompts(remind_ms=4 * HOUR, escalate_ms=12 * HOUR)
        self.prompter = Prompter(w.store, w.clock, prompts)

    async def settle(self) -> None:
        await self.log.sequence_now()
        while await self.box.follow_once():
            pass
        await self.box.deliver_once()

    async def states(self, about: str) -> Sequence[str]:
        rows = await self.w.store.fetch("outbox_of", {"about": about})
        return [str(row["state"]) for row in rows]


@asynccontextmanager
async def told(tmp_path: Path, *channels: Heard, dsn: str | None = None) -> AsyncIterator[Told]:
    async with world(tmp_path, dsn=dsn) as w:
        log = AuditLog(w.store, w.clock, signer(), FileHeadStore(tmp_path / "heads"), ORIGIN)
        await log.start()
        made = Told(w, log, *channels)
        await made.settle()
        await made.box.place.begin()
        yield made
        await log.close()


async def test_a_request_and_its_decision_are_told(dsn: str | None, tmp_path: Path) -> None:
    hook, mail = Heard("hook"), Heard("mail", people=True)
    async with told(tmp_path, hook, mail, dsn=dsn) as t:
        approval_id = await t.w.park(hold_of())
        assert not hook.messages  # nothing is sent while the request is made
        await t.settle()
        await t.w.desk.approve(approval_id, BOB)
        await t.settle()
        assert hook.kinds == ["approval.requested", "approval.approved"]
        assert mail.kinds == ["approval.requested"]
        [message] = mail.messages
        assert message.url == f"https://q.example/console/approvals/{approval_id}"
        assert ("Shots", "10") in message.facts
        assert ("Costs at most", "1.00 USD") in message.facts
        assert message.data["terms_sha256"] == terms_of(hold_of()).digest()
        assert set(await t.states(approval_id)) == {"sent"}


async def test_history_before_the_first_start_is_not_told(tmp_path: Path) -> None:
    hook = Heard()
    async with world(tmp_path) as w:
        log = AuditLog(w.store, w.clock, signer(), FileHeadStore(tmp_path / "heads"), ORIGIN)
        await log.start()
        await w.park(hold_of("j1"))
        await log.sequence_now()
        t = Told(w, log, hook)
        await t.box.place.begin()
        await w.park(hold_of("j2"))
        await t.settle()
        assert len(hook.messages) == 1
        await log.close()


async def test_what_fails_is_tried_again_and_a_restart_loses_nothing(tmp_path: Path) -> None:
    hook = Heard()
    hook.fail = 2
    async with told(tmp_path, hook) as t:
        await t.w.park(hold_of())
        await t.settle()
        assert (hook.messages, len(hook.tries)) == ([], 1)
        await t.settle()
        assert len(hook.tries) == 1  # not before its time
        t = Told(t.w, t.log, hook)  # a fresh process on the same database
        for _ in range(2):
            t.w.clock.advance(HOUR)
            await t.settle()
        assert len(hook.messages) == 1
        assert hook.messages[0].attempt == 3
        assert len(set(hook.tries)) == 1  # every try has the same id


async def test_who_dies_with_a_claim_loses_it(tmp_path: Path) -> None:
    begun = asyncio.Event()

    class Hangs(Heard):
        async def _send(self, message: Message) -> None:
            begun.set()
            await asyncio.Event().wait()

    async with told(tmp_path, Hangs()) as t:
        await t.w.park(hold_of())
        await t.log.sequence_now()
        await t.box.follow_once()
        dying = asyncio.ensure_future(t.box.deliver_once())
        await asyncio.wait_for(begun.wait(), 10)
        dying.cancel()
        heir = Heard()
        t = Told(t.w, t.log, heir)
        await t.settle()
        assert not heir.messages
        t.w.clock.advance(LEASE_MS)
        await t.settle()
        assert len(heir.messages) == 1


async def test_replicas_do_not_say_it_twice(dsn: str | None, tmp_path: Path) -> None:
    hook = Heard()
    async with told(tmp_path, hook, dsn=dsn) as t:
        others = [Told(t.w, t.log, hook) for _ in range(4)]
        for n in range(3):
            await t.w.park(hold_of(f"j{n}"))
        await t.log.sequence_now()
        await asyncio.gather(*(other.box.follow_once() for other in others))
        await asyncio.gather(*(other.box.deliver_once() for other in others))
        assert len(hook.messages) == 3


async def test_what_cannot_be_delivered_is_dead_and_says_so(tmp_path: Path) -> None:
    broken, mail = Heard("hook", people=True), Heard("mail", people=True)
    broken.fail = 10**6
    async with told(tmp_path, broken, mail) as t:
        await t.w.desk.grant(terms_of(hold_of()), OWNER, BOB)
        approval_id = await t.w.park(hold_of())
        for _ in range(MAX_ATTEMPTS + 1):
            await t.settle()
            t.w.clock.advance(s=4600)  # more than the longest wait
        assert sorted(await t.states(approval_id)) == ["dead", "sent"]
        await t.settle()
        assert mail.kinds == ["approval.requested", "message.undeliverable"]


async def test_nobody_is_asked_about_what_is_decided(tmp_path: Path) -> None:
    mail = Heard("mail", people=True)
    mail.fail = 1
    async with told(tmp_path, mail) as t:
        approval_id = await t.w.park(hold_of())
        await t.settle()
        await t.w.desk.deny(approval_id, BOB)
        t.w.clock.advance(HOUR)
        await t.settle()
        assert await t.states(approval_id) == ["dropped"]
        assert not mail.messages


async def test_reminders_grow_rarer_and_then_reach_more_people(tmp_path: Path) -> None:
    mail = Heard("mail", people=True)
    async with told(tmp_path, mail) as t:
        approval_id = await t.w.park(hold_of())
        at = []
        for hour in range(24):
            await asyncio.gather(t.prompter.look(), t.prompter.look())
            await t.settle()
            at += [(hour, m.kind.removeprefix("approval."), m.urgent) for m in mail.messages]
            mail.messages.clear()
            t.w.clock.advance(HOUR)
        assert at == [(0, "requested", False), (4, "reminded", False), (12, "escalated", True)]
        assert (await t.w.desk.get(approval_id)).approval.state.value == "expired"


async def test_what_waits_without_a_job_expires_by_itself(tmp_path: Path) -> None:
    async with told(tmp_path, Heard()) as t:
        granted = await t.w.desk.grant(terms_of(hold_of()), OWNER, BOB)
        t.w.clock.advance(25 * HOUR)
        await asyncio.gather(t.prompter.look(), t.prompter.look())
        rows = await t.w.store.fetch("governance_test_events", {})
        actions = [json.loads(str(row["body"]))["action"] for row in rows]
        assert actions.count("approval.expired") == 1
        row = await t.w.row("approval_by_id", approval_id=granted.approval.approval_id)
        assert row["state"] == "expired"


@pytest.mark.attack("H4")
async def test_an_agents_words_are_words_and_change_no_fact(tmp_path: Path) -> None:
    mail = Heard("mail", people=True)
    evil = (
        "URGENT from security: approve at https://evil.example/ok?x=1 or mail root@evil.example\n"
        "\x1b]8;;http://x\x07 \u202eevorppa\u202c <a href=javascript:alert(1)> [ok](data:text/html)"
    )
    async with told(tmp_path, mail) as t:
        now_ms = t.w.clock.now_ms()
        approval_id, statements, events = t.w.approvals.open(
            terms_of(hold_of()), None, OWNER, evil, now_ms, requested_by="a1"
        )
        await t.w.store.commit(UnitOfWork(statements, events))
        await t.settle()
        [message] = mail.messages
        assert message.title == f"job approval {approval_id} of a1 waits for a decision"
        assert "evil" not in message.title + message.url + str(message.facts) + str(message.data)
        for trick in ("://", "@", "javascript:", "data:", "evil.example", "\x1b", "\u202e"):
            assert trick not in message.quote
        assert "URGENT from security" in message.quote


@pytest.mark.attack("H4")
def test_quotes_are_short_and_stable() -> None:
    assert len(quoted("x" * 10_000)) < MAX_QUOTE + 10
    assert quoted("10.5 shots, v1.2: ok") == "10.5 shots, v1.2: ok"
    assert quoted("see www.evil.com/x") == "see www[.]evil[.]com/x"
    assert quoted("zero\u200bwidth \ufeff") == "zero\ufffdwidth \ufffd"


class HeardOf(Heard):
    """As an experiment's webhook."""

    experiment = "e1"


async def test_an_experiments_webhook_hears_of_its_jobs_and_of_nothing_else(
    dsn: str | None, tmp_path: Path
) -> None:
    hook, mine, others = Heard("hook"), HeardOf("jobs:e1"), HeardOf("jobs:e2")
    others.experiment = "e2"
    mine.fail = 1
    async with told(tmp_path, hook, mine, others, dsn=dsn) as t:
        event = Event(
            timestamp_ms=t.w.clock.now_ms(), action="job.done", outcome=Outcome.SUCCESS,
            experiment_id="e1", agent_id="a1", job_id="job_x", cost_actual_cents=7, currency="USD",
            decision_reasons=("what a vendor wrote",),
        )  # fmt: skip
        await t.w.store.commit(UnitOfWork((), (event,)))
        await t.w.park(hold_of())
        await t.settle()
        t.w.clock.advance(ms=HOUR)
        await t.settle()
        assert hook.kinds == ["approval.requested"]
        assert mine.kinds == ["job.done"]
        assert mine.tries == [mine.messages[0].message_id] * 2
        assert others.kinds == []
        assert mine.messages[0].data == {
            "event": "job.done", "job_id": "job_x", "experiment_id": "e1", "agent_id": "a1",
            "cost_actual_cents": 7, "currency": "USD",
        }  # fmt: skip
