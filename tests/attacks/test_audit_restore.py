"""A database that was set back, rewritten or swapped cannot go on as the same log (L2)."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.audit import ORIGIN, Deployment, record, signer

from cryogate.audit.checkpoint import Checkpoint, sign_checkpoint
from cryogate.audit.errors import LogIntegrityError
from cryogate.audit.heads import FileHeadStore
from cryogate.audit.log import AuditLog
from cryogate.audit.merkle import leaf_hash

pytestmark = pytest.mark.attack("L2")


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path)


async def grow(deployment: Deployment, count: int, first: int = 0) -> None:
    async with deployment.running() as (store, _):
        await record(store, count, first)


async def refused(deployment: Deployment, match: str) -> None:
    before = await deployment.heads.read()
    async with deployment.store() as store:
        with pytest.raises(LogIntegrityError, match=match):
            await deployment.log(store).start()
        rows = await store.fetch("log_newest_checkpoint", {})
    assert await deployment.heads.read() == before, rows


def alter(deployment: Deployment, sql: str, *values: str) -> None:
    with closing(sqlite3.connect(deployment.database)) as connection:
        assert connection.execute(sql, values).rowcount > 0
        connection.commit()


async def test_a_restored_backup_is_refused(deployment: Deployment) -> None:
    await grow(deployment, 300)
    backup = deployment.directory / "backup.db"
    shutil.copy(deployment.database, backup)
    await grow(deployment, 5, first=300)
    shutil.copy(backup, deployment.database)
    await refused(deployment, "holds 300 log entries, but a head over 305")


async def test_a_backup_that_grew_past_the_head_is_refused(deployment: Deployment) -> None:
    await grow(deployment, 300)
    backup = deployment.directory / "backup.db"
    shutil.copy(deployment.database, backup)
    await grow(deployment, 5, first=300)
    shutil.copy(backup, deployment.database)
    # Somebody lets it run with another head directory first, until it is longer.
    kept, deployment.heads = deployment.heads, FileHeadStore(deployment.directory / "other")
    async with deployment.store() as store:
        log = deployment.log(store)
        await log.start(insecure_adopt_head=True)
        await record(store, 40, first=1000)
        await log.close()
    deployment.heads = kept
    await refused(deployment, "are not the ones that were signed")


async def test_a_lost_head_is_noticed_and_adopted_only_on_demand(deployment: Deployment) -> None:
    await grow(deployment, 12)
    shutil.rmtree(deployment.directory / "heads")
    await refused(deployment, "second copy of its head is gone")
    async with deployment.store() as store:
        log = deployment.log(store)
        await log.start(insecure_adopt_head=True)
        assert log.published_size == 12
        await log.close()
    await grow(deployment, 3, first=12)


async def test_an_emptied_database_is_refused(deployment: Deployment) -> None:
    await grow(deployment, 12)
    for path in deployment.directory.glob("cryogate.db*"):
        path.unlink()
    await refused(deployment, "holds 0 log entries, but a head over 12")


@pytest.mark.attack("L1")
@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE events SET leaf_hash = printf('%064d', 0) WHERE seq = 257",
        "UPDATE events SET leaf_hash = printf('%064d', 0) WHERE seq = 299",
        "UPDATE log_nodes SET hash = printf('%064d', 0) WHERE level = 8 AND position = 0",
        "DELETE FROM events WHERE seq = 299",
        "DELETE FROM events WHERE seq = 270",
        "DELETE FROM log_nodes WHERE level = 8",
        "UPDATE events SET leaf_hash = 'x' WHERE seq = 298",
    ],
)
async def test_changed_hashes_on_the_way_to_the_head_are_refused(
    deployment: Deployment, sql: str
) -> None:
    await grow(deployment, 300)
    alter(deployment, sql)
    await refused(deployment, r"signed|lacks|holds|is not a SHA-256")


async def test_a_head_by_another_key_is_refused(deployment: Deployment) -> None:
    await grow(deployment, 12)
    deployment.signer = signer(2)
    await refused(deployment, "not one that this log signed")


async def test_a_forged_head_in_the_second_store_is_refused(deployment: Deployment) -> None:
    await grow(deployment, 12)
    forged = sign_checkpoint(Checkpoint(ORIGIN, 5, leaf_hash(b"")), signer(2))
    (deployment.directory / "heads" / "head").write_bytes(forged)
    await refused(deployment, "not one that this log signed")


@pytest.mark.attack("L1")
async def test_a_forged_checkpoint_in_the_database_is_refused(deployment: Deployment) -> None:
    await grow(deployment, 12)
    forged = sign_checkpoint(Checkpoint(ORIGIN, 12, leaf_hash(b"")), signer(2)).decode()
    alter(deployment, "UPDATE checkpoints SET note = ? WHERE size = 12", forged)
    await refused(deployment, "not one that this log signed")


@pytest.mark.attack("L1")
async def test_an_event_altered_before_it_is_signed_stops_the_log(deployment: Deployment) -> None:
    await grow(deployment, 12)
    async with deployment.store() as store:
        log = deployment.log(store)
        await log.start()
        await record(store, 3, first=12)
        await log.sequence_now()
    alter(deployment, "UPDATE events SET body = replace(body, '1000', '9000') WHERE seq = 13")
    await refused(deployment, "entry 13 was altered")


@pytest.mark.attack("L1")
async def test_a_waiting_event_that_is_not_canonical_stops_the_log(deployment: Deployment) -> None:
    async with deployment.running() as (store, _):
        await record(store, 3)
    async with deployment.store() as store:
        await record(store, 1)
    alter(deployment, "UPDATE events SET body = replace(body, ':', ' :') WHERE seq IS NULL")
    async with deployment.store() as store:
        log: AuditLog = deployment.log(store)
        await log.start()
        with pytest.raises(LogIntegrityError, match="not canonical"):
            await log.sequence_now()
        with pytest.raises(LogIntegrityError, match="not canonical"):
            await log.run()
        assert log.trouble is not None


async def test_a_head_store_behind_the_database_is_brought_up(deployment: Deployment) -> None:
    await grow(deployment, 12)
    old = await deployment.heads.read()
    await grow(deployment, 12, first=12)
    assert old is not None
    (deployment.directory / "heads" / "head").write_bytes(old)
    async with deployment.running() as (_, log):
        assert log.published_size == 24
        assert await deployment.heads.read() == log.checkpoint()
