"""What only a file can show: its owner, its lock, its damage, a full disk and a killed writer."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.contract.conftest import DIRECTORIES, FixedClock, SqliteDatabase

from cryogate.ports.store import Statement, StoreUnavailable, UnitOfWork
from cryogate.storage import SqliteStore

WRITER = Path(__file__).parent.parent / "support" / "store_writer.py"


def put(jti: str, value: int = 0) -> UnitOfWork:
    return UnitOfWork((Statement("ct_insert", {"client_id": "c", "jti": jti, "value": value}),))


async def keys(store: SqliteStore) -> set[object]:
    return {row["jti"] for row in await store.fetch("ct_all", {"client_id": "c"})}


def writer(path: Path, mode: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, WRITER, path, mode], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


@pytest.mark.attack("S1")
async def test_no_file_can_be_read_by_others(sqlite_database: SqliteDatabase) -> None:
    before = os.umask(0)
    try:
        sqlite_database.path.touch(0o666)
        store = sqlite_database.store()
        await store.open()
        await store.commit(put("a"))
    finally:
        os.umask(before)
    found = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in sqlite_database.path.parent.iterdir()
    }
    await store.close()
    assert found == {f"store.db{suffix}": 0o600 for suffix in ("", "-wal", "-shm", ".lock")}


async def test_a_second_opener_is_refused(sqlite_database: SqliteDatabase) -> None:
    store = sqlite_database.store()
    await store.open()
    with pytest.raises(StoreUnavailable, match=f"in use by process {os.getpid()}"):
        await sqlite_database.store().open()
    with writer(sqlite_database.path, "stream") as other:
        assert other.stdout is not None
        refusal = other.stdout.read()
    assert f"in use by process {os.getpid()}" in refusal
    assert "PostgreSQL" in refusal
    await store.commit(put("a"))
    await store.close()
    again = sqlite_database.store()
    await again.open()
    assert await keys(again) == {"a"}
    await again.close()


async def test_a_file_that_is_no_database_is_refused_unchanged(
    sqlite_database: SqliteDatabase,
) -> None:
    sqlite_database.path.write_bytes(b"not a database at all" * 500)
    before = sqlite_database.path.read_bytes()
    with pytest.raises(StoreUnavailable, match="Restore a backup"):
        await sqlite_database.store().open()
    assert sqlite_database.path.read_bytes() == before


async def test_a_damaged_page_is_found_when_the_store_opens(
    sqlite_database: SqliteDatabase,
) -> None:
    store = sqlite_database.store()
    await store.open()
    await asyncio.gather(*(store.commit(put("k" * 200 + str(n))) for n in range(200)))
    await store.close()
    with sqlite_database.path.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096 * 3)
    with pytest.raises(StoreUnavailable, match="damaged"):
        await sqlite_database.store().open()
    # The lock is not left behind by a store that could not open.
    with pytest.raises(StoreUnavailable, match="damaged"):
        await sqlite_database.store().open()


async def test_a_foreign_write_lock_is_waited_for(sqlite_database: SqliteDatabase) -> None:
    store = sqlite_database.store()
    await store.open()
    foreign = sqlite3.connect(sqlite_database.path, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    task = asyncio.create_task(store.commit(put("a")))
    # Ample for a commit; while the lock is held there can be none, however long this is.
    await asyncio.wait([task], timeout=0.1)
    assert not task.done()
    foreign.execute("ROLLBACK")
    foreign.close()
    await task
    assert await keys(store) == {"a"}
    await store.close()


async def test_a_foreign_write_lock_is_not_waited_for_for_ever(
    sqlite_database: SqliteDatabase,
) -> None:
    store = SqliteStore(
        sqlite_database.path, FixedClock(), sql_directories=DIRECTORIES, busy_timeout_s=0.01
    )
    await store.open()
    foreign = sqlite3.connect(sqlite_database.path, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        await store.commit(put("a"))
    foreign.close()
    await store.commit(put("b"))
    assert await keys(store) == {"b"}
    await store.close()


async def test_the_log_is_folded_into_the_file_while_work_goes_on(
    sqlite_database: SqliteDatabase,
) -> None:
    store = sqlite_database.store()
    await store.open()
    before = sqlite_database.path.stat().st_size
    await asyncio.gather(*(store.commit(put(f"{'k' * 100}{number}")) for number in range(2_200)))
    assert sqlite_database.path.stat().st_size > before
    assert len(await keys(store)) == 2_200
    await store.close()


async def test_a_program_error_in_a_batch_still_answers(sqlite_database: SqliteDatabase) -> None:
    store = sqlite_database.store()
    await store.open()
    assert store._commits is not None
    writing = store._commits._writer
    assert writing is not None
    writing.close()
    with pytest.raises(StoreUnavailable):
        await store.commit(put("a"))
    await store.commit(put("b"))
    assert await keys(store) == {"b"}
    await store.close()


@pytest.mark.attack("L3", "B2")
async def test_kill_9_loses_no_acknowledged_unit(sqlite_database: SqliteDatabase) -> None:
    process = writer(sqlite_database.path, "stream")
    assert process.stdout is not None
    acknowledged = {process.stdout.readline().strip() for _ in range(300)}
    process.send_signal(signal.SIGKILL)
    # What was in the pipe had been acknowledged too; a line cut short had not been written whole.
    rest = process.stdout.read()
    acknowledged |= set(rest[: rest.rfind("\n") + 1].split())
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    assert len(acknowledged) >= 300
    store = sqlite_database.store()
    await store.open()
    found = await keys(store)
    events = await store.fetch("ct_events", {})
    await store.close()
    assert acknowledged <= found
    assert len(events) == len(found)


@pytest.mark.attack("L3")
async def test_a_full_disk_acknowledges_nothing_and_the_store_recovers(
    sqlite_database: SqliteDatabase,
) -> None:
    with writer(sqlite_database.path, "full") as process:
        assert process.stdout is not None
        told = process.stdout.read().split()
    assert process.returncode == 0
    outcomes = dict(line.split("=") for line in told)
    assert outcomes["first"] == "ok"
    full = {key for key, outcome in outcomes.items() if key.startswith("big")}
    refused = {key for key in full if outcomes[key] == "StoreUnavailable"}
    assert full == refused
    assert outcomes["after"] == "ok"
    store = sqlite_database.store()
    await store.open()
    assert await keys(store) == {"first", "after"}
    await store.close()
