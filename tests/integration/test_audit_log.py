"""The sequencer on both databases."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

import pytest
from tests.support.audit import ORIGIN, PlainSealer, event, record, signer

from cryogate.audit import keys
from cryogate.audit.checkpoint import open_checkpoint
from cryogate.audit.errors import LogIntegrityError, NotInLog
from cryogate.audit.heads import FileHeadStore
from cryogate.audit.log import BATCH, AuditLog
from cryogate.audit.merkle import leaf_hash, root_of, verify_consistency
from cryogate.ports.audit import leaf_bytes
from cryogate.ports.store import Row, SqlValue, Store, StoreUnavailable, UnitOfWork
from cryogate.storage import PostgresStore, SqliteStore
from cryogate.testing.clock import FakeClock

NewLog = Callable[[Store], AuditLog]


@pytest.fixture(params=["sqlite", "postgres"])
def unopened(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "sqlite":
        return SqliteStore(tmp_path / "log.db", FakeClock())
    return PostgresStore(request.getfixturevalue("postgres_dsn"), FakeClock())


@pytest.fixture
async def store(unopened: Store) -> AsyncIterator[Store]:
    await unopened.open()
    yield unopened
    await unopened.close()


async def until(condition: Callable[[], bool]) -> None:
    """Give a background task its turns until it has done something, or fail after ten seconds."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it never happened")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def new_log(tmp_path: Path, clock: FakeClock) -> NewLog:
    """Makes logs that share one head directory, as several processes do."""
    return lambda store: AuditLog(store, clock, signer(), FileHeadStore(tmp_path / "heads"), ORIGIN)


async def leaves(store: Store) -> list[bytes]:
    """Leaf hashes computed from the stored bodies alone, by the port's own definition."""
    rows = await store.fetch("log_entries", {"first": 0, "past": 2**40})
    assert [row["seq"] for row in rows] == list(range(len(rows)))
    return [leaf_hash(leaf_bytes(str(r["body"]).encode(), n)) for n, r in enumerate(rows)]


async def test_events_get_consecutive_places_and_the_head_signs_them(
    store: Store, new_log: NewLog
) -> None:
    log = new_log(store)
    await log.start()
    await record(store, 600)
    assert await log.sequence_now() == 600
    assert await log.sequence_now() == 0
    await record(store, 7, first=600)
    assert await log.sequence_now() == 7
    note = await log.checkpoint_now()
    head = open_checkpoint(note, [log.verifier], ORIGIN)
    hashes = await leaves(store)
    assert head.size == log.published_size == 607
    assert head.root == root_of(hashes)
    assert log.checkpoint() == note
    rows = await store.fetch("log_checkpoints", {"first": 0, "past": 10_000})
    assert [(row["size"], row["note"]) for row in rows] == [(607, note.decode())]


async def test_order_is_that_of_recording(store: Store, new_log: NewLog) -> None:
    log = new_log(store)
    await log.start()
    for n in (3, 1, 2):
        await store.commit(UnitOfWork((), (event(n),)))
    await log.sequence_now()
    jobs = [json.loads(entry.data)["job_id"][-1] for entry in await log.events()]
    assert jobs == ["3", "1", "2"]


async def test_every_entry_of_a_log_has_a_proof(store: Store, new_log: NewLog) -> None:
    log = new_log(store)
    await log.start()
    total = 2 * BATCH + 45
    await record(store, total)
    await log.sequence_now()
    note = await log.checkpoint_now()
    head = open_checkpoint(note, [log.verifier], ORIGIN)
    hashes = await leaves(store)
    entries = await log.events(limit=1000)
    for seq in (0, 1, 255, 256, 300, 511, 512, total - 1):
        proof = await log.inclusion_proof(seq)
        assert proof.checkpoint == note
        assert proof.holds(entries[seq].data, head.root)
        assert not proof.holds(entries[seq].data + b" ", head.root)
        small = await log.inclusion_proof(seq, seq + 1)
        assert small.checkpoint is None or seq + 1 == total
        assert small.holds(entries[seq].data, root_of(hashes[: seq + 1]))
    for old in (1, 2, 255, 256, 257, 512, total):
        proof_hashes = await log.consistency_proof(old)
        assert verify_consistency(old, total, proof_hashes, root_of(hashes[:old]), head.root)


async def test_nothing_is_proved_that_no_head_covers(store: Store, new_log: NewLog) -> None:
    log = new_log(store)
    await log.start()
    await record(store, 5)
    await log.sequence_now()
    with pytest.raises(NotInLog):
        await log.inclusion_proof(0)
    await log.checkpoint_now()
    for seq, size in ((5, None), (-1, None), (0, 6), (3, 3)):
        with pytest.raises(NotInLog):
            await log.inclusion_proof(seq, size)
    for old, new in ((0, 5), (3, 2), (1, 6)):
        with pytest.raises(NotInLog):
            await log.consistency_proof(old, new)


async def test_a_restarted_log_goes_on_where_it_was(store: Store, new_log: NewLog) -> None:
    note = b""
    for round_ in range(4):
        log = new_log(store)
        await log.start()
        assert log.checkpoint() == note or round_ == 0
        await record(store, 301, first=round_ * 1000)
        await log.close()
        note = log.checkpoint() or b""
        assert log.published_size == 301 * (round_ + 1)
    head = open_checkpoint(note, [signer().verifier()], ORIGIN)
    assert head.root == root_of(await leaves(store))


async def test_two_sequencers_on_one_database_never_contradict_each_other(
    store: Store, new_log: NewLog
) -> None:
    one, two = new_log(store), new_log(store)
    await asyncio.gather(one.start(), two.start())
    for round_ in range(6):
        await record(store, 130, first=round_ * 1000)
        await asyncio.gather(one.sequence_now(), two.sequence_now())
        await asyncio.gather(one.checkpoint_now(), two.checkpoint_now())
    await asyncio.gather(one.checkpoint_now(), two.checkpoint_now())
    assert one.checkpoint() == two.checkpoint()
    head = open_checkpoint(one.checkpoint() or b"", [one.verifier], ORIGIN)
    hashes = await leaves(store)
    assert head.size == len(hashes) == 780
    assert head.root == root_of(hashes)
    for row in await store.fetch("log_checkpoints", {"first": 0, "past": 10_000}):
        kept = open_checkpoint(str(row["note"]).encode(), [one.verifier], ORIGIN)
        assert kept.root == root_of(hashes[: kept.size])


async def test_a_stale_sequencer_changes_nothing_and_catches_up(
    store: Store, new_log: NewLog
) -> None:
    stale, fresh = new_log(store), new_log(store)
    await stale.start()
    await fresh.start()
    await record(store, 300)
    await fresh.sequence_now()
    await record(store, 10, first=300)
    assert await stale.sequence_now() == 10
    note = await stale.checkpoint_now()
    assert open_checkpoint(note, [stale.verifier]).root == root_of(await leaves(store))


async def test_heads_are_at_most_one_a_second_and_only_for_new_events(
    store: Store, new_log: NewLog, clock: FakeClock
) -> None:
    log = new_log(store)
    await log.start()
    seen = []
    for n in range(10):
        await record(store, 1, first=n)
        await log.tick()
        seen.append(log.published_size)
        clock.advance(ms=250)
    assert seen == [1, 1, 1, 1, 5, 5, 5, 5, 9, 9]
    clock.advance(s=5)
    await log.tick()
    note = log.checkpoint()
    clock.advance(s=5)
    await log.tick()
    assert log.checkpoint() == note
    rows = await store.fetch("log_checkpoints", {"first": 0, "past": 10_000})
    assert [row["size"] for row in rows] == [1, 5, 9, 10]


async def test_run_sequences_on_a_poke_and_closes_with_a_head(
    store: Store, new_log: NewLog
) -> None:
    log = new_log(store)
    await log.start()
    running = asyncio.create_task(log.run())
    await record(store, 3)
    log.poke()
    await until(lambda: log.published_size == 3)
    await record(store, 4, first=3)
    await log.close()
    await running
    assert log.published_size == 7
    assert log.trouble is None


class Flaky(SqliteStore):
    """Says that a commit failed: before it, or after it was done."""

    fail: str = ""

    async def fetch(self, query: str, params: Mapping[str, SqlValue]) -> Sequence[Row]:
        if self.fail == "defect":
            raise RuntimeError
        if self.fail == "fetch":
            raise StoreUnavailable("no answer")
        return await super().fetch(query, params)

    async def commit(self, work: UnitOfWork) -> Sequence[Sequence[Row]]:
        if self.fail == "before":
            raise StoreUnavailable("no answer")
        rows = await super().commit(work)
        if self.fail == "after":
            raise StoreUnavailable("no answer")
        return rows


async def flaky(tmp_path: Path) -> Flaky:
    store = Flaky(tmp_path / "flaky.db", FakeClock())
    await store.open()
    return store


@pytest.mark.attack("L3")
@pytest.mark.parametrize("when", ["before", "after", "fetch"])
async def test_a_lost_answer_neither_loses_nor_doubles_an_event(
    tmp_path: Path, new_log: NewLog, when: str
) -> None:
    store = await flaky(tmp_path)
    log = new_log(store)
    await log.start()
    await record(store, 20)
    store.fail = when
    with pytest.raises(StoreUnavailable):
        await log.sequence_now()
    store.fail = ""
    await log.sequence_now()
    await record(store, 5, first=20)
    await log.sequence_now()
    store.fail = when
    with pytest.raises(StoreUnavailable):
        await log.checkpoint_now()
    store.fail = ""
    await log.checkpoint_now()
    head = open_checkpoint(log.checkpoint() or b"", [log.verifier])
    assert (head.size, head.root) == (25, root_of(await leaves(store)))
    await store.close()


@pytest.mark.attack("L3")
async def test_run_outlives_an_unreachable_database_and_says_so(
    tmp_path: Path, new_log: NewLog
) -> None:
    store = await flaky(tmp_path)
    log = new_log(store)
    await log.start()
    await record(store, 2)
    store.fail = "fetch"
    running = asyncio.create_task(log.run())
    log.poke()
    await until(lambda: log.trouble is not None)
    store.fail = ""
    await until(lambda: log.trouble is None)
    await log.close()
    await running
    assert log.published_size == 2
    await store.close()


@pytest.mark.attack("L3")
async def test_run_that_ends_by_a_defect_leaves_its_trouble_behind(
    tmp_path: Path, new_log: NewLog
) -> None:
    store = await flaky(tmp_path)
    log = new_log(store)
    await log.start()
    store.fail = "defect"
    with pytest.raises(RuntimeError):
        await log.run()
    assert log.trouble == "RuntimeError"
    await store.close()


async def test_the_key_is_made_once_and_opened_again(store: Store, clock: FakeClock) -> None:
    sealer = PlainSealer()
    made = await asyncio.gather(
        *(keys.load_or_create(store, sealer, clock, ORIGIN) for _ in range(3))
    )
    again = await keys.load_or_create(store, sealer, clock, ORIGIN)
    assert len({key.verifier().vkey() for key in [*made, again]}) == 1
    assert again.verifier().verify(b"text", made[0].sign(b"text").signature)
    waiting = await store.fetch("log_unsequenced", {"count": 10})
    assert [json.loads(str(row["body"]))["action"] for row in waiting] == ["audit.key_create"]


@pytest.mark.attack("L1")
async def test_no_new_key_takes_the_place_of_one_that_cannot_be_opened(
    store: Store, clock: FakeClock
) -> None:
    await keys.load_or_create(store, PlainSealer(), clock, ORIGIN)
    with pytest.raises(LogIntegrityError, match="No new key was made"):
        await keys.load_or_create(store, PlainSealer(b"o" * 32), clock, ORIGIN)
    # Another log in the same database has a key of its own.
    other = await keys.load_or_create(store, PlainSealer(b"o" * 32), clock, "cryogate.test/2")
    assert other.verifier().name == "cryogate.test/2"
