"""The ledger as arithmetic: nothing is lost, nothing is made, whatever the order."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.governance import PAYER, World, hold_of, world

from cryogate.domain.errors import Malformed, NotFound
from cryogate.governance.budget_admin import BudgetLimits
from cryogate.ports.budgets import Hold
from cryogate.ports.store import GuardFailed

LIMIT, SHOTS = 1000, 100


class Step(NamedTuple):
    verb: str
    job: int
    cents: int
    shots: int
    actual: int
    in_session: bool


steps = st.builds(
    Step,
    st.sampled_from(["reserve", "reserve", "settle", "release"]),
    st.integers(0, 5),
    st.integers(0, 600),
    st.integers(1, 60),
    st.integers(0, 900),
    st.booleans(),
)


class Model:
    """What the ledger must come to, kept in plain Python."""

    def __init__(self) -> None:
        self.holds: dict[int, Hold] = {}
        self.state: dict[int, str] = {}
        self.spent = self.spent_shots = self.overrun = 0
        self.blocked = False

    def held(self) -> tuple[int, int]:
        live = [self.holds[n] for n, state in self.state.items() if state == "held"]
        return sum(h.cost.cents for h in live), sum(h.shots for h in live)

    def fits(self, step: Step) -> bool:
        cents, shots = self.held()
        return (
            step.job not in self.holds
            and not self.blocked
            and cents + self.spent + step.cents <= LIMIT
            and shots + self.spent_shots + step.shots <= SHOTS
        )


async def play(w: World, model: Model, step: Step) -> None:
    if step.verb == "reserve":
        session = "s1" if step.in_session else None
        hold = hold_of(f"j{step.job}", cents=step.cents, shots=step.shots, session_id=session)
        fits = model.fits(step)
        try:
            await w.reserve(hold)
        except GuardFailed:
            assert not fits
        else:
            assert fits
            model.holds[step.job], model.state[step.job] = hold, "held"
        return
    known = model.holds.get(step.job)
    hold = known or hold_of(f"j{step.job}")
    live = model.state.get(step.job) == "held"
    statements = (
        w.ledger.settle(hold, step.actual, 0)
        if step.verb == "settle"
        else w.ledger.release(hold, 0)
    )
    if not live:
        with pytest.raises(GuardFailed, match=r"budget\.hold"):
            await w.commit(*statements)
        return
    await w.commit(*statements)
    model.state[step.job] = step.verb
    if step.verb == "settle":
        model.spent += step.actual
        model.spent_shots += hold.shots
        model.overrun += max(0, step.actual - hold.cost.cents)
        model.blocked = model.blocked or step.actual > hold.cost.cents


async def check(w: World, model: Model) -> None:
    view, (held, held_shots) = await w.budget(), model.held()
    assert (view.held_cents, view.held_shots) == (held, held_shots)
    assert (view.spent_cents, view.spent_shots) == (model.spent, model.spent_shots)
    assert view.held_cents + view.spent_cents <= LIMIT + model.overrun
    kept = [n for n, state in model.state.items() if state != "release"]
    assert await w.used() == (len(kept), held_shots + model.spent_shots, held + model.spent)
    in_session = [n for n in kept if model.holds[n].session_id is not None]
    row = await w.row("governance_test_session_row", session_id="s1")
    assert row["used_jobs"] == len(in_session)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, max_size=25))
def test_any_order_conserves_money(script: list[Step]) -> None:
    async def run(folder: Path) -> None:
        async with world(folder, cents=LIMIT, shots=SHOTS) as w:
            model = Model()
            for step in script:
                await play(w, model, step)
                await check(w, model)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, max_size=40))
def test_parallel_steps_conserve_money(script: list[Step]) -> None:
    """The order is the store's; the sums must hold for whichever it was."""

    async def one(w: World, step: Step) -> None:
        hold = hold_of(f"j{step.job}", cents=100 + step.job, shots=3)
        try:
            if step.verb == "reserve":
                await w.reserve(hold)
            elif step.verb == "settle":
                await w.commit(*w.ledger.settle(hold, step.actual, 0))
            else:
                await w.commit(*w.ledger.release(hold, 0))
        except GuardFailed:
            pass

    async def run(folder: Path) -> None:
        async with world(folder, cents=LIMIT, shots=SHOTS) as w:
            await asyncio.gather(*(one(w, step) for step in script))
            held = spent = jobs = 0
            for n in range(6):
                row = await w.store.fetch_one("governance_test_job_row", {"job_id": f"j{n}"})
                if row is None or row["hold"] == "released":
                    continue
                jobs += 1
                if row["hold"] == "held":
                    held += 100 + n
                else:
                    assert isinstance(row["cost_actual_cents"], int)
                    spent += row["cost_actual_cents"]
            view = await w.budget()
            assert (view.held_cents, view.spent_cents) == (held, spent)
            assert await w.used() == (jobs, 3 * jobs, held + spent)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))


async def test_hot_path_is_a_handful_of_statements(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        hold = hold_of()
        assert len(w.ledger.reserve(hold, PAYER, 0)) == 3
        assert len(w.ledger.settle(hold, hold.cost.cents, 0)) == 4
        assert len(w.ledger.settle(hold, 0, 0)) == 5


async def test_refusals_name_every_bound_in_the_way(tmp_path: Path) -> None:
    async with world(tmp_path, cents=150, shots=15) as w:
        await w.reserve(hold_of("j1"))
        hold = hold_of("j2")
        with pytest.raises(GuardFailed) as failed:
            await w.reserve(hold)
        found = await w.explain(failed.value.guard, hold)
        assert [(v.limit, v.allowed, v.actual) for v in found] == [
            ("budget_cents", 50, 100), ("budget_shots", 5, 10),
        ]  # fmt: skip
        assert all(v.hint for v in found)


async def test_a_token_s_refusal_names_every_bound_in_the_way(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.token("t2", jobs=1, shots=15, cents=150)
        await w.reserve(hold_of("j1", token_id="t2"))
        hold = hold_of("j2", token_id="t2")
        with pytest.raises(GuardFailed) as failed:
            await w.reserve(hold)
        found = await w.explain(failed.value.guard, hold)
        assert [(v.limit, v.allowed, v.actual) for v in found] == [
            ("max_jobs", 1, 2), ("max_total_shots", 15, 20), ("max_cost_cents", 150, 200),
        ]  # fmt: skip
        await w.commit(*w.ledger.release(hold_of("j1", token_id="t2"), 0))
        # Room again by now: still an explanation, never an empty one.
        assert await w.explain(failed.value.guard, hold)


async def test_a_session_s_refusals(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.run(
            "governance_test_session", session_id="s2", token_id="t1", agent_id="a1",
            experiment_id="e1", max_jobs=1, expires_ms=w.clock.now_ms() + 1000,
        )  # fmt: skip
        await w.reserve(hold_of("j1", session_id="s2"))
        full = hold_of("j2", session_id="s2")
        with pytest.raises(GuardFailed, match=r"budget\.session"):
            await w.reserve(full)
        assert (await w.explain("budget.session", full))[0].limit == "session_max_jobs"
        await w.commit(*w.ledger.release(hold_of("j1", session_id="s2"), 0))
        w.clock.advance(1000)
        with pytest.raises(GuardFailed, match=r"budget\.session"):
            await w.reserve(full)
        assert (await w.explain("budget.session", full))[0].actual == "closed or expired"


@pytest.mark.attack("A1", "A7")
async def test_another_token_s_session_or_experiment_pays_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.token("t2")
        foreign = hold_of(session_id="s1", token_id="t2")
        with pytest.raises(GuardFailed, match=r"budget\.session"):
            await w.reserve(foreign)
        assert (await w.explain("budget.session", foreign))[0].allowed == "an own session"
        with pytest.raises(GuardFailed, match=r"budget\.token"):
            await w.reserve(hold_of(experiment_id="e2"))
        assert await w.used() == (0, 0, 0)


async def test_guards_of_others_are_not_explained(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        assert await w.explain("job.live", hold_of()) == ()
        assert await w.explain("budget.hold", hold_of())
        assert (await w.explain("budget.experiment", hold_of(experiment_id="e9")))[
            0
        ].limit == "budget"
        assert (await w.explain("budget.token", hold_of(token_id="t9")))[0].limit == "token"
        assert await w.ledger.view("e9") is None


@pytest.mark.attack("B5")
async def test_a_lowered_limit_takes_nothing_back_and_lets_nothing_in(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.reserve(hold_of("j1"))
        changed = await w.budgets.set_limits("e1", BudgetLimits(limit_cents=50), "operator:bob")
        assert (changed.budget.limit_cents, changed.budget.left_cents) == (50, 0)
        assert changed.budget.limit_shots == 1_000_000
        with pytest.raises(GuardFailed):
            await w.reserve(hold_of("j2", cents=0))
        await w.commit(*w.ledger.settle(hold_of("j1"), 100, 0))
        assert (await w.budget()).spent_cents == 100
        event = (await w.events())[-1]
        assert event["action"] == "budget.changed"
        assert event["actor_chain"] == ["operator:bob"]
        assert "limit_cents 10000 -> 50" in event["decision_reasons"]


async def test_limits_changed_at_once_leave_a_chain_of_events(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await asyncio.gather(
            *(w.budgets.set_limits("e1", BudgetLimits(limit_cents=n), "operator:b") for n in (1, 2))
        )
        told = [e["decision_reasons"][0] for e in await w.events()]
        (first, second) = (text.removeprefix("limit_cents ").split(" -> ") for text in told)
        assert first[0] == "10000"
        assert second[0] == first[1]
        assert str((await w.budget()).limit_cents) == second[1]


async def test_budgets_are_listed_in_pages(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        page = await w.budgets.list(limit=1)
        assert [item.experiment_id for item in page.items] == ["e1"]
        assert page.next is None
        with pytest.raises(NotFound):
            await w.budgets.show("e2")
        for limit in (0, -1, 201):
            with pytest.raises(Malformed):
                await w.budgets.list(limit=limit)
