"""Limits of every scope and span: what they count, refuse and say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.governance import OWNER, PAYER, World, hold_of, world

from cryogate.domain.errors import Conflict, Forbidden, Malformed, NotFound
from cryogate.domain.money import Rate
from cryogate.domain.periods import Span
from cryogate.governance.book import EACH, Rates, Scope
from cryogate.governance.budget_admin import Reason
from cryogate.governance.budget_records import MAX_CENTS
from cryogate.governance.budgets import SqlLedger
from cryogate.governance.scoped_budgets import Lifted, Named, NewLimit
from cryogate.ports.budgets import Payer
from cryogate.ports.store import GuardFailed

NOON = int(datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()) * 1000
DAY = 86_400_000


def at(w: World, now_ms: int) -> None:
    w.clock.advance(now_ms - w.clock.now_ms())


@pytest.fixture
async def w(dsn: str | None, tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, dsn=dsn) as made:
        at(made, NOON)
        yield made


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        at(made, NOON)
        yield made


SUBJECTS = {
    Scope.AGENT: "a1",
    Scope.OWNER: OWNER,
    Scope.COST_CENTER: "cc",
    Scope.TOKEN: "t1",
    Scope.SESSION: "s1",
    Scope.EXPERIMENT: "e1",
}


@pytest.mark.attack("A7", "B1")
@pytest.mark.parametrize("scope", list(Scope))
async def test_a_limit_of_any_scope_refuses_and_says_which(w: World, scope: Scope) -> None:
    subject, span = SUBJECTS[scope], Span.MONTH
    await w.limit(scope, subject, span, limit_cents=250, limit_shots=25)
    first, second = hold_of("j1", session_id="s1"), hold_of("j2", session_id="s1")
    await w.reserve(first)
    await w.reserve(second)
    cents, shots = await w.refused(hold_of("j3", session_id="s1"))
    assert (cents.limit, cents.allowed, cents.actual) == (f"budget.{scope}.month.cents", 50, 100)
    assert (shots.limit, shots.allowed, shots.actual) == (f"budget.{scope}.month.shots", 5, 10)
    for part in (subject, "2.50 USD", "2026-11", "2.00 USD", "2026-12-01T00:00:00.000Z"):
        assert part in cents.hint
    # what comes back can be spent again; what is settled stays, at its real cost
    await w.release(first)
    await w.settle(second, 70)
    await w.reserve(hold_of("j4", session_id="s1"))
    [view] = await w.limits.list()
    [window] = view.windows
    assert (window.held_cents, window.spent_cents) == (100, 70)
    assert (window.held_shots, window.spent_shots) == (10, 10)
    assert (await w.books.check()).balanced


async def test_every_subject_by_itself(small: World) -> None:
    await small.limit(Scope.AGENT, EACH, Span.DAY, limit_cents=150)
    await small.reserve(hold_of("j1"))
    await small.reserve(hold_of("j2"), Payer("a2", OWNER, "cc", "local:null"))
    [found] = await small.refused(hold_of("j3"))
    assert found.limit == "budget.agent.day.cents"
    assert "a1" in found.hint
    [view] = await small.limits.list()
    assert {window.subject for window in view.windows} == {"a1", "a2"}


async def test_day_and_month_both_hold_and_a_job_is_in_one_window_of_each(w: World) -> None:
    await w.limit(Scope.AGENT, "a1", Span.DAY, limit_cents=100)
    await w.limit(Scope.AGENT, "a1", Span.MONTH, limit_cents=250)
    last = hold_of("j1")
    await w.reserve(last)
    assert [v.limit for v in await w.refused(hold_of("j2"))] == ["budget.agent.day.cents"]
    at(w, NOON + DAY)  # another day, and another month
    await w.reserve(hold_of("j3"))
    # what was held yesterday is settled where it was held
    await w.settle(last, 60)
    by_span = {v.budget.span: {x.period: x.spent_cents for x in v.windows} for v in
               await w.limits.list()}  # fmt: skip
    assert by_span[Span.DAY] == {20261130: 60, 20261201: 0}
    assert by_span[Span.MONTH] == {202611: 60, 202612: 0}
    assert (await w.books.check()).balanced


async def test_a_clock_that_jumps_back_finds_what_it_had_counted(small: World) -> None:
    await small.limit(Scope.AGENT, "a1", Span.DAY, limit_cents=100)
    await small.reserve(hold_of("j1"))
    at(small, NOON + 40 * DAY)
    await small.reserve(hold_of("j2"))
    at(small, NOON)
    assert await small.refused(hold_of("j3"))
    at(small, NOON - 400 * DAY)
    await small.settle(hold_of("j1"), 100)
    await small.release(hold_of("j2"))
    assert (await small.books.check()).balanced


async def test_a_new_limit_has_counted_what_its_period_has_seen(w: World) -> None:
    at(w, NOON - 2 * DAY)
    await w.reserve(hold_of("j0"))
    at(w, NOON)
    running, done = hold_of("j1"), hold_of("j2")
    await w.reserve(running)
    await w.reserve(done)
    await w.settle(done, 40)
    await w.limit(Scope.AGENT, "a1", Span.DAY, limit_cents=200)
    await w.limit(Scope.OWNER, EACH, Span.MONTH, limit_cents=1000)
    assert (await w.refused(hold_of("j3")))[0].allowed == 60
    [_, month] = await w.limits.list()
    assert (month.windows[0].held_cents, month.windows[0].spent_cents) == (200, 40)
    await w.settle(running, 30)
    day, month = await w.limits.list()
    assert (day.windows[0].held_cents, day.windows[0].spent_cents) == (0, 70)
    assert (month.windows[0].held_cents, month.windows[0].spent_cents) == (100, 70)
    assert (await w.books.check()).balanced


async def test_who_does_not_know_a_limit_reserves_nothing(w: World) -> None:
    stale = SqlLedger(w.store)
    await stale.refresh()
    await w.limit(Scope.AGENT, "a1", limit_cents=50)
    hold = hold_of("j1")
    with pytest.raises(GuardFailed, match=r"budget\.experiment"):
        await w.commit(*stale.reserve(hold, PAYER, NOON), w.job(hold))
    assert await stale.outdated("budget.experiment", stale.epoch)
    with pytest.raises(GuardFailed, match=r"budget\.window"):
        await w.commit(*stale.reserve(hold, PAYER, NOON), w.job(hold))


@pytest.mark.attack("B1")
async def test_limits_set_while_others_reserve_miss_nothing(w: World) -> None:
    async def one(number: int) -> None:
        hold = hold_of(f"j{number}", cents=10, shots=1)
        for _ in range(20):
            epoch = w.ledger.epoch
            try:
                await w.reserve(hold)
            except GuardFailed as failed:
                if not await w.ledger.outdated(failed.guard, epoch):
                    return
            else:
                return

    async def limits() -> None:
        for cents in (90, 150, 200):
            await w.limit(Scope.AGENT, "a1", Span.MONTH, limit_cents=cents)
            await w.limit(Scope.OWNER, EACH, Span.DAY, limit_shots=cents)
            await asyncio.sleep(0)

    await asyncio.gather(limits(), *(one(n) for n in range(30)))
    assert (await w.books.check()).balanced
    held = (await w.budget()).held_cents
    for view in await w.limits.list():
        assert view.windows[0].held_cents == held
    # what was reserved before a limit was set stays; from then on the limit holds
    if held > 190:
        assert await w.refused(hold_of("late", cents=10, shots=1))


async def test_a_lifted_limit_lets_through_and_a_new_one_of_its_name_counts_all(w: World) -> None:
    await w.limit(Scope.AGENT, "a1", limit_cents=100)
    held = hold_of("j1")
    await w.reserve(held)
    named = Named(scope=Scope.AGENT, subject="a1", span=Span.TOTAL)
    gone = Lifted(scope=Scope.AGENT, subject="a1", span=Span.TOTAL, reason="moved to the month")
    await w.limits.remove(gone, "operator:ada")
    with pytest.raises(NotFound):
        await w.limits.show(named)
    await w.reserve(hold_of("j2"))
    await w.settle(held, 90)
    await w.limit(Scope.AGENT, "a1", limit_cents=200)
    [view] = await w.limits.list()
    assert (view.windows[0].held_cents, view.windows[0].spent_cents) == (100, 90)
    assert [c.action for c in await w.limits.history("agent", "a1", 50, None)] == [
        "set", "removed", "set",
    ]  # fmt: skip
    assert (await w.books.check()).balanced


async def test_a_changed_limit_is_told_with_old_and_new(small: World) -> None:
    await small.limit(Scope.AGENT, "a1", limit_cents=100)
    await small.limit(Scope.AGENT, "a1", limit_cents=70, limit_shots=5)
    change = (await small.limits.history("agent", "a1", 1, None))[0]
    assert change.actor == "operator:ada"
    assert "limit_cents 100 -> 70" in change.detail
    event = (await small.events())[-1]
    assert event["action"] == "budget.limit_changed"
    assert "limit_shots None -> 5" in event["decision_reasons"]


@pytest.mark.attack("B4")
async def test_a_bill_above_its_bound_blocks_all_that_it_was_charged_to(w: World) -> None:
    await w.limit(Scope.AGENT, "a1", Span.MONTH, limit_cents=9000)
    await w.limit(Scope.OWNER, "somebody-else", limit_cents=9000)
    await w.reserve(hold_of("j1"))
    await w.settle(hold_of("j1"), 101)
    assert "blocked" in str(await w.refused(hold_of("j2")))
    assert (await w.budget()).blocked == "overrun j1"
    await w.budgets.unblock("e1", Reason(reason="the vendor changed its price"), "operator:ada")
    [found] = await w.refused(hold_of("j2"))
    assert found.limit == "budget.agent.blocked"
    why = Lifted(scope=Scope.AGENT, subject="a1", span=Span.MONTH, reason="looked at")
    await w.limits.unblock(why, "operator:ada")
    await w.reserve(hold_of("j2"))
    with pytest.raises(Conflict):
        await w.limits.unblock(why, "operator:ada")
    with pytest.raises(Conflict):
        await w.budgets.unblock("e1", Reason(reason="again"), "operator:ada")
    blocked = {v.budget.subject: v.budget.blocked for v in await w.limits.list()}
    assert blocked == {"a1": "", "somebody-else": ""}


async def test_another_currency_is_converted_upwards_or_refused(w: World) -> None:
    await w.limit(Scope.AGENT, "a1", currency="EUR", limit_cents=100)
    with pytest.raises(Forbidden, match="rate") as refusal:
        await w.reserve(hold_of("j1"))
    assert refusal.value.violations[0].limit == "budget.agent.currency"
    assert (await w.ledger.review(hold_of("j1"), PAYER, NOON))[0].allowed == "EUR"
    w.ledger = SqlLedger(w.store, rates=Rates({("USD", "EUR"): Rate(9, 10)}))
    await w.ledger.refresh()
    await w.reserve(hold_of("j1", cents=101))  # 90.9 cents
    [view] = await w.limits.list()
    assert view.windows[0].held_cents == 91
    assert (await w.refused(hold_of("j2", cents=11)))[0].actual == 10
    await w.settle(hold_of("j1", cents=101), 33)  # 29.7 cents
    [view] = await w.limits.list()
    assert (view.windows[0].held_cents, view.windows[0].spent_cents) == (0, 30)


@pytest.mark.parametrize("cents", [99, 9 * 10**15])
async def test_conversion_is_the_same_in_the_database(w: World, cents: int) -> None:
    rate = Rate(999_999_937, 10**9)
    w.ledger = SqlLedger(w.store, rates=Rates({("USD", "EUR"): rate}), block_on_overrun=False)
    await w.limit(Scope.AGENT, "a1", currency="EUR", limit_shots=10**6)
    await w.ledger.refresh()
    await w.reserve(hold_of("j1", cents=5))
    await w.settle(hold_of("j1", cents=5), cents)
    [view] = await w.limits.list()
    assert view.windows[0].spent_cents == rate.up(cents)


@pytest.mark.attack("B5", "A8")
async def test_only_an_operator_sets_lifts_or_unblocks(small: World) -> None:
    await small.limit(Scope.AGENT, "a1", limit_cents=1)
    new = NewLimit(scope=Scope.AGENT, subject="a1", span=Span.TOTAL, currency="USD", limit_cents=9)
    lifted = Lifted(scope=Scope.AGENT, subject="a1", span=Span.TOTAL, reason="please")
    for actor in ("a1", "operator", "operator:", "agent:operator:x"):
        with pytest.raises(Forbidden):
            await small.limits.set(new, actor)
        with pytest.raises(Forbidden):
            await small.limits.remove(lifted, actor)
        with pytest.raises(Forbidden):
            await small.limits.unblock(lifted, actor)
    [view] = await small.limits.list()
    assert view.budget.limit_cents == 1


@pytest.mark.parametrize(
    "more",
    [
        {"limit_cents": -1},
        {"limit_shots": -1},
        {"limit_cents": MAX_CENTS + 1},
        {},
        {"limit_cents": 5, "soft_percent": 101},
    ],
    ids=["negative", "negative shots", "huge", "nothing", "soft"],
)
async def test_limits_that_are_none_are_refused(small: World, more: dict[str, int]) -> None:
    with pytest.raises(Malformed):
        await small.limit(Scope.AGENT, "a1", Span.TOTAL, **more)
    with pytest.raises(Malformed, match="own budget"):
        await small.limit(Scope.EXPERIMENT, "e1", Span.TOTAL, limit_cents=5)
    with pytest.raises(Malformed):
        await small.limit(Scope.AGENT, "No Such Name", limit_cents=5)
    assert await small.limits.list() == ()


async def test_the_currency_of_a_limit_is_fixed(small: World) -> None:
    await small.limit(Scope.AGENT, "a1", limit_cents=5)
    with pytest.raises(Conflict, match="another currency"):
        await small.limit(Scope.AGENT, "a1", limit_cents=5, currency="EUR")


async def test_an_agent_that_is_gone_gives_back_what_it_held(small: World) -> None:
    await small.limit(Scope.AGENT, "a1", limit_cents=500)
    await small.reserve(hold_of("j1"))
    await small.reserve(hold_of("j2"))
    await small.run("governance_test_remove_token", token_id="t1")
    await small.run("governance_test_retire_agent", agent_id="a1")
    await small.release(hold_of("j1"))
    await small.settle(hold_of("j2"), 80)
    [view] = await small.limits.list()
    assert (view.windows[0].held_cents, view.windows[0].spent_cents) == (0, 80)
    assert (await small.books.check()).balanced
