"""Merged commits never mix fates, and a waiting reader never misses a move."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.governance import hold_of, world

from cryogate.gateway.changes import JobChanges
from cryogate.gateway.dispatch_batch import Batcher
from cryogate.gateway.places import Place, Places
from cryogate.ports.provider import VendorState, VendorStatus
from cryogate.ports.store import GuardFailed, UnitOfWork


async def test_one_failed_guard_fails_its_own_unit_only(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        holds = [hold_of(f"j{n}") for n in range(9)]
        for hold in holds:
            await w.reserve(hold)
        now_ms = w.clock.now_ms()
        await w.commit(*w.ledger.release(holds[4], now_ms))
        batcher = Batcher(w.store)
        outcomes = await asyncio.gather(
            *(
                batcher.commit(UnitOfWork(w.ledger.settle(hold, 100, now_ms)), "e1")
                for hold in holds
            ),
            return_exceptions=True,
        )
        assert [n for n, o in enumerate(outcomes) if isinstance(o, GuardFailed)] == [4]
        assert [o for n, o in enumerate(outcomes) if n != 4] == [None] * 8
        view = await w.budget()
        assert (view.held_cents, view.spent_cents) == (0, 800)


async def test_a_caller_that_gave_up_does_not_keep_the_others(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        holds = [hold_of("j1"), hold_of("j2"), hold_of("j3")]
        for hold in holds:
            await w.reserve(hold)
        batcher, now_ms = Batcher(w.store), w.clock.now_ms()
        commits = [
            asyncio.create_task(
                batcher.commit(UnitOfWork(w.ledger.settle(hold, 100, now_ms)), "e1")
            )
            for hold in holds
        ]
        await asyncio.sleep(0)
        commits[1].cancel()
        await asyncio.wait_for(commits[0], 5)
        await asyncio.wait_for(commits[2], 5)
        assert commits[1].cancelled()


async def test_a_move_between_read_and_wait_is_seen() -> None:
    hub = JobChanges()
    with hub.watch("j1") as watch, hub.watch("j2") as other:
        hub.tell("j1")
        assert await watch.changed(5)
        assert not await watch.changed(0)
        assert not await other.changed(0)
    assert hub.watchers == 0
    hub.tell("j1")


def test_places_keep_what_is_plausible_and_tell_news_once() -> None:
    places = Places()
    status = VendorStatus(VendorState.QUEUED, queue_position=3, eta_ms=-1)
    assert places.hear("j1", status)
    assert not places.hear("j1", status)
    assert places.get("j1") == Place(queue_position=3)
    assert not places.hear("j2", VendorStatus(VendorState.QUEUED))
    assert places.get("j2") is None
    places.drop("j1")
    assert places.get("j1") is None
