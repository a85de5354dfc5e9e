"""The journal: entries sum to zero, months close, corrections are entries, sums are compared."""

from __future__ import annotations

import asyncio
import csv
import io
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.governance import OWNER, World, hold_of, world

from cryogate.domain.errors import Conflict, Forbidden, Malformed, NotFound
from cryogate.domain.events import Event
from cryogate.domain.ids import JOB, new_id
from cryogate.domain.periods import Span
from cryogate.governance.book import EACH, Scope
from cryogate.governance.books import Close, Correction
from cryogate.governance.budget_admin import BudgetLimits
from cryogate.governance.budget_watch import SOFT, BudgetWatch
from cryogate.governance.chargeback import FOCUS, Line, Usage, amount, to_csv, to_focus, usage
from cryogate.ports.budgets import Payer
from cryogate.ports.store import GuardFailed

OCTOBER = int(datetime(2026, 10, 20, tzinfo=UTC).timestamp()) * 1000
DAY = 86_400_000
ADA = "operator:ada"


def at(w: World, now_ms: int) -> None:
    w.clock.advance(now_ms - w.clock.now_ms())


@pytest.fixture
async def w(dsn: str | None, tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, dsn=dsn) as made:
        at(made, OCTOBER)
        yield made


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        at(made, OCTOBER)
        yield made


async def spend(w: World, cents: int) -> str:
    job_id = new_id(JOB)
    hold = hold_of(job_id, cents=1000)
    await w.reserve(hold)
    await w.settle(hold, cents)
    return job_id


async def test_a_job_is_two_entries_that_cancel_out(small: World) -> None:
    job_id = await spend(small, 300)
    reserve, settle = await small.books.entries(job_id)
    assert (reserve.kind, reserve.available_cents, reserve.held_cents) == ("reserve", -1000, 1000)
    assert (settle.available_cents, settle.held_cents, settle.spent_cents) == (700, -1000, 300)
    assert reserve.month == settle.month == "2026-10"
    with pytest.raises(NotFound):
        await small.books.entries("job_nothing")


async def test_a_closed_month_gets_no_entry_any_more(w: World) -> None:
    running = hold_of("late")
    await w.reserve(running)
    await spend(w, 300)
    at(w, OCTOBER + 20 * DAY)
    [closing] = await w.books.close(Close(month="2026-10"), ADA)
    assert (closing.month, closing.entries, closing.spent_cents) == ("2026-10", 1, 300)
    await w.settle(running, 50)
    at(w, OCTOBER)  # the clock is turned back into the closed month
    await spend(w, 7)
    found = await usage(w.store, "2026-10")
    assert [line.cents for line in found.lines] == [300]
    # two days, the one of the settlement and the one that the clock said
    assert sorted(line.cents for line in (await usage(w.store, "2026-11")).lines) == [7, 50]
    assert (await w.books.check()).balanced
    assert "ledger.closed" in [event["action"] for event in await w.events()]


async def test_months_are_closed_in_order_once_and_when_they_are_over(small: World) -> None:
    with pytest.raises(Malformed, match="not over"):
        await small.books.close(Close(month="2026-10"), ADA)
    for month in ("2026-13", "26-10", "2026-1", "0000-01", "now", ""):
        with pytest.raises(Malformed):
            await small.books.close(Close(month=month), ADA)
    with pytest.raises(Forbidden):
        await small.books.close(Close(month="2026-09"), "a1")
    await small.books.close(Close(month="2026-09"), ADA)
    for month in ("2026-09", "2026-08"):
        with pytest.raises(Conflict, match="closed already"):
            await small.books.close(Close(month=month), ADA)


@pytest.mark.attack("B1")
async def test_a_close_among_reservations_loses_none(w: World) -> None:
    at(w, OCTOBER + 20 * DAY)

    async def one(number: int) -> None:
        hold = hold_of(f"j{number}", cents=10)
        for _ in range(30):
            try:
                await w.reserve(hold)
            except GuardFailed:  # the book was turned meanwhile
                await w.ledger.refresh()
            else:
                break
        await w.settle(hold, 10)

    await asyncio.gather(
        *(one(n) for n in range(25)),
        w.books.close(Close(month="2026-10"), ADA),
    )
    assert (await w.budget()).spent_cents == 250
    assert (await w.books.check()).balanced


async def test_a_correction_is_a_new_entry_in_an_open_month(w: World) -> None:
    await w.limit(Scope.AGENT, "a1", Span.MONTH, limit_cents=9000)
    job_id = await spend(w, 300)
    at(w, OCTOBER + 20 * DAY)
    await w.books.close(Close(month="2026-10"), ADA)
    wanted = Correction(job_id=job_id, cents=-120, reason="credit note 4711")
    entries = await w.books.correct(wanted, ADA)
    assert [(e.kind, e.spent_cents) for e in entries] == [
        ("reserve", 0), ("settle", 300), ("correct", -120),
    ]  # fmt: skip
    assert (await w.budget()).spent_cents == 180
    [line] = (await usage(w.store, "2026-11")).lines
    assert (line.kind, line.cents, line.agent_id) == ("correct", -120, "a1")
    [view] = await w.limits.list()
    assert {x.period: x.spent_cents for x in view.windows} == {202610: 180}
    assert (await w.books.check()).balanced
    event = next(e for e in await w.events() if e["action"] == "budget.corrected")
    assert "credit note 4711" in event["decision_reasons"]


@pytest.mark.parametrize("cents", [-301, 0, 10**13 + 1, -(10**13) - 1])
async def test_no_more_is_given_back_than_was_spent(small: World, cents: int) -> None:
    job_id = await spend(small, 300)
    with pytest.raises((Conflict, Malformed)):
        await small.books.correct(Correction(job_id=job_id, cents=cents, reason="x"), ADA)
    with pytest.raises(Forbidden):
        await small.books.correct(Correction(job_id=job_id, cents=-1, reason="x"), "a1")
    with pytest.raises(NotFound):
        await small.books.correct(Correction(job_id="j", cents=-1, reason="x"), ADA)
    assert (await small.budget()).spent_cents == 300


async def test_a_limit_is_granted_by_entries_too(small: World) -> None:
    await small.budgets.set_limits("e1", BudgetLimits(limit_cents=5), ADA)
    await small.budgets.set_limits("e1", BudgetLimits(limit_cents=9000, limit_shots=7), ADA)
    assert (await small.books.check()).balanced
    changes = await small.budgets.history("e1", 50, None)
    assert [c.action for c in changes] == ["set", "set"]
    assert "limit_cents 5 -> 9000" in changes[0].detail


async def test_check_finds_what_was_tampered_with(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        at(w, OCTOBER)
        job_id = await spend(w, 300)
        at(w, OCTOBER + 20 * DAY)
        await w.books.close(Close(month="2026-10"), ADA)
        await w.run("governance_test_tamper_entry", job_id=job_id)
        found = await w.books.check()
        assert not found.balanced
        assert found.budgets == ("e1",)
        assert found.months == ("2026-10 USD",)


def test_the_database_refuses_an_entry_that_does_not_sum_to_zero(tmp_path: Path) -> None:
    async def make() -> None:
        async with world(tmp_path):
            pass

    asyncio.run(make())
    [path] = tmp_path.glob("*.db")
    with sqlite3.connect(path) as db, pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        db.execute(
            "INSERT INTO ledger_entries SELECT 'x', 0, kind, period, posted_ms, experiment_id,"
            " agent_id, owner, cost_center, token_id, session_id, backend, currency,"
            " granted_cents, available_cents + 1, held_cents, spent_cents, granted_shots,"
            " available_shots, held_shots, spent_shots, note, corrects FROM ledger_entries"
        )
    db.close()


# -- soft limits ------------------------------------------------------------------------------


async def test_a_soft_limit_is_told_once_and_again_in_a_new_period(w: World) -> None:
    told: list[Event] = []
    watch = BudgetWatch(w.store, w.clock, told.append)
    await w.budgets.set_limits("e1", BudgetLimits(soft_percent=20), ADA)
    await w.limit(Scope.AGENT, EACH, Span.DAY, limit_cents=2000, soft_percent=50)
    assert await watch.look() == 0
    await w.reserve(hold_of("j1", cents=2000))
    assert await watch.look() == 2
    assert await watch.look() == 0
    assert {event.decision_reasons[0] for event in told if event.decision_reasons} == {
        "experiment e1", "agent a1",
    }  # fmt: skip
    assert {event.action for event in told} == {SOFT}
    at(w, w.clock.now_ms() + DAY)
    await w.reserve(hold_of("j2", cents=1000))
    assert await watch.look() == 1
    await w.budgets.set_limits("e1", BudgetLimits(soft_percent=30), ADA)
    assert await watch.look() == 1


# -- chargeback -------------------------------------------------------------------------------


async def test_a_month_by_payer(w: World) -> None:
    await spend(w, 300)
    await spend(w, 200)
    other = hold_of("j9", cents=50)
    await w.reserve(other, Payer("a2", OWNER, "", "braket:garnet"))
    await w.settle(other, 50)
    found = await usage(w.store, "2026-10")
    assert [(x.agent_id, x.cost_center, x.jobs, x.cents, x.shots) for x in found.lines] == [
        ("a1", "cc", 2, 500, 20), ("a2", "", 1, 50, 10),
    ]  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert rows[0]["amount"] == "5.00"
    assert rows[0]["day"] == "2026-10-20"
    assert (await usage(w.store, "2026-09")).lines == ()
    for month in ("2026", "2026-00", "x"):
        with pytest.raises(Malformed):
            await usage(w.store, month)


LINE = Line(
    int(datetime(2026, 11, 25, tzinfo=UTC).timestamp()) * 1000,
    "ghz", "bot", OWNER, "=cmd()", "braket:garnet", "USD", "settle", 3, 525, 3000,
)  # fmt: skip


def test_focus_has_its_columns_and_its_words() -> None:
    correction = Line(
        LINE.day_ms, "ghz", "bot", OWNER, "", "braket:garnet", "USD", "correct", 1, -1205, 0
    )
    text = to_focus(Usage(202611, (LINE, correction)))
    reader = csv.DictReader(io.StringIO(text))
    used, corrected = list(reader)
    assert tuple(reader.fieldnames or ()) == FOCUS
    assert (used["BilledCost"], used["BillingCurrency"]) == ("5.25", "USD")
    assert (used["ChargeCategory"], used["ChargeClass"]) == ("Usage", "")
    assert (used["ConsumedQuantity"], used["ConsumedUnit"]) == ("3000", "Shots")
    assert used["BillingPeriodStart"] == "2026-11-01T00:00:00Z"
    assert used["BillingPeriodEnd"] == "2026-12-01T00:00:00Z"
    assert used["ChargePeriodEnd"] == "2026-11-26T00:00:00Z"
    assert used["ServiceCategory"] == "Compute"
    assert (corrected["ChargeCategory"], corrected["ChargeClass"]) == ("Adjustment", "Correction")
    assert corrected["EffectiveCost"] == "-12.05"
    for name in FOCUS:
        assert name.startswith("x_") or name[0].isupper()


@pytest.mark.attack("H4")
def test_a_name_is_never_a_formula_in_a_spreadsheet() -> None:
    for text in (to_csv(Usage(202611, (LINE,))), to_focus(Usage(202611, (LINE,)))):
        cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
        assert "'=cmd()" in cells
        assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]


@pytest.mark.parametrize(
    ("cents", "text"), [(0, "0.00"), (5, "0.05"), (-5, "-0.05"), (123456, "1234.56")]
)
def test_amounts_are_written_out_of_integers(cents: int, text: str) -> None:
    assert amount(cents) == text
