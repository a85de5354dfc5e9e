"""H3: several people, really several, and only while each of them may approve."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.governance import OWNER, World, hold_of, terms_of, world

from cryogate.domain.approvals import (
    ApprovalState,
    PromotionTerms,
    ReleaseTerms,
    evidence_digest,
)
from cryogate.domain.decisions import Allow
from cryogate.domain.errors import Conflict, Forbidden
from cryogate.gateway.verdicts import demand_of
from cryogate.governance.approval_desk import ApprovalDesk
from cryogate.governance.approval_inbox import ApprovalInbox
from cryogate.governance.approvals import ApprovalRules, Demand, SqlApprovals
from cryogate.policies.answer import MalformedAnswer, read_decision
from cryogate.ports.store import GuardFailed, StoreUnavailable, UnitOfWork

BOB, CAROL, DAVE = "operator:bob", "operator:carol", "operator:dave"
pytestmark = pytest.mark.attack("H3")


@asynccontextmanager
async def two_needed(
    tmp_path: Path, dsn: str | None = None, *, quorum: int = 2, role: str = "approver"
) -> AsyncIterator[World]:
    """A world where everything needs ``quorum`` people of ``role``."""
    async with world(tmp_path, dsn=dsn) as w:
        demand = Demand(quorum, role)
        rules = ApprovalRules(job=demand, release=demand, promotion=demand)
        w.approvals = SqlApprovals(w.store, rules)
        w.desk = ApprovalDesk(w.store, w.ledger, w.clock, rules=rules)
        for name in ("bob", "carol", "dave"):
            await w.operator(name)
        yield w


async def actions(w: World) -> Sequence[str]:
    return [e["action"] for e in await w.events() if e["action"].startswith("approval.")]


async def test_the_second_yes_queues_the_job(dsn: str | None, tmp_path: Path) -> None:
    async with two_needed(tmp_path, dsn) as w:
        approval_id = await w.park(hold_of())
        first = await w.desk.approve(approval_id, BOB, "looks right")
        assert first.approval.state is ApprovalState.PENDING
        assert (await w.job_row())["state"] == "parked"
        second = await w.desk.approve(approval_id, CAROL)
        assert second.approval.state is ApprovalState.USED
        assert (await w.job_row())["state"] == "queued"
        assert await actions(w) == ["approval.requested", "approval.voted", "approval.approved"]
        votes = await w.desk.votes(second)
        assert [(v.voter.operator_id, v.note, ok) for v, ok in votes] == [
            ("bob", "looks right", True),
            ("carol", "", True),
        ]


async def test_one_person_is_one_voice(dsn: str | None, tmp_path: Path) -> None:
    async with two_needed(tmp_path, dsn) as w:
        await w.operator("carol", person="Bob@Example.com")
        await w.operator("dave", person="bob@example.com")
        approval_id = await w.park(hold_of())
        await w.desk.approve(approval_id, BOB)
        for actor in (BOB, CAROL, DAVE):
            with pytest.raises(Conflict) as refused:
                await w.desk.approve(approval_id, actor)
            assert refused.value.code == "already_voted"
        assert (await w.job_row())["state"] == "parked"


async def test_the_owners_second_account_has_no_voice(tmp_path: Path) -> None:
    async with two_needed(tmp_path, quorum=1) as w:
        await w.operator("night-shift", person="Alice@Example.com")
        approval_id = await w.park(hold_of())
        with pytest.raises(Forbidden) as refused:
            await w.desk.approve(approval_id, "operator:night-shift")
        assert refused.value.code == "self_approval"
        with pytest.raises(Forbidden):
            await w.desk.grant(terms_of(hold_of()), OWNER, "operator:night-shift")
        assert (await w.job_row())["state"] == "parked"


@pytest.mark.parametrize("change", ["deactivated", "role lost"])
async def test_a_yes_of_somebody_who_left_does_not_count(
    change: str, dsn: str | None, tmp_path: Path
) -> None:
    async with two_needed(tmp_path, dsn) as w:
        approval_id = await w.park(hold_of())
        await w.desk.approve(approval_id, BOB)
        await w.operator("bob", active=change != "deactivated", roles=["auditor"])
        still = await w.desk.approve(approval_id, CAROL)
        assert still.approval.state is ApprovalState.PENDING
        assert [ok for _, ok in await w.desk.votes(still)] == [False, True]
        assert (await w.job_row())["state"] == "parked"
        done = await w.desk.approve(approval_id, DAVE)
        assert done.approval.state is ApprovalState.USED


async def test_what_was_granted_ahead_is_counted_when_it_is_used(
    dsn: str | None, tmp_path: Path
) -> None:
    async with two_needed(tmp_path, dsn) as w:
        terms, now_ms = terms_of(hold_of()), w.clock.now_ms()
        opened = (await w.desk.grant(terms, OWNER, BOB)).approval
        assert opened.state is ApprovalState.PENDING
        granted = (await w.desk.approve(opened.approval_id, CAROL)).approval
        assert granted.state is ApprovalState.APPROVED
        assert await w.approvals.find_approved(terms, now_ms) == granted
        await w.operator("carol", active=False)
        assert await w.approvals.find_approved(terms, now_ms) is None
        with pytest.raises(GuardFailed, match=r"approval\.terms"):
            await w.commit(*w.approvals.use(granted.approval_id, terms, now_ms))
        await w.operator("carol")
        await w.commit(*w.approvals.use(granted.approval_id, terms, now_ms))


async def test_last_voters_at_once_do_not_both_wait(dsn: str | None, tmp_path: Path) -> None:
    async with two_needed(tmp_path, dsn, quorum=5) as w:
        approval_id = await w.park(hold_of())
        voters = [f"operator:o{n}" for n in range(5)]
        await asyncio.gather(*(w.desk.approve(approval_id, voter) for voter in voters))
        assert (await w.desk.get(approval_id)).approval.state is ApprovalState.USED
        assert (await w.job_row())["state"] == "queued"
        assert (await actions(w)).count("approval.voted") == 4


async def test_a_yes_can_be_taken_back_before_it_decided(dsn: str | None, tmp_path: Path) -> None:
    async with two_needed(tmp_path, dsn) as w:
        approval_id = await w.park(hold_of())
        await w.desk.approve(approval_id, BOB)
        assert not await w.desk.votes(await w.desk.take_back(approval_id, BOB))
        with pytest.raises(Conflict) as refused:
            await w.desk.take_back(approval_id, BOB)
        assert refused.value.code == "no_vote"
        await w.desk.approve(approval_id, CAROL)
        assert (await w.job_row())["state"] == "parked"
        await w.desk.approve(approval_id, BOB)
        assert (await w.job_row())["state"] == "queued"
        with pytest.raises(Conflict):
            await w.desk.take_back(approval_id, BOB)


async def test_one_no_ends_it_whoever_said_yes(tmp_path: Path) -> None:
    async with two_needed(tmp_path) as w:
        approval_id = await w.park(hold_of())
        await w.desk.approve(approval_id, BOB)
        assert (await w.desk.deny(approval_id, CAROL)).approval.state is ApprovalState.DENIED
        with pytest.raises(Conflict):
            await w.desk.approve(approval_id, DAVE)
        assert (await w.budget()).held_cents == 0


async def test_the_role_is_the_one_that_the_terms_demand(tmp_path: Path) -> None:
    async with two_needed(tmp_path, quorum=1, role="admin") as w:
        await w.operator("root", roles=["admin"])
        approval_id = await w.park(hold_of())
        with pytest.raises(Forbidden) as refused:
            await w.desk.approve(approval_id, BOB)
        assert refused.value.code == "role_required"
        await w.desk.approve(approval_id, "operator:root")
        assert (await w.job_row())["state"] == "queued"


async def test_dear_jobs_need_a_second_person(tmp_path: Path) -> None:
    rules = ApprovalRules(second_person_cents=500)
    assert rules.demand(terms_of(hold_of(cents=499))) == Demand(1)
    assert rules.demand(terms_of(hold_of(cents=500))) == Demand(2)


async def test_an_unused_yes_can_be_withdrawn(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        terms = terms_of(hold_of())
        granted = (await w.desk.grant(terms, OWNER, BOB)).approval
        gone = await w.desk.withdraw(granted.approval_id, "operator:o1")
        assert gone.approval.state is ApprovalState.WITHDRAWN
        assert await w.approvals.find_approved(terms, w.clock.now_ms()) is None
        with pytest.raises(Conflict):
            await w.desk.withdraw(granted.approval_id, BOB)


# -- the other kinds -----------------------------------------------------------------------


def promotion(evidence: str = '{"jobs":3}') -> PromotionTerms:
    return PromotionTerms(
        agent_id="a1", from_stage="simulator", to_stage="hardware",
        evidence_sha256=evidence_digest(evidence),
    )  # fmt: skip


async def ask_promotion(w: World, evidence: str = '{"jobs":3}') -> str:
    approval_id, statements, events = w.approvals.open(
        promotion(evidence), None, OWNER, "ready", w.clock.now_ms(),
        evidence=evidence, requested_by="a1",
    )  # fmt: skip
    await w.store.commit(UnitOfWork(statements, events))
    return approval_id


async def test_a_promotion_happens_with_the_last_yes(dsn: str | None, tmp_path: Path) -> None:
    async with two_needed(tmp_path, dsn) as w:
        approval_id = await ask_promotion(w)
        await w.desk.approve(approval_id, BOB)
        assert (await w.row("governance_test_agent_row", agent_id="a1"))["stage"] == "simulator"
        done = await w.desk.approve(approval_id, CAROL)
        assert done.approval.state is ApprovalState.USED
        assert (await w.row("governance_test_agent_row", agent_id="a1"))["stage"] == "hardware"
        again = await ask_promotion(w)
        await w.desk.approve(again, BOB)
        with pytest.raises(Conflict) as refused:
            await w.desk.approve(again, CAROL)
        assert refused.value.code == "agent_changed"


@pytest.mark.attack("H1")
async def test_altered_evidence_is_not_shown_for_approval(tmp_path: Path) -> None:
    async with two_needed(tmp_path) as w:
        approval_id = await ask_promotion(w)
        await w.run("governance_test_tamper_evidence", approval_id=approval_id, evidence="{}")
        with pytest.raises(StoreUnavailable):
            await w.desk.approve(approval_id, BOB)


async def test_who_asked_does_not_approve(tmp_path: Path) -> None:
    async with two_needed(tmp_path, quorum=1) as w:
        approval_id, statements, events = w.approvals.open(
            promotion("{}"), None, OWNER, "", w.clock.now_ms(), requested_by=BOB
        )
        await w.store.commit(UnitOfWork(statements, events))
        with pytest.raises(Forbidden) as refused:
            await w.desk.approve(approval_id, BOB)
        assert refused.value.code == "self_approval"
        await w.desk.approve(approval_id, CAROL)


@pytest.mark.attack("H1", "H2")
async def test_a_release_is_one_reading_of_one_job(tmp_path: Path) -> None:
    async with two_needed(tmp_path, quorum=1) as w:
        terms = ReleaseTerms(
            agent_id="a1", experiment_id="e1", job_id="j1", circuit_sha256="ab" * 32,
            backend="local:null", shots=10,
        )  # fmt: skip
        approval_id, statements, events = w.approvals.open(
            terms, None, OWNER, "to fit a model", w.clock.now_ms(), requested_by="a1"
        )
        await w.store.commit(UnitOfWork(statements, events))
        now_ms = w.clock.now_ms()
        assert await w.approvals.find_approved(terms, now_ms) is None
        await w.desk.approve(approval_id, BOB)
        other = ReleaseTerms(
            agent_id="a1", experiment_id="e1", job_id="j2", circuit_sha256="ab" * 32,
            backend="local:null", shots=10,
        )  # fmt: skip
        assert await w.approvals.find_approved(other, now_ms) is None
        await w.commit(*w.approvals.use(approval_id, terms, now_ms))
        with pytest.raises(GuardFailed):
            await w.commit(*w.approvals.use(approval_id, terms, now_ms))


async def test_policy_can_demand_more_than_the_rules_here(dsn: str | None, tmp_path: Path) -> None:
    async with world(tmp_path, dsn=dsn) as w:
        terms, now_ms, two = terms_of(hold_of()), w.clock.now_ms(), Demand(2, "admin")
        await w.operator("root", roles=["admin"])
        await w.operator("boss", roles=["admin"])
        alone = (await w.desk.grant(terms, OWNER, "operator:root")).approval
        assert await w.approvals.find_approved(terms, now_ms) == alone
        assert await w.approvals.find_approved(terms, now_ms, two) is None
        approval_id, statements, events = w.approvals.open(
            terms, None, OWNER, "", now_ms, requested_by="a1", least=two
        )
        await w.store.commit(UnitOfWork(statements, events))
        with pytest.raises(Forbidden):
            await w.desk.approve(approval_id, BOB)
        for actor in ("operator:root", "operator:boss"):
            await w.desk.approve(approval_id, actor)
        found = await w.approvals.find_approved(terms, now_ms, two)
        assert found is not None
        assert found.approval_id == approval_id


@pytest.mark.attack("H5")
async def test_asking_and_taking_back_again_and_again_is_capped(
    dsn: str | None, tmp_path: Path
) -> None:
    async with world(tmp_path, dsn=dsn) as w:
        w.approvals = SqlApprovals(w.store, ApprovalRules(max_per_hour=5))
        inbox = ApprovalInbox(w.store, w.clock)

        async def once(n: int) -> None:
            approval_id, statements, events = w.approvals.open(
                terms_of(hold_of(), shots=n + 1), None, OWNER, "", w.clock.now_ms(),
                requested_by="a1",
            )  # fmt: skip
            await w.store.commit(UnitOfWork(statements, events))
            await inbox.withdraw("a1", "e1", approval_id)

        for n in range(5):
            await once(n)
        with pytest.raises(GuardFailed) as failed:
            await once(9)
        assert w.approvals.explain(failed.value.guard)[0].limit == "approvals_per_hour"
        w.clock.advance(s=3601)
        await once(10)


def answered(**extra: Any) -> str:
    duty = {"kind": "approval", "reason": "dear", **extra}
    return json.dumps({"allow": True, "reasons": [], "obligations": [duty], "violations": []})


@pytest.mark.attack("A3")
def test_a_demand_of_policys_is_read_strictly() -> None:
    decision = read_decision(answered(quorum=2, role="admin"), "d")
    assert isinstance(decision, Allow)
    assert demand_of(decision) == Demand(2, "admin")
    plain = read_decision(answered(), "d")
    assert isinstance(plain, Allow)
    assert demand_of(plain) == Demand(1, "approver")
    for bad in ({"quorum": 0}, {"quorum": 10}, {"quorum": "2"}, {"role": "owner"}, {"votes": 1}):
        with pytest.raises(MalformedAnswer):
            read_decision(answered(**bad), "d")


@pytest.mark.parametrize("turns_out", ["bob@example.com", "Alice@Example.com"])
async def test_who_turns_out_to_be_somebody_else_does_not_count_twice(
    turns_out: str, dsn: str | None, tmp_path: Path
) -> None:
    async with two_needed(tmp_path, dsn) as w:
        await w.operator("bob", person="bob@example.com")
        approval_id = await w.park(hold_of())
        await w.desk.approve(approval_id, CAROL)
        await w.operator("carol", person=turns_out)  # the second voter, or the agent's owner
        if turns_out.startswith("bob"):
            with pytest.raises(Conflict):
                await w.desk.approve(approval_id, BOB)
        else:
            await w.desk.approve(approval_id, BOB)
        assert (await w.desk.get(approval_id)).approval.state is ApprovalState.PENDING
        assert (await w.job_row())["state"] == "parked"


async def test_two_votes_of_one_person_are_one_when_they_are_used(
    dsn: str | None, tmp_path: Path
) -> None:
    async with two_needed(tmp_path, dsn) as w:
        terms, now_ms = terms_of(hold_of()), w.clock.now_ms()
        opened = (await w.desk.grant(terms, OWNER, BOB)).approval
        await w.desk.approve(opened.approval_id, CAROL)
        assert await w.approvals.find_approved(terms, now_ms) is not None
        for name in ("bob", "carol"):
            await w.operator(name, person="Bob@example.com" if name == "bob" else "bob@example.com")
        assert await w.approvals.find_approved(terms, now_ms) is None
        with pytest.raises(GuardFailed):
            await w.commit(*w.approvals.use(opened.approval_id, terms, now_ms))
