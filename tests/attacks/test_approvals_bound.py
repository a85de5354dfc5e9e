"""H1, H2, H3, H5: a yes is to exact terms, once, in time, from somebody else."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.governance import OWNER, SHA, hold_of, terms_of, world

from cryogate.domain.approvals import ApprovalState, Terms
from cryogate.domain.errors import Conflict, Forbidden, Malformed, NotFound
from cryogate.governance.approval_desk import ApprovalDesk, deny_statement
from cryogate.governance.approvals import DAY_MS
from cryogate.governance.people import same_person
from cryogate.ports.store import GuardFailed, StoreUnavailable

BOB = "operator:bob"
ONE_BIT = "aa" + SHA[2:]  # 0xab and 0xaa


async def test_approving_queues_the_job_and_keeps_its_hold(dsn: str | None, tmp_path: Path) -> None:
    async with world(tmp_path, dsn=dsn) as w:
        approval_id = await w.park(hold_of(session_id="s1"))
        done = await w.desk.approve(approval_id, BOB, "fine")
        assert done.approval.state is ApprovalState.USED
        assert (done.approval.decided_by, done.note) == (BOB, "fine")
        assert (await w.job_row())["state"] == "queued"
        assert (await w.budget()).held_cents == 100
        requested, approved = (e for e in await w.events() if e["action"].startswith("approval."))
        assert (requested["action"], requested["job_id"]) == ("approval.requested", "j1")
        assert approved["action"] == "approval.approved"
        assert (approved["actor_chain"], approved["human_owner"]) == ([BOB], OWNER)
        assert approved["approval_id"] == approval_id


async def test_denying_cancels_the_job_and_gives_everything_back(
    dsn: str | None, tmp_path: Path
) -> None:
    async with world(tmp_path, dsn=dsn) as w:
        approval_id = await w.park(hold_of(session_id="s1"))
        done = await w.desk.deny(approval_id, BOB, "too dear")
        assert done.approval.state is ApprovalState.DENIED
        job = await w.job_row()
        assert (job["state"], job["hold"], job["failure"]) == (
            "cancelled", "released", "approval denied",
        )  # fmt: skip
        view = await w.budget()
        assert (view.held_cents, view.held_shots, view.spent_cents) == (0, 0, 0)
        assert await w.used() == (0, 0, 0)
        assert (await w.row("governance_test_session_row", session_id="s1"))["used_jobs"] == 0
        last = (await w.events())[-1]
        assert (last["action"], last["outcome"], last["actor_chain"]) == (
            "approval.denied", "refused", [BOB],
        )  # fmt: skip


@pytest.mark.attack("H1")
@pytest.mark.parametrize(
    "change",
    [
        {"circuit_sha256": ONE_BIT},
        {"shots": 11},
        {"backend": "local:aer"},
        {"cost_bound_cents": 101},
    ],
    ids=["circuit", "shots", "backend", "cost"],
)
async def test_the_parked_job_is_compared_again(
    change: dict[str, Any], dsn: str | None, tmp_path: Path
) -> None:
    async with world(tmp_path, dsn=dsn) as w:
        approval_id = await w.park(hold_of())
        row = {"circuit_sha256": SHA, "shots": 10, "backend": "local:null", "cost_bound_cents": 100}
        await w.run("governance_test_tamper_job", job_id="j1", **{**row, **change})
        with pytest.raises(Conflict) as refused:
            await w.desk.approve(approval_id, BOB)
        assert refused.value.code == "terms_changed"
        assert (await w.job_row())["state"] == "parked"
        assert (await w.desk.get(approval_id)).approval.state is ApprovalState.PENDING


@pytest.mark.attack("H1")
@pytest.mark.parametrize(
    "change",
    [
        {"circuit_sha256": ONE_BIT},
        {"shots": 11},
        {"shots": 9},
        {"backend": "local:aer"},
        {"cost_ceiling_cents": 101},
        {"currency": "EUR"},
        {"agent_id": "a2"},
        {"experiment_id": "e2"},
    ],
    ids=lambda change: "-".join(change),
)
async def test_a_grant_for_a_does_not_spend_on_b(change: dict[str, Any], tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        terms, now_ms = terms_of(hold_of()), w.clock.now_ms()
        granted = (await w.desk.grant(terms, OWNER, BOB)).approval
        other = replace(terms, **change)
        assert await w.approvals.find_approved(other, now_ms) is None
        with pytest.raises(GuardFailed) as failed:
            await w.commit(*w.approvals.use(granted.approval_id, other, now_ms))
        assert w.approvals.explain(failed.value.guard)[0].limit == "approval"
        assert await w.approvals.find_approved(terms, now_ms) == granted


@pytest.mark.attack("H1")
async def test_terms_altered_in_the_database_are_not_shown_for_approval(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval_id = await w.park(hold_of())
        cheap = '{"agent_id":"a1","experiment_id":"e1","circuit_sha256":"%s","backend":"local:null"'
        text = cheap % SHA + ',"shots":1,"cost_ceiling_cents":1,"currency":"USD"}'
        await w.run("governance_test_tamper_approval", approval_id=approval_id, terms=text)
        with pytest.raises(StoreUnavailable):
            await w.desk.approve(approval_id, BOB)
        assert (await w.job_row())["state"] == "parked"


@pytest.mark.attack("H2")
async def test_a_grant_is_spent_once_however_many_ask(dsn: str | None, tmp_path: Path) -> None:
    async with world(tmp_path, dsn=dsn) as w:
        terms, now_ms = terms_of(hold_of()), w.clock.now_ms()
        granted = (await w.desk.grant(terms, OWNER, BOB)).approval

        async def spend() -> bool:
            try:
                await w.commit(*w.approvals.use(granted.approval_id, terms, now_ms))
            except GuardFailed:
                return False
            return True

        assert sum(await asyncio.gather(*(spend() for _ in range(30)))) == 1
        assert await w.approvals.find_approved(terms, now_ms) is None


@pytest.mark.attack("H2")
async def test_an_expired_grant_is_not_found_and_not_spent(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        terms = terms_of(hold_of())
        granted = (await w.desk.grant(terms, OWNER, BOB)).approval
        at = granted.expires_ms
        assert await w.approvals.find_approved(terms, at - 1) is not None
        assert await w.approvals.find_approved(terms, at) is None
        with pytest.raises(GuardFailed):
            await w.commit(*w.approvals.use(granted.approval_id, terms, at))


@pytest.mark.attack("H2")
async def test_a_request_is_decided_once_by_one_operator(dsn: str | None, tmp_path: Path) -> None:
    async with world(tmp_path, dsn=dsn) as w:
        approval_id = await w.park(hold_of())

        async def decide(n: int) -> str:
            verb = w.desk.approve if n % 2 else w.desk.deny
            try:
                return (await verb(approval_id, f"operator:o{n}")).approval.state.value
            except Conflict as refused:
                return refused.code

        outcomes = await asyncio.gather(*(decide(n) for n in range(10)))
        assert len([o for o in outcomes if o in ("used", "denied")]) == 1
        assert outcomes.count("approval_decided") + outcomes.count("job_ended") == 9
        state, job = (await w.desk.get(approval_id)).approval.state, await w.job_row()
        assert (state.value, job["state"]) in {("used", "queued"), ("denied", "cancelled")}
        decisions = [e for e in await w.events() if e["action"] in _DECISIONS]
        assert len(decisions) == 1


_DECISIONS = {"approval.approved", "approval.denied"}


@pytest.mark.attack("H2")
async def test_a_decision_is_not_overwritten_even_without_a_job_to_move(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval = (await w.desk.get(await w.park(hold_of()))).approval
        late = deny_statement(approval, "operator:late", "", w.clock.now_ms())
        await w.desk.approve(approval.approval_id, BOB)
        with pytest.raises(GuardFailed, match=r"approval\.pending"):
            await w.commit(late)
        assert (await w.desk.get(approval.approval_id)).approval.decided_by == BOB


@pytest.mark.attack("H2")
async def test_nobody_decides_late(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval_id = await w.park(hold_of())
        w.clock.advance(DAY_MS - 1)
        assert (await w.desk.list(ApprovalState.PENDING)).items
        w.clock.advance(1)
        for verb in (w.desk.approve, w.desk.deny):
            with pytest.raises(Conflict) as refused:
                await verb(approval_id, BOB)
            assert refused.value.code == "approval_expired"
        assert not (await w.desk.list(ApprovalState.PENDING)).items
        (shown,) = (await w.desk.list(ApprovalState.EXPIRED)).items
        assert shown.approval.state is ApprovalState.EXPIRED
        assert (await w.job_row())["state"] == "parked"


@pytest.mark.attack("H2")
async def test_a_job_that_ended_while_parked_is_not_brought_back(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval_id = await w.park(hold_of())
        await w.run("governance_test_end_job", job_id="j1")
        with pytest.raises(Conflict) as refused:
            await w.desk.approve(approval_id, BOB)
        assert refused.value.code == "job_ended"
        assert (await w.job_row())["state"] == "cancelled"
        assert (await w.desk.get(approval_id)).approval.state is ApprovalState.WITHDRAWN


@pytest.mark.attack("H3")
async def test_the_owner_cannot_approve_its_own_agent(tmp_path: Path) -> None:
    actor = "operator:alice"  # the owner is alice@example.com
    async with world(tmp_path) as w:
        approval_id = await w.park(hold_of())
        with pytest.raises(Forbidden) as refused:
            await w.desk.approve(approval_id, actor)
        assert refused.value.code == "self_approval"
        with pytest.raises(Forbidden):
            await w.desk.grant(terms_of(hold_of()), OWNER, actor)
        assert (await w.job_row())["state"] == "parked"
        alone = ApprovalDesk(w.store, w.ledger, w.clock, allow_self_approval=True)
        assert (await alone.approve(approval_id, actor)).approval.decided_by == actor


@pytest.mark.attack("H3", "A8")
@pytest.mark.parametrize("actor", ["a1", "alice", "", "operator:", "OPERATOR:bob", "operator:b:b"])
async def test_who_is_no_operator_decides_nothing(actor: str, tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval_id = await w.park(hold_of())
        for verb in (w.desk.approve, w.desk.deny):
            with pytest.raises(Forbidden):
                await verb(approval_id, actor)
        with pytest.raises(Forbidden):
            await w.desk.grant(terms_of(hold_of()), OWNER, actor)


@pytest.mark.attack("H3", "A4")
@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("operator:alice", "alice", True),
        ("operator:alice", "Alice@Example.com", True),
        ("Alice@Example.com", "alice@example.COM", True),
        ("operator:alice", "\uff41lice", True),
        (" operator:alice ", "ALICE", True),
        ("alice@example.com", "alice@example.org", False),
        ("operator:bob", "alice@example.com", False),
        ("operator:alice2", "alice", False),
    ],
)
def test_one_person_under_two_spellings(one: str, other: str, same: bool) -> None:
    assert same_person(one, other) is same
    assert same_person(other, one) is same


@pytest.mark.attack("H5")
async def test_open_requests_of_an_agent_are_capped(dsn: str | None, tmp_path: Path) -> None:
    async with world(tmp_path, dsn=dsn) as w:

        async def ask(n: int) -> str:
            try:
                await w.park(hold_of(f"j{n}"))
            except GuardFailed as failed:
                return failed.guard
            return "parked"

        outcomes = await asyncio.gather(*(ask(n) for n in range(20)))
        assert (outcomes.count("parked"), outcomes.count("approval.cap")) == (3, 17)
        # What was refused holds nothing, and a decision makes room for the next request.
        assert (await w.budget()).held_cents == 300
        (first, *_) = (await w.desk.list(ApprovalState.PENDING)).items
        await w.desk.deny(first.approval.approval_id, BOB)
        assert await ask(99) == "parked"
        assert w.approvals.explain("approval.cap")[0].allowed == 3


@pytest.mark.attack("H5")
async def test_an_inactive_or_unknown_agent_asks_for_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.run("governance_test_agent", agent_id="off", owner=OWNER, active=0)
        for agent_id in ("off", "nobody"):
            with pytest.raises(GuardFailed) as failed:
                await w.park(hold_of(), terms_of(hold_of(), agent_id=agent_id))
            assert failed.value.guard == "approval.agent"
        assert (await w.budget()).held_cents == 0


@pytest.mark.attack("H4")
@pytest.mark.parametrize("note", ["\x1b[2J", "ok\u202etxt", "a\0b", "zero\u200bwidth", "x" * 1001])
async def test_notes_are_plain_text(note: str, tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval_id = await w.park(hold_of())
        with pytest.raises(Malformed):
            await w.desk.approve(approval_id, BOB, note)


@pytest.mark.parametrize(
    "change",
    [
        {"circuit_sha256": "AB" * 32},
        {"circuit_sha256": "ab"},
        {"backend": "*"},
        {"agent_id": "*"},
        {"shots": 0},
        {"cost_ceiling_cents": -1},
    ],
)
async def test_a_grant_is_of_terms_that_a_job_can_have(
    change: dict[str, Any], tmp_path: Path
) -> None:
    async with world(tmp_path) as w:
        terms: Terms = terms_of(hold_of(), **change)
        with pytest.raises(Malformed):
            await w.desk.grant(terms, OWNER, BOB)


async def test_pages_follow_each_other_without_gap_or_repeat(
    dsn: str | None, tmp_path: Path
) -> None:
    async with world(tmp_path, dsn=dsn) as w:
        ids = []
        for n in range(7):
            w.clock.advance(n % 2)  # some share a millisecond
            ids.append((await w.desk.grant(terms_of(hold_of()), OWNER, BOB)).approval.approval_id)
        for state in (None, ApprovalState.APPROVED):
            seen, cursor = list[str](), None
            while True:
                page = await w.desk.list(state, cursor, 2)
                seen += [item.approval.approval_id for item in page.items]
                cursor = page.next
                if cursor is None:
                    break
            assert sorted(seen) == sorted(ids)
        for bad in ("x", "!", "e30", "WzEsMl0", "A" * 500):
            with pytest.raises(Malformed):
                await w.desk.list(None, bad)
        with pytest.raises(NotFound):
            await w.desk.get("apr_nothing")
