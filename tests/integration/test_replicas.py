"""Three replicas over a real PostgreSQL: a revocation arrives, and whoever is cut off refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest
from tests.support.broker import Ticks, World, postgres_world

from cryogate.broker.replicas import Replicas, monotonic_ms
from cryogate.broker.revocation_view import CHANNEL, FollowedRevocations
from cryogate.broker.revoke import RevocationService
from cryogate.ports.revocations import RevokedKind, StaleRevocations, Subject
from cryogate.ports.store import Row, SqlValue, Store, StoreUnavailable, UnitOfWork
from cryogate.storage import PostgresStore
from cryogate.storage.notices import PostgresNotices
from cryogate.testing.clock import FakeClock

FAR_S = 3600.0


class Cable(Store):
    """A real store whose cable can be pulled."""

    def __init__(self, inner: PostgresStore) -> None:
        self.inner = inner
        self.pulled = False
        self.no_writes = False

    async def open(self) -> None:
        await self.inner.open()

    async def close(self) -> None:
        await self.inner.close()

    async def fetch(self, query: str, params: Mapping[str, SqlValue]) -> Sequence[Row]:
        if self.pulled:
            raise StoreUnavailable("no cable")
        return await self.inner.fetch(query, params)

    async def commit(self, work: UnitOfWork) -> Sequence[Sequence[Row]]:
        if self.pulled or self.no_writes:
            raise StoreUnavailable("no cable")
        return await self.inner.commit(work)


class Replica:
    """One process's view, its row, and what it hears of others."""

    def __init__(self, dsn: str, world: World, name: str, bound_ms: int, ticks: Ticks | None):
        self.store = Cable(PostgresStore(dsn, world.clock))
        clock = ticks or monotonic_ms
        self.replicas = Replicas(self.store, world.clock, name, bound_ms, monotonic_ms=clock)
        self.view = FollowedRevocations(
            self.store, world.clock, max_age_ms=bound_ms, replicas=self.replicas,
            monotonic_ms=clock,
        )  # fmt: skip
        self.service = RevocationService(
            self.store, self.view, world.clock, world.clients, (world.gateway, world.admin),
            self.replicas,
        )  # fmt: skip
        self.notices = PostgresNotices(dsn)
        self.heard = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self.store.open()
        await self.view.refresh()

    def hear(self, text: str) -> None:
        self.view.heard(text)
        self.heard.set()

    async def follow(self, interval_s: float) -> None:
        self.tasks = [
            asyncio.create_task(self.notices.listen(CHANNEL, self.hear)),
            asyncio.create_task(self.view.follow(interval_s)),
        ]
        async with asyncio.timeout(20):
            await self.heard.wait()

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.store.close()


@asynccontextmanager
async def replicas(
    world: World, dsn: str, *, bound_ms: int = 2000, interval_s: float = FAR_S,
    ticks: Ticks | None = None, count: int = 3,
) -> AsyncIterator[list[Replica]]:  # fmt: skip
    made = [Replica(dsn, world, f"r{n}", bound_ms, ticks) for n in range(count)]
    try:
        for one in made:
            await one.start()
            await one.follow(interval_s)
        yield made
    finally:
        for one in made:
            await one.stop()


def refuses(replica: Replica, subject: Subject) -> bool:
    """Because it knows, or because on a busy machine it has not looked for too long."""
    try:
        return replica.view.revoked(subject) is not None
    except StaleRevocations:
        return True


@pytest.fixture
async def world(postgres_dsn: str) -> AsyncIterator[World]:
    async with postgres_world(postgres_dsn) as made:
        yield made


@pytest.mark.attack("R1")
async def test_after_waiting_for_all_no_replica_accepts(world: World, postgres_dsn: str) -> None:
    """Nobody polls here: it is NOTIFY that carries it, and the row that confirms it."""
    async with replicas(world, postgres_dsn, bound_ms=60_000) as (one, two, three):
        for kind, name in ((RevokedKind.OWNER, "alice@example.com"), (RevokedKind.ALL, "*")):
            subject = world.subject((await world.token()).access_token)
            assert [r.view.revoked(subject) for r in (one, two, three)] == [None] * 3
            done = await one.service.revoke(kind, name, "stop", "root", wait_for_all=True)
            assert done.reach is not None
            assert done.reach.enforcing == ("r0", "r1", "r2")
            assert done.reach.refusing == ()
            assert [r.view.revoked(subject) for r in (one, two, three)] == [kind] * 3
            await world.registry.update_agent("a1", actor="root", active=True)
            await world.view.refresh()


@pytest.mark.attack("R3")
async def test_a_replica_cut_from_the_feed_refuses_within_its_bound(
    world: World, postgres_dsn: str
) -> None:
    ticks = Ticks()
    async with replicas(world, postgres_dsn, ticks=ticks) as (one, _, three):
        subject = world.subject((await world.token()).access_token)
        three.store.pulled = True
        three.tasks[0].cancel()
        await one.service.revoke(RevokedKind.AGENT, "a1", "stop", "root")
        with pytest.raises(StoreUnavailable):
            await three.view.refresh()
        ticks.ms += 2000
        assert three.view.revoked(subject) is None  # within its bound it does not know better
        ticks.ms += 1
        with pytest.raises(StaleRevocations):
            three.view.revoked(subject)
        three.store.pulled = False
        await three.view.refresh()
        assert three.view.revoked(subject) is RevokedKind.AGENT


@pytest.mark.attack("R1", "R3")
async def test_waiting_for_all_ends_when_the_silent_one_refuses(
    world: World, postgres_dsn: str
) -> None:
    async with replicas(world, postgres_dsn, bound_ms=1200, interval_s=0.05) as (one, two, three):
        subject = world.subject((await world.token()).access_token)
        three.store.pulled = True
        three.tasks[0].cancel()
        done = await one.service.revoke(RevokedKind.AGENT, "a1", "stop", "root", wait_for_all=True)
        assert done.reach is not None
        assert "r2" in done.reach.refusing
        assert refuses(two, subject)
        with pytest.raises(StaleRevocations):
            three.view.revoked(subject)
        # It was taken for dead, so it is not waited for again …
        assert "r2" not in [info.replica_id for info in await one.replicas.all()]
        # … and when it comes back it is known before it accepts anything.
        three.store.pulled = False
        await three.view.refresh()
        assert three.view.revoked(subject) is RevokedKind.AGENT
        assert "r2" in [info.replica_id for info in await one.replicas.all()]


@pytest.mark.attack("R3")
async def test_who_cannot_tell_what_it_enforces_refuses(world: World, postgres_dsn: str) -> None:
    ticks = Ticks()
    async with replicas(world, postgres_dsn, ticks=ticks, count=1) as (one,):
        subject = world.subject((await world.token()).access_token)
        one.store.no_writes = True  # reads go on, as on a database that is read only
        ticks.ms += 499
        await one.view.refresh()
        assert one.view.revoked(subject) is None
        ticks.ms += 1
        with pytest.raises(StoreUnavailable):
            await one.view.refresh()
        ticks.ms += 2000
        with pytest.raises(StaleRevocations):
            one.view.revoked(subject)


async def test_who_was_taken_for_dead_reads_again_before_it_accepts(
    world: World, postgres_dsn: str
) -> None:
    async with replicas(world, postgres_dsn, count=2) as (one, two):
        subject = world.subject((await world.token()).access_token)
        for task in two.tasks:
            task.cancel()
        await asyncio.gather(*two.tasks, return_exceptions=True)
        await two.replicas.leave()
        await one.service.revoke(RevokedKind.AGENT, "a1", "stop", "root")
        await two.view.refresh()  # has something to confirm, and finds its row gone
        with pytest.raises(StaleRevocations):
            two.view.revoked(subject)
        await two.view.refresh()
        assert two.view.revoked(subject) is RevokedKind.AGENT


async def test_a_feed_whose_newest_entry_is_over_is_still_read_to_its_end(
    world: World, postgres_dsn: str
) -> None:
    async with replicas(world, postgres_dsn, count=2) as (one, two):
        token = (await world.token()).access_token
        await one.service.revoke(RevokedKind.TOKEN, world.subject(token).token_id, "r", "root")
        world.clock.advance(s=2 * 86_400)
        for replica in (one, two):
            await replica.view.refresh()
        newest = one.view.enforced_seq
        assert newest > 0
        assert two.view.enforced_seq == newest
        fresh = Replica(postgres_dsn, world, "late", 2000, None)
        await fresh.start()
        assert fresh.view.enforced_seq == newest
        await fresh.stop()


async def test_notices_are_heard_again_after_the_connection_breaks(
    world: World, postgres_dsn: str
) -> None:
    import asyncpg

    async with replicas(world, postgres_dsn, bound_ms=60_000, count=2) as (one, two):
        subject = world.subject((await world.token()).access_token)
        two.heard.clear()
        connection = await asyncpg.connect(postgres_dsn)
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'cryogate notices'"
        )
        await connection.close()
        async with asyncio.timeout(30):
            await two.heard.wait()
        await one.service.revoke(RevokedKind.AGENT, "a1", "r", "root", wait_for_all=True)
        assert two.view.revoked(subject) is RevokedKind.AGENT


@pytest.mark.parametrize(
    "payload", ["", "[]", "{}", "[1,2,3,4,5]", '["1","agent","a",1,2]', '[1,"x","a",1,2]',
                '[1,"agent","a",-1,2]', '[1,"agent","a",1,2,3]', "\ud800"],
)  # fmt: skip
async def test_a_notice_that_is_none_only_wakes(payload: str, postgres_dsn: str) -> None:
    clock = FakeClock()
    view = FollowedRevocations(PostgresStore(postgres_dsn, clock), clock)
    view.heard(payload)
    assert not any(view._known.values())


async def test_a_notice_is_enforced_before_the_feed_is_read(world: World) -> None:
    told: list[int] = []
    world.view.subscribe(lambda: told.append(1))
    world.view.heard('[9,"agent","a1",2000000000000,2000000000001]')
    assert world.view.revoked(Subject("t", "a1", "o", "e", 1)) is RevokedKind.AGENT
    assert told == [1]
    assert world.view.enforced_seq < 9
