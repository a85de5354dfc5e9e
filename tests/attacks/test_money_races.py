"""B1: many at once with room for one. The database decides, not the order of reading."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.support.governance import World, hold_of, world

from cryogate.ports.store import GuardFailed


async def attempt(w: World, number: int, **hold: object) -> str:
    try:
        await w.reserve(hold_of(f"j{number}", **hold))  # type: ignore[arg-type]
    except GuardFailed as failed:
        return failed.guard
    return "held"


@pytest.mark.attack("B1")
async def test_budget_for_one_of_two_hundred(dsn: str | None, tmp_path: Path) -> None:
    async with world(tmp_path, dsn=dsn, cents=199) as w:
        outcomes = await asyncio.gather(*(attempt(w, n) for n in range(200)))
        assert outcomes.count("held") == 1
        assert outcomes.count("budget.experiment") == 199
        view = await w.budget()
        assert (view.held_cents, view.held_shots, view.spent_cents) == (100, 10, 0)
        # Whoever was refused left nothing behind in its token either.
        assert await w.used() == (1, 10, 100)


@pytest.mark.attack("B1", "A7")
@pytest.mark.parametrize(
    "bounds",
    [{"jobs": 1}, {"shots": 19}, {"cents": 199}],
    ids=["jobs", "shots", "cents"],
)
async def test_token_for_one_of_fifty(
    dsn: str | None, bounds: dict[str, int], tmp_path: Path
) -> None:
    async with world(tmp_path, dsn=dsn) as w:
        await w.token("narrow", **bounds)
        outcomes = await asyncio.gather(*(attempt(w, n, token_id="narrow") for n in range(50)))
        assert outcomes.count("held") == 1
        assert outcomes.count("budget.token") == 49
        assert (await w.budget()).held_cents == 100


@pytest.mark.attack("A7")
async def test_many_tokens_meet_one_budget(tmp_path: Path) -> None:
    async with world(tmp_path, cents=350) as w:
        for n in range(20):
            await w.token(f"t-{n}")
        outcomes = await asyncio.gather(*(attempt(w, n, token_id=f"t-{n}") for n in range(20)))
        assert outcomes.count("held") == 3
        assert (await w.budget()).held_cents == 300


@pytest.mark.attack("B2")
async def test_money_is_returned_once_however_often_it_is_asked(
    dsn: str | None, tmp_path: Path
) -> None:
    async with world(tmp_path, dsn=dsn) as w:
        hold, now_ms = hold_of(session_id="s1"), w.clock.now_ms()
        await w.reserve(hold)

        async def end(n: int) -> str:
            statements = (
                w.ledger.settle(hold, 40, now_ms) if n % 2 else w.ledger.release(hold, now_ms)
            )
            try:
                await w.commit(*statements)
            except GuardFailed as failed:
                return failed.guard
            return "ended"

        outcomes = await asyncio.gather(*(end(n) for n in range(30)))
        assert outcomes.count("ended") == 1
        assert outcomes.count("budget.hold") == 29
        view = await w.budget()
        assert (view.held_cents, view.held_shots) == (0, 0)
        assert view.spent_cents in (0, 40)


@pytest.mark.attack("B2")
async def test_a_released_hold_cannot_be_released_in_another_amount(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.reserve(hold_of("j1", cents=100))
        await w.reserve(hold_of("j2", cents=500))
        for wrong in (
            hold_of("j1", cents=500),
            hold_of("j1", shots=500),
            hold_of("j1", currency="EUR"),
            hold_of("j1", experiment_id="e2"),
        ):
            with pytest.raises(GuardFailed, match=r"budget\.hold"):
                await w.commit(*w.ledger.release(wrong, 0))
        assert (await w.budget()).held_cents == 600
