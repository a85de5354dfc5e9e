"""Pruning, and the sweep of old heads, on both drivers: what goes, what stays, what is found."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.contract.conftest import Database
from tests.support.audit import ORIGIN, PlainSealer, signer

from cryogate.audit.errors import LogIntegrityError, NotInLog
from cryogate.audit.export import export_log
from cryogate.audit.heads import FileHeadStore
from cryogate.audit.log import AuditLog
from cryogate.audit.opening import Opener
from cryogate.audit.pruning import Pruner
from cryogate.audit.reading import pruned_before, told_first
from cryogate.audit.receipts import Receipts
from cryogate.audit.remote import RemoteSource
from cryogate.audit.sealing import SealingStore
from cryogate.audit.sources import DirectorySource, StoreSource
from cryogate.audit.sweeping import HeadSweeper
from cryogate.audit.tiles import TileServer
from cryogate.audit.verify import VerifyReport, verify_log
from cryogate.domain.errors import Conflict
from cryogate.domain.events import Event, Outcome
from cryogate.domain.ids import JOB, new_id
from cryogate.ports.retention import DAY_MS, RetentionPolicy
from cryogate.ports.store import UnitOfWork
from cryogate.testing.clock import FakeClock

POLICY = RetentionPolicy(200, 183, "the board", "six months and a bit", (), "ab" * 32)
HOUR = 3_600_000


class World:
    def __init__(self, database: Database, folder: Path) -> None:
        self.database, self.folder = database, folder
        self.clock = FakeClock()
        self.store = SealingStore(database.store(), PlainSealer(), self.clock)
        self.heads = FileHeadStore(folder / "heads")
        self.log = AuditLog(self.store, self.clock, signer(), self.heads, ORIGIN)
        self.jobs: list[str] = []

    async def tell(self, count: int, **fields: Any) -> None:
        """``count`` events, each of a job of its own, and a head over them."""
        events = []
        for _ in range(count):
            self.jobs.append(new_id(JOB))
            known: dict[str, Any] = {"experiment_id": "ghz", "job_id": self.jobs[-1]}
            events.append(
                Event(
                    timestamp_ms=self.clock.now_ms(), action="job.accepted",
                    outcome=Outcome.INTENT, **{**known, **fields},
                )
            )  # fmt: skip
        await self.store.commit(UnitOfWork((), tuple(events)))
        await self.log.sequence_now()
        await self.log.checkpoint_now()

    def pruner(self, policy: RetentionPolicy | None = POLICY, *sinks: str) -> Pruner:
        return Pruner(self.store, self.log, self.clock, policy, sinks)

    async def verify(self, folder: Path | None = None) -> VerifyReport:
        source = StoreSource(self.store) if folder is None else DirectorySource(folder)
        return await verify_log(source, [signer().verifier()])

    async def export(self, name: str = "export") -> Path:
        head = self.log.checkpoint()
        assert head is not None
        await export_log(self.store, head, [signer().verifier()], self.folder / name)
        return self.folder / name

    async def old_and_young(self) -> None:
        """600 entries that may go and 100 that may not."""
        await self.tell(600)
        self.clock.advance(201 * DAY_MS)
        await self.tell(100)


def read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[World]:
    made = World(database, tmp_path)
    await made.store.open()
    await made.log.start()
    yield made
    await made.log.close()
    await made.store.close()


async def test_no_policy_no_pruning(world: World) -> None:
    await world.old_and_young()
    for step in (world.pruner(None).plan(), world.pruner(None).prune("operator:a")):
        with pytest.raises(Conflict, match="written policy"):
            await step


def test_a_policy_below_the_legal_minimum_cannot_be_made() -> None:
    for keep, least in ((182, 183), (200, 100), (190, 200), (0, 0)):
        with pytest.raises(ValueError, match="legal minimum"):
            replace(POLICY, keep_days=keep, legal_minimum_days=least)


async def test_only_whole_bundles_of_old_entries_go(world: World) -> None:
    await world.old_and_young()
    plan = await world.pruner().plan()
    assert (plan.first, plan.past, plan.held_by) == (0, 512, "keep_days")
    assert await pruned_before(world.store) == 0  # a plan does nothing
    assert await world.pruner().prune("operator:a") == plan
    assert await pruned_before(world.store) == 512
    rows = await world.database.run("SELECT seq, body, leaf_hash FROM events ORDER BY seq")
    assert all((row[1] == "") is (int(str(row[0])) < 512) for row in rows)
    assert all(row[2] for row in rows)
    again = await world.pruner().prune("operator:a")
    assert (again.first, again.past) == (512, 512)


async def test_a_hold_and_a_sink_that_is_behind_keep_what_they_need(world: World) -> None:
    await world.tell(256)
    await world.tell(256, experiment_id="held")
    world.clock.advance(201 * DAY_MS)
    await world.tell(300)
    held = await world.pruner(replace(POLICY, holds=("held",))).plan()
    assert (held.past, held.held_by) == (256, "hold on held")
    behind = await world.pruner(POLICY, "siem").plan()
    assert (behind.past, behind.held_by) == (0, "sink siem")
    await world.database.run(
        "INSERT INTO sink_places (name, position, holder, lease_ms) VALUES ('siem', 500, '', 0)"
    )
    assert (await world.pruner(POLICY, "siem").plan()).past == 256
    assert (await world.pruner(POLICY).plan()).past == 512


async def test_a_pruned_log_verifies_and_says_from_where(world: World) -> None:
    await world.old_and_young()
    receipts = Receipts(world.store, world.log)
    old = (await receipts.of_job(world.jobs[3])).receipts[0]
    before = await world.verify()
    await world.pruner().prune("operator:a")
    report = await world.verify()
    assert report.ok, report.findings
    assert (before.pruned, report.pruned) == (0, 512)
    assert report.size == before.size + 1  # audit.pruned
    # a receipt from before proves what it proved, to who has the entry
    from cryogate.audit.receipts import parse_proof

    parse_proof(old.proof).verify(old.entry.encode(), [signer().verifier()], ORIGIN)
    # and what is left has proofs as ever
    young = (await receipts.of_job(world.jobs[650])).receipts[0]
    parse_proof(young.proof).verify(young.entry.encode(), [signer().verifier()], ORIGIN)
    assert not (await receipts.of_job(world.jobs[3])).receipts
    # the log goes on, also after a start
    await world.tell(3)
    fresh = AuditLog(world.store, world.clock, signer(), world.heads, ORIGIN)
    await fresh.start()
    assert (await world.verify()).ok


async def test_exports_and_tiles_of_a_pruned_log(world: World) -> None:
    await world.old_and_young()
    whole = await world.export("whole")
    await world.pruner().prune("operator:a")
    rest = await world.export("rest")
    assert (whole / "tile/entries/000").exists()
    assert not (rest / "tile/entries/000").exists()
    assert (rest / "tile/0/000").read_bytes() == (whole / "tile/0/000").read_bytes()
    report = await world.verify(rest)
    assert report.ok, report.findings
    assert report.pruned == 512
    assert (await world.verify(whole)).ok
    # as somebody serves it, and with a pruned bundle of hashes that is not the one
    served = RemoteSource(lambda path: read(rest / path))
    report = await verify_log(served, [signer().verifier()])
    assert (report.ok, report.pruned) == (True, 512)
    lies = RemoteSource(lambda path: read(rest / path.replace("tile/0/000", "tile/0/001")))
    assert not (await verify_log(lies, [signer().verifier()])).ok
    server = TileServer(world.store, world.log.checkpoint)
    assert (await server.get("/tile/0/001")).content
    for path in ("/tile/entries/000", "/tile/entries/001", "/tile/entries/001.p/7"):
        with pytest.raises(NotInLog):
            await server.get(path)
    assert (await server.get("/tile/entries/002.p/88")).content


async def test_what_is_listed_begins_with_what_is_left(world: World) -> None:
    await world.old_and_young()
    await world.pruner().prune("operator:a")
    assert [entry.seq for entry in await world.log.events(-1, 3)] == [512, 513, 514]
    assert [entry.seq for entry in await world.log.events(400, 3)] == [512, 513, 514]
    assert [entry.seq for entry in await world.log.events(698, 9)] == [699, 700]


@pytest.mark.attack("L1")
async def test_texts_that_go_without_the_log_saying_so_are_found(world: World) -> None:
    await world.old_and_young()
    await world.database.run("UPDATE events SET body = '' WHERE seq < 256")
    report = await world.verify()
    assert not report.ok
    assert [(f.kind, f.first, f.last) for f in report.findings] == [("missing_entry", 0, 255)]
    # nor if the mark in the database says so
    await world.database.run("UPDATE log_pruned SET pruned = 256")
    report = await world.verify()
    assert not report.ok
    assert "says nothing" in report.findings[0].detail
    await world.database.run("UPDATE log_pruned SET pruned = 0")
    with pytest.raises(LogIntegrityError):
        await world.log.events(-1, 3)


@pytest.mark.attack("L1")
async def test_more_than_was_pruned_cannot_be_taken_away(world: World) -> None:
    await world.old_and_young()
    await world.pruner().prune("operator:a")
    rest = await world.export("rest")
    (rest / "tile/entries/002.p/189").unlink()
    report = await world.verify(rest)
    assert not report.ok
    await world.database.run("UPDATE events SET body = '' WHERE seq = 600")
    report = await world.verify()
    assert [(f.kind, f.first) for f in report.findings][:1] == [("not_canonical", 600)]
    # the hash of a pruned entry is as safe as its text was
    await world.database.run("UPDATE events SET leaf_hash = leaf_hash || '' WHERE seq = 1")
    await world.database.run(
        "UPDATE events SET leaf_hash = (SELECT leaf_hash FROM events WHERE seq = 2) WHERE seq = 1"
    )
    assert any(f.kind == "root_mismatch" for f in (await world.verify()).findings)


async def test_pruning_buries_no_tampering(world: World) -> None:
    await world.old_and_young()
    await world.database.run(
        "UPDATE events SET body = REPLACE(body, 'job.accepted', 'job.acceptee') WHERE seq = 40"
    )
    with pytest.raises(LogIntegrityError, match="40"):
        await world.pruner().prune("operator:a")
    assert await pruned_before(world.store) == 0


async def test_an_entry_that_is_younger_than_its_row_says_stays(world: World) -> None:
    await world.old_and_young()
    await world.database.run("UPDATE events SET timestamp_ms = 0")
    world.clock.advance(-10 * DAY_MS)
    with pytest.raises(LogIntegrityError, match="younger"):
        await world.pruner().prune("operator:a")


async def test_a_crash_between_the_event_and_the_texts_is_no_lie(world: World) -> None:
    await world.old_and_young()
    await world.pruner().prune("operator:a")
    # as if it had been cut off after the event: the texts are there, and more of them is no harm
    await world.tell(1)
    assert (await world.verify()).ok
    [told] = [entry for entry in await world.log.events(600, 200) if b"audit.pruned" in entry.data]
    assert told_first(told.data.decode()) == 512


@pytest.mark.parametrize(
    "body",
    ["", "{}", '"action":"audit.pruned"', '{"action":"audit.pruned"}',
     '{"action":"audit.pruned","decision_reasons":["new x"]}',
     '{"action":"audit.pruned","decision_reasons":[1]}',
     '{"action":"job.done","purpose":"\\"action\\":\\"audit.pruned\\""}'],
)  # fmt: skip
def test_no_other_entry_says_that_something_was_pruned(body: str) -> None:
    assert told_first(body) == 0


async def test_keys_of_months_that_are_gone_go_too(world: World) -> None:
    people = {"experiment_id": None, "job_id": None, "human_owner": "ada@example.org"}
    await world.tell(512, **people)
    world.clock.advance(201 * DAY_MS)
    await world.tell(300, **people)
    opener = Opener(world.store, world.store.keys)
    scopes = await world.database.run("SELECT scope FROM scope_keys ORDER BY scope")
    assert len(scopes) == 2
    await world.pruner().prune("operator:a")
    kept = await world.database.run(
        "SELECT scope FROM scope_keys WHERE shredded_ms IS NULL ORDER BY scope"
    )
    assert kept == scopes[1:]
    texts = await world.database.run("SELECT DISTINCT scope FROM sealed_texts")
    assert texts == scopes[1:]
    import json

    [entry] = await world.log.events(700, 1)
    [shown] = await opener.clear([json.loads(entry.data)])
    assert shown["human_owner"] == "ada@example.org"


async def test_old_heads_go_and_the_log_verifies_by_those_that_stay(world: World) -> None:
    for step in (60, 60, HOUR, HOUR, DAY_MS, 60, HOUR, 20 * DAY_MS, 60, 15 * DAY_MS, 60):
        await world.tell(2)
        world.clock.advance(step)
    await world.tell(1)
    sweeper = HeadSweeper(world.store, world.clock)
    sizes = [row[0] for row in await world.database.run("SELECT size FROM checkpoints")]
    assert len(sizes) == 12
    await sweeper.sweep()
    left = [r[0] for r in await world.database.run("SELECT size FROM checkpoints ORDER BY size")]
    assert len(left) < len(sizes)
    assert left[-1] == max(int(str(size)) for size in sizes)
    assert (await world.verify()).ok
    await sweeper.sweep()
    await HeadSweeper(world.store, world.clock).sweep()
    again = await world.database.run("SELECT size FROM checkpoints ORDER BY size")
    assert [row[0] for row in again] == left
    fresh = AuditLog(world.store, world.clock, signer(), world.heads, ORIGIN)
    await fresh.start()
