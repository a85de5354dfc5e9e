"""Acceptances that share a transaction: each gets its own answer, whatever the others get."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.support.governance import PAYER, World, hold_of, world

from cryogate.domain.money import Money
from cryogate.gateway.accepting import Acceptance, Acceptor
from cryogate.ports.store import GuardFailed, Row, StoreUnavailable, UnitOfWork
from cryogate.storage import SqliteStore


def acceptance(w: World, job_id: str, **hold: object) -> Acceptance:
    held = hold_of(job_id, **hold)  # type: ignore[arg-type]
    now_ms = w.clock.now_ms()
    return Acceptance(w.accepted(held, now_ms), held, PAYER, now_ms, ())


class Counted:
    """Counts the units that a store is given, and may hold them back or refuse them."""

    def __init__(self, store: SqliteStore) -> None:
        self.sizes: list[int] = []
        self.gate = asyncio.Event()
        self.error: Exception | None = None
        self._commit = store.commit
        store.commit = self.commit  # type: ignore[method-assign]

    async def commit(self, work: UnitOfWork) -> Sequence[Sequence[Row]]:
        jobs = sum(statement.name == "accept_job" for statement in work.statements)
        if jobs:
            self.sizes.append(jobs)
            await self.gate.wait()
            if self.error is not None:
                raise self.error
        return await self._commit(work)


async def started(tasks: Sequence[asyncio.Task[None]]) -> None:
    for _ in range(10):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)


async def test_those_that_wait_share_a_transaction(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        assert isinstance(w.store, SqliteStore)
        counted, acceptor = Counted(w.store), Acceptor(w.store, w.ledger, most=4)
        tasks = [asyncio.create_task(acceptor.commit(acceptance(w, f"j{n}"))) for n in range(8)]
        await started(tasks)
        counted.gate.set()
        await asyncio.gather(*tasks)
        assert counted.sizes[0] in (1, 4)
        assert max(counted.sizes) == 4
        assert sum(counted.sizes) == 8
        assert (await w.budget()).held_cents == 800


@pytest.mark.attack("B1")
async def test_one_that_cannot_be_accepted_takes_nobody_with_it(tmp_path: Path) -> None:
    async with world(tmp_path, cents=700) as w:
        acceptor = Acceptor(w.store, w.ledger, most=16)
        wanted = [acceptance(w, f"j{n}") for n in range(6)]
        wanted += [acceptance(w, "dear", cents=900), acceptance(w, "none", token_id="t9")]
        wanted += [acceptance(w, "nul\0")]
        found = await asyncio.gather(*map(acceptor.commit, wanted), return_exceptions=True)
        assert found[:6] == [None] * 6
        assert [e.guard for e in found[6:8] if isinstance(e, GuardFailed)] == [
            "budget.experiment", "budget.token",
        ]  # fmt: skip
        assert isinstance(found[8], ValueError)
        assert (await w.budget()).held_cents == 600
        assert (await w.books.check()).balanced


async def test_when_the_store_is_away_all_of_them_are_told(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        assert isinstance(w.store, SqliteStore)
        counted, acceptor = Counted(w.store), Acceptor(w.store, w.ledger, most=8)
        counted.error = StoreUnavailable("away")
        tasks = [asyncio.create_task(acceptor.commit(acceptance(w, f"j{n}"))) for n in range(5)]
        await started(tasks)
        counted.gate.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(error, StoreUnavailable) for error in found)
        counted.error = None
        await acceptor.commit(acceptance(w, "later"))
        assert (await w.budget()).held_cents == 100


async def test_who_gives_up_while_waiting_is_left_out(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        assert isinstance(w.store, SqliteStore)
        counted, acceptor = Counted(w.store), Acceptor(w.store, w.ledger, most=1 << 10)
        first = asyncio.create_task(acceptor.commit(acceptance(w, "first")))
        await started([first])
        others = [asyncio.create_task(acceptor.commit(acceptance(w, f"j{n}"))) for n in range(3)]
        await started(others)
        others[1].cancel()
        counted.gate.set()
        await asyncio.gather(first, others[0], others[2])
        assert counted.sizes == [1, 2]
        assert await w.store.fetch_one("governance_test_job_row", {"job_id": "j1"}) is None


async def test_a_large_program_does_not_wait_in_a_large_batch(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        assert isinstance(w.store, SqliteStore)
        counted, acceptor = Counted(w.store), Acceptor(w.store, w.ledger, most=64)

        def large(n: int) -> Acceptance:
            one = acceptance(w, f"j{n}", cents=1)
            params = {**one.job.params, "program": "x" * 700_000}
            return Acceptance(
                one.job._replace(params=params), one.hold, one.payer, one.now_ms, one.events
            )

        tasks = [asyncio.create_task(acceptor.commit(large(n))) for n in range(4)]
        await started(tasks)
        counted.gate.set()
        await asyncio.gather(*tasks)
        assert max(counted.sizes) == 1
        assert (await w.budget()).held_cents == Money(4, "USD").cents
