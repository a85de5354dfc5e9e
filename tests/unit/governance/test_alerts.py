"""Alerts: folded so that a flood is one row, and handled by somebody."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from tests.support.broker import World, postgres_world, sqlite_world

from cryogate.domain.errors import Conflict, Malformed, NotFound
from cryogate.governance.alerts import FOLD_MS, AlertBook, AlertDesk
from cryogate.ports.alerts import Severity
from cryogate.ports.store import StoreUnavailable, UnitOfWork


@pytest.fixture(params=["sqlite", "postgres"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AbstractAsyncContextManager[World]:
    if request.param == "sqlite":
        return sqlite_world(tmp_path)
    return postgres_world(request.getfixturevalue("postgres_dsn"))


@pytest.fixture
async def world(opened: AbstractAsyncContextManager[World]) -> AsyncIterator[World]:
    async with opened as made:
        yield made


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[World]:
    async with sqlite_world(tmp_path) as made:
        yield made


async def test_a_flood_is_one_row_with_a_count(world: World) -> None:
    book, desk = AlertBook(world.store, world.clock), AlertDesk(world.store, world.clock)
    for n in range(1000):
        book.tell("proof_failures", "a1", Severity.HIGH, {"n": n})
    await book.flush()
    for _ in range(500):
        book.tell("proof_failures", "a1", Severity.HIGH, {"n": 1500})
        await book.flush()  # not due: nothing is written
    [alert] = (await desk.list(None, None, 10)).items
    assert (alert.count, alert.state, alert.severity) == (1000, "open", "high")
    world.clock.advance(FOLD_MS)
    await book.flush()
    [alert] = (await desk.list(None, None, 10)).items
    assert alert.count == 1500
    assert json.loads(alert.evidence) == {"n": 1500}
    assert alert.last_ms - alert.first_ms == 0
    assert len(await world.events("alert.raised")) == 2


async def test_two_processes_fold_into_one_row(world: World) -> None:
    for _ in range(2):
        book = AlertBook(world.store, world.clock)
        book.tell("new_address", "a1", Severity.LOW, {})
        await book.flush()
    [alert] = (await AlertDesk(world.store, world.clock).list(None, None, 10)).items
    assert alert.count == 2


async def test_somebody_deals_with_it(world: World) -> None:
    book, desk = AlertBook(world.store, world.clock), AlertDesk(world.store, world.clock)

    async def once() -> None:
        world.clock.advance(FOLD_MS)
        book.tell("new_address", "a1", Severity.LOW, {"network": "10.1.2.0/24"})
        await book.flush()

    await once()
    [alert] = (await desk.list("open", None, 10)).items
    seen = await desk.acknowledge(alert.alert_id, "operator:root", "moved office")
    assert (seen.state, seen.handled_by, seen.note) == (
        "acknowledged", "operator:root", "moved office",
    )  # fmt: skip
    with pytest.raises(Conflict):
        await desk.acknowledge(alert.alert_id, "operator:root", "")
    await once()
    assert (await desk.show(alert.alert_id)).count == 2
    await desk.close(alert.alert_id, "operator:root", "")
    with pytest.raises(Conflict):
        await desk.close(alert.alert_id, "operator:root", "")
    await once()
    [again] = (await desk.list(None, None, 10)).items
    assert again.alert_id != alert.alert_id
    assert again.count == 1
    [event] = await world.events("alert.acknowledged")
    assert event["actor_chain"] == ["operator:root"]


async def test_lists_come_in_pages(small: World) -> None:
    book, desk = AlertBook(small.store, small.clock), AlertDesk(small.store, small.clock)
    for n in range(5):
        small.clock.advance(1)
        book.tell("new_address", f"a{n}", Severity.LOW, {})
    await book.flush()
    first = await desk.list(None, None, 3)
    assert [alert.subject for alert in first.items] == ["a4", "a3", "a2"]
    second = await desk.list(None, first.next, 3)
    assert [alert.subject for alert in second.items] == ["a1", "a0"]
    assert second.next is None


async def test_what_is_not_there(small: World) -> None:
    desk = AlertDesk(small.store, small.clock)
    for name in ("alt_x", "", "alt_" + "0" * 26, "job_" + "0" * 26):
        with pytest.raises(NotFound):
            await desk.show(name)
    with pytest.raises(Malformed):
        await desk.list("gone", None, 10)
    with pytest.raises(Malformed):
        await desk.list(None, "nonsense", 10)


async def test_made_up_subjects_neither_fill_memory_nor_the_table(small: World) -> None:
    book, desk = AlertBook(small.store, small.clock), AlertDesk(small.store, small.clock)
    for n in range(5000):
        small.clock.advance(int(n == 4999))
        book.tell("proof_failures", f"x{n}", Severity.HIGH, {})
    book.tell("Not A Name", "x", Severity.HIGH, {})
    assert len(book._pending) == 2049
    await book.flush()
    first = (await desk.list(None, None, 200)).items
    rest = next(alert for alert in first if alert.subject == "*")
    assert rest.count == 5000 - 2048


async def test_what_cannot_be_written_is_kept(
    small: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    book, desk = AlertBook(small.store, small.clock), AlertDesk(small.store, small.clock)
    book.tell("proof_failures", "a1", Severity.HIGH, {})

    async def away(work: UnitOfWork) -> None:
        book.tell("proof_failures", "a1", Severity.HIGH, {})
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(small.store, "commit", away)
        with pytest.raises(StoreUnavailable):
            await book.flush()
    await book.flush()
    [alert] = (await desk.list(None, None, 10)).items
    assert alert.count == 2


async def test_an_alert_is_written_at_once_and_what_is_left_at_the_end(small: World) -> None:
    book, desk = AlertBook(small.store, small.clock), AlertDesk(small.store, small.clock)
    task = asyncio.create_task(book.run(interval_s=1000))
    book.tell("proof_failures", "a1", Severity.HIGH, {})
    async with asyncio.timeout(20):
        while not (found := (await desk.list(None, None, 10)).items):  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert found[0].count == 1
    for _ in range(4):  # within the fold: they wait
        book.tell("proof_failures", "a1", Severity.HIGH, {})
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    [alert] = (await desk.list(None, None, 10)).items
    assert alert.count == 5


async def test_an_end_without_a_store_ends_all_the_same(
    small: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = AlertBook(small.store, small.clock)

    async def away(work: UnitOfWork) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(small.store, "commit", away)
    task = asyncio.create_task(book.run(interval_s=0.01))
    book.tell("proof_failures", "a1", Severity.HIGH, {})
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
