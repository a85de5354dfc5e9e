"""B4, B5: what a vendor bills, and who may move a limit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.support.governance import PAYER, hold_of, world

from cryogate.domain.errors import Forbidden, Malformed
from cryogate.governance.budget_admin import BudgetLimits
from cryogate.governance.budgets import billable
from cryogate.ports.store import GuardFailed
from cryogate.storage.statements import SQL_DIR


@pytest.mark.attack("B4")
async def test_a_bill_above_the_hold_is_owed_and_blocks_what_follows(tmp_path: Path) -> None:
    async with world(tmp_path, cents=1000) as w:
        hold = hold_of(cents=400)
        await w.reserve(hold)
        await w.commit(*w.ledger.settle(hold, 1300, 0))
        view = await w.budget()
        assert (view.held_cents, view.spent_cents, view.left_cents) == (0, 1300, 0)
        assert await w.used() == (1, 10, 1300)
        assert (await w.job_row())["cost_actual_cents"] == 1300
        with pytest.raises(GuardFailed, match=r"budget\.experiment"):
            await w.reserve(hold_of("j2", cents=0))


@pytest.mark.attack("B4")
@pytest.mark.parametrize("reported", [-1, -(10**9), None, True, 1.5, "3", 2**53, 10**30])
async def test_a_figure_that_is_no_price_is_billed_at_the_bound(
    reported: object, tmp_path: Path
) -> None:
    assert billable(reported, 400) == 400
    async with world(tmp_path) as w:
        hold = hold_of(cents=400)
        await w.reserve(hold)
        await w.commit(*w.ledger.settle(hold, reported, 0))  # type: ignore[arg-type]
        view = await w.budget()
        assert (view.held_cents, view.spent_cents) == (0, 400)


@pytest.mark.attack("B4")
async def test_another_currency_is_never_held(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        hold = hold_of(cents=1, currency="JPY")
        with pytest.raises(GuardFailed, match=r"budget\.experiment"):
            await w.reserve(hold)
        violations = await w.explain("budget.experiment", hold)
        assert [(v.limit, v.allowed, v.actual) for v in violations] == [
            ("budget_currency", "USD", "JPY")
        ]


@pytest.mark.attack("B4")
@pytest.mark.parametrize(("cents", "shots"), [(-1, 10), (100, 0), (100, -5), (2**53, 1)])
async def test_a_negative_hold_is_no_way_to_print_money(
    cents: int, shots: int, tmp_path: Path
) -> None:
    async with world(tmp_path) as w:
        hold = hold_of(cents=cents, shots=shots)
        with pytest.raises(ValueError, match="at least"):
            w.ledger.reserve(hold, PAYER, 0)
        with pytest.raises(ValueError, match="at least"):
            w.ledger.release(hold, 0)
        with pytest.raises(ValueError, match="at least"):
            w.ledger.settle(hold, 0, 0)


@pytest.mark.attack("B4")
async def test_a_swept_token_does_not_keep_the_experiment_s_money(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        settled, released = hold_of("j1"), hold_of("j2")
        await w.reserve(settled)
        await w.reserve(released)
        await w.run("governance_test_remove_token", token_id="t1")
        await w.commit(*w.ledger.settle(settled, 30, 0))
        await w.commit(*w.ledger.release(released, 0))
        view = await w.budget()
        assert (view.held_cents, view.spent_cents) == (0, 30)


@pytest.mark.attack("B5", "A8")
@pytest.mark.parametrize(
    "actor", ["a1", "operator", "operator:", "Operator:admin", "operator:a b", "agent:operator:x"]
)
async def test_only_an_operator_moves_a_limit(actor: str, tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        with pytest.raises(Forbidden):
            await w.budgets.set_limits("e1", BudgetLimits(limit_cents=10**9), actor)
        assert (await w.budget()).limit_cents == 10_000


@pytest.mark.attack("B5")
async def test_limits_are_never_negative(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        for limits in (BudgetLimits(limit_cents=-1), BudgetLimits(limit_shots=-1)):
            with pytest.raises(Malformed):
                await w.budgets.set_limits("e1", limits, "operator:admin")


@pytest.mark.attack("B5")
def test_no_other_statement_writes_a_limit_or_deletes_a_budget() -> None:
    writers, deleters = set(), set()
    for path in SQL_DIR.glob("*.sql"):
        for block in re.split(r"(?m)^-- name:", path.read_text())[1:]:
            name = block.split()[0]
            changed = re.search(r"\bSET\b(.*?)(\bWHERE\b|\Z)", block, re.DOTALL)
            if changed and re.search(r"\blimit_(cents|shots)\s*=", changed[1]):
                writers.add(name)
            kept = r"budgets|experiments|scoped_budgets|budget_\w+|ledger_\w+"
            if re.search(rf"DELETE\s+FROM\s+({kept})\b", block, re.IGNORECASE):
                deleters.add(name)
            # The journal and the history only grow.
            if re.search(r"UPDATE\s+(ledger_\w+|budget_history)\b", block, re.IGNORECASE):
                deleters.add(name)
    assert writers == {"set_budget_limit", "set_scoped_limit"}
    assert deleters == set()
