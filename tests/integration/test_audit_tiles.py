"""The log as static resources, from both databases, and verified there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.audit import ORIGIN, record, signer

from cryogate.audit import merkle
from cryogate.audit.errors import LogIntegrityError, NotInLog
from cryogate.audit.heads import FileHeadStore
from cryogate.audit.log import AuditLog
from cryogate.audit.sources import StoreSource
from cryogate.audit.tiles import TilePath, TileServer, decode_bundle, tiles_of
from cryogate.audit.verify import verify_log
from cryogate.ports.store import Store
from cryogate.storage import PostgresStore, SqliteStore
from cryogate.testing.clock import FakeClock

SIZE = 600


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


@pytest.fixture
async def log(store: Store, tmp_path: Path) -> AuditLog:
    made = AuditLog(store, FakeClock(), signer(), FileHeadStore(tmp_path / "heads"), ORIGIN)
    await made.start()
    await record(store, SIZE)
    await made.sequence_now()
    await made.checkpoint_now()
    return made


async def test_tiles_hold_what_the_signed_root_covers(store: Store, log: AuditLog) -> None:
    server = TileServer(store, log.checkpoint)
    rows: dict[int | None, list[bytes]] = {}
    for tile in tiles_of(SIZE):
        resource = await server.get(str(tile))
        assert (resource.content_type, resource.immutable) == ("application/octet-stream", True)
        content = resource.content
        if tile.row is None:
            found = decode_bundle(content)
        else:
            found = [content[i : i + 32] for i in range(0, len(content), 32)]
        assert len(found) == (tile.width or 256)
        rows.setdefault(tile.row, []).extend(found)
    entries = [entry.data for entry in await log.events(limit=1000)]
    leaves = [merkle.leaf_hash(entry) for entry in entries]
    assert rows[None] == entries
    assert rows[0] == leaves
    assert rows[1] == [merkle.root_of(leaves[:256]), merkle.root_of(leaves[256:512])]
    narrower = await server.get(str(TilePath(0, 2, 3)))
    assert narrower.content == b"".join(leaves[512:515])


async def test_the_checkpoint_is_served_and_not_kept(store: Store, log: AuditLog) -> None:
    resource = await TileServer(store, log.checkpoint).get("/checkpoint")
    assert resource.content == log.checkpoint()
    assert (resource.content_type, resource.immutable) == ("text/plain; charset=utf-8", False)


async def test_nothing_is_served_that_no_head_covers(store: Store, log: AuditLog) -> None:
    await record(store, 200, SIZE)
    await log.sequence_now()
    server = TileServer(store, log.checkpoint)
    for tile in (
        TilePath(0, 2),
        TilePath(0, 2, 89),
        TilePath(None, 2, 89),
        TilePath(0, 3, 1),
        TilePath(1, 0),
        TilePath(1, 0, 3),
        TilePath(2, 0, 1),
    ):
        with pytest.raises(NotInLog):
            await server.get(str(tile))
    with pytest.raises(NotInLog):
        await TileServer(store, lambda: None).get("/checkpoint")


async def test_a_path_with_another_spelling_is_not_found(store: Store, log: AuditLog) -> None:
    server = TileServer(store, log.checkpoint)
    for path in ("/checkpoint/", "checkpoint", "/tile/0/0", "/tile/0/x000/000", "/"):
        with pytest.raises(NotInLog):
            await server.get(path)


async def test_the_log_verifies_where_it_lies(store: Store, log: AuditLog) -> None:
    seen: list[tuple[int, int]] = []
    report = await verify_log(
        StoreSource(store),
        [log.verifier],
        kept={"head": log.checkpoint() or b""},
        progress=lambda done, total: seen.append((done, total)),
    )
    assert report.ok, report.findings
    assert seen == [(256, SIZE), (512, SIZE), (600, SIZE)]


class Forgetful(SqliteStore):
    """A database that lost the end of the log while the process runs."""

    async def fetch(self, query, params):  # type: ignore[no-untyped-def]
        rows = await super().fetch(query, params)
        return rows[:-1] if query in ("log_entries", "log_leaf_hashes") else rows


async def test_a_short_answer_is_never_served(tmp_path: Path) -> None:
    store = Forgetful(tmp_path / "f.db", FakeClock())
    await store.open()
    log = AuditLog(store, FakeClock(), signer(), FileHeadStore(tmp_path / "heads"), ORIGIN)
    await log.start()
    await record(store, 20)
    await log.sequence_now()
    await log.checkpoint_now()
    server = TileServer(store, log.checkpoint)
    for row in (None, 0):
        with pytest.raises(LogIntegrityError):
            await server.get(str(TilePath(row, 0, 20)))
    await store.close()
