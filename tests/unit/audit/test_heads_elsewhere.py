"""The second copy of the head in a database and in an object store: the same promises."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.support import sdks
from tests.support.audit import ORIGIN, Deployment, record, signer
from tests.support.goverify_build import absent

from cryogate.audit.checkpoint import Checkpoint, sign_checkpoint
from cryogate.audit.errors import HeadConflict, HeadUnavailable, LogIntegrityError, NoteRefused
from cryogate.audit.heads import FileHeadStore, HeadStore
from cryogate.audit.heads_elsewhere import BucketHeadStore, TableHeadStore
from cryogate.audit.log import AuditLog
from cryogate.audit.merkle import leaf_hash
from cryogate.audit.sources import StoreSource
from cryogate.audit.verify import verify_log
from cryogate.domain.secrets import Secret
from cryogate.outbound.addresses import networks
from cryogate.outbound.fetcher import Answer, Fetcher
from cryogate.outbound.s3 import Bucket, place
from cryogate.outbound.sigv4 import AwsKeys
from cryogate.storage import PostgresStore, SqliteStore
from cryogate.testing.clock import FakeClock

Make = Callable[[], HeadStore]
KEYS = AwsKeys("AKIAEXAMPLE", Secret(b"secret"))


def note(size: int, seed: bytes = b"") -> bytes:
    return sign_checkpoint(Checkpoint(ORIGIN, size, leaf_hash(seed)), signer())


class Objects:
    """A bucket in memory with conditional writes; ``blind`` ignores the conditions."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.blind = self.down = False
        self.calls: list[str] = []

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        self.calls.append(method)
        if self.down:
            raise OSError("nobody answers")
        found = self.kept.get(url)
        etag = None if found is None else f'"{hashlib.sha256(found).hexdigest()}"'
        if method == "GET":
            return (
                Answer(404, {}, b"") if found is None else Answer(200, {"etag": str(etag)}, found)
            )
        matches = headers.get("if-match") in (None, etag)
        if not self.blind and (not matches or (found is not None and "if-none-match" in headers)):
            return Answer(412, {}, b"")
        self.kept[url] = body or b""
        return Answer(200, {"etag": f'"{hashlib.sha256(body or b"").hexdigest()}"'}, b"")


def in_memory(objects: Objects) -> BucketHeadStore:
    return BucketHeadStore(Bucket("https://s3.test/heads", "r", KEYS, objects.send, lambda: 0))


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if sdks.python() is None:
        absent("the SDKs are not installed")
    with sdks.moto(tmp_path_factory.mktemp("moto")) as url:
        yield url


async def made(url: str, name: str) -> None:
    """A bucket in moto."""
    async with Fetcher(allowed=networks(["127.0.0.0/8"]), insecure_http=True) as door:
        bucket = Bucket(f"{url}/{name}", "us-east-1", KEYS, door.send, FakeClock().now_ms)
        found = await bucket.send("PUT", f"{url}/{name}", {"host": "s3"}, b"")
        assert found.status in (200, 409), found


@pytest.fixture(params=["directory", "sqlite", "postgres", "memory", "moto"])
async def make(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Make]:
    """Makes one more client of the same place."""
    async with AsyncExitStack() as stack:
        if request.param == "directory":
            yield lambda: FileHeadStore(tmp_path / "heads")
        elif request.param in ("sqlite", "postgres"):
            store = (
                SqliteStore(tmp_path / "heads.db", FakeClock())
                if request.param == "sqlite"
                else PostgresStore(await _fresh(request, stack), FakeClock())
            )
            await store.open()
            stack.push_async_callback(store.close)
            yield lambda: TableHeadStore(store, ORIGIN)
        elif request.param == "memory":
            objects = Objects()
            yield lambda: in_memory(objects)
        else:
            url = request.getfixturevalue("moto")
            name = f"b{abs(hash(tmp_path))}"
            await made(url, name)
            door = await stack.enter_async_context(
                Fetcher(allowed=networks(["127.0.0.0/8"]), insecure_http=True)
            )
            bucket = Bucket(f"{url}/{name}/log", "us-east-1", KEYS, door.send, FakeClock().now_ms)
            yield lambda: BucketHeadStore(bucket)


async def _fresh(request: pytest.FixtureRequest, stack: AsyncExitStack) -> str:
    server = request.getfixturevalue("postgres_server")
    dsn: str = await server.create()
    stack.push_async_callback(server.drop, dsn)
    return dsn


async def test_a_head_is_kept_and_replaced_by_who_knows_it(make: Make) -> None:
    heads = make()
    assert await heads.read() is None
    await heads.advance(None, note(1))
    await heads.advance(note(1), note(5))
    assert await make().read() == note(5)
    await make().advance(note(5), note(6))
    assert await heads.read() == note(6)


@pytest.mark.attack("L2")
async def test_a_head_never_goes_back_and_strangers_change_nothing(make: Make) -> None:
    heads = make()
    await heads.advance(None, note(5))
    for each in (heads, make()):
        for smaller in (note(4), note(5), note(5, b"fork")):
            with pytest.raises(HeadConflict):
                await each.advance(note(5), smaller)
        for expected in (None, b"", note(4), note(5, b"other")):
            with pytest.raises(HeadConflict):
                await each.advance(expected, note(9))
    with pytest.raises(NoteRefused):
        await heads.advance(note(5), b"text")
    assert await heads.read() == note(5)


async def test_of_many_writers_one_wins(make: Make) -> None:
    await make().advance(None, note(1))
    writers = [make() for _ in range(6)]
    for writer in writers:
        await writer.read()
    results = await asyncio.gather(
        *(w.advance(note(1), note(n)) for n, w in enumerate(writers, 2)), return_exceptions=True
    )
    assert [type(r) for r in results].count(HeadConflict) == 5, results
    assert await make().read() == note(2 + results.index(None))


@pytest.mark.attack("L2")
async def test_a_restored_backup_is_refused_by_a_head_elsewhere(make: Make, tmp_path: Path) -> None:
    deployment = Deployment(tmp_path)

    async def grow(count: int, first: int) -> None:
        async with deployment.store() as store:
            log = AuditLog(store, deployment.clock, deployment.signer, make(), ORIGIN)
            await log.start()
            await record(store, count, first)
            await log.close()

    await grow(300, 0)
    shutil.copy(deployment.database, tmp_path / "backup.db")
    await grow(5, 300)
    shutil.copy(tmp_path / "backup.db", deployment.database)
    with pytest.raises(LogIntegrityError, match="holds 300 log entries, but a head over 305"):
        await grow(1, 300)


async def test_a_store_that_ignores_conditions_is_refused_at_start() -> None:
    objects = Objects()
    await in_memory(objects).open()
    objects.blind = True
    with pytest.raises(LogIntegrityError, match="conditional writes"):
        await in_memory(objects).open()


async def test_moto_has_conditional_writes(moto: str) -> None:
    await made(moto, "conditions")
    async with Fetcher(allowed=networks(["127.0.0.0/8"]), insecure_http=True) as door:
        bucket = Bucket(f"{moto}/conditions", "us-east-1", KEYS, door.send, FakeClock().now_ms)
        await BucketHeadStore(bucket).open()
        await BucketHeadStore(bucket).open()


async def test_an_object_store_that_is_away_is_unavailable_and_costs_nothing_else() -> None:
    objects = Objects()
    heads = in_memory(objects)
    await heads.advance(None, note(1))
    objects.down = True
    with pytest.raises(HeadUnavailable):
        await heads.read()
    with pytest.raises(HeadUnavailable):
        await heads.advance(note(1), note(2))
    with pytest.raises(HeadUnavailable):
        await heads.open()
    objects.down = False
    await heads.advance(note(1), note(2))
    before = len(objects.calls)
    await heads.advance(note(2), note(3))
    assert objects.calls[before:] == ["PUT"], "a head costs one call"


async def test_a_write_whose_answer_was_lost_is_found_again() -> None:
    objects = Objects()
    heads = in_memory(objects)
    await heads.advance(None, note(1))
    genuine = objects.send

    async def lost(method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        await genuine(method, url, headers, body)
        raise TimeoutError

    broken = BucketHeadStore(Bucket("https://s3.test/heads", "r", KEYS, lost, lambda: 0))
    with pytest.raises(HeadUnavailable):
        await broken.advance(note(1), note(2))
    objects.kept["https://s3.test/heads/head"] = note(2)
    with pytest.raises(HeadConflict):
        await heads.advance(note(1), note(3))
    assert await heads.read() == note(2)


@pytest.mark.parametrize(
    "url",
    ["s3://b/k", "https://s3.test/bucket", "s3+https://s3.test", "s3+https://s3.test/",
     "s3+https://u:p@s3.test/bucket", "s3+https://s3.test/bucket?x=1", "s3+ftp://s3.test/bucket",
     "s3+https://s3.test/../etc", "s3+https://s3.test/B"],
)  # fmt: skip
def test_other_spellings_of_a_bucket_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="write s3"):
        place(url)


def test_the_schema_of_the_other_database_has_the_table(tmp_path: Path) -> None:
    async def opened() -> None:
        store = SqliteStore(tmp_path / "heads.db", FakeClock())
        heads = TableHeadStore(store, ORIGIN)
        await heads.open()
        await heads.advance(None, note(3))
        await heads.close()

    asyncio.run(opened())
    connection = sqlite3.connect(tmp_path / "heads.db")
    assert connection.execute("SELECT origin, size FROM log_heads").fetchall() == [(ORIGIN, 3)]
    connection.close()


@pytest.mark.attack("L2")
async def test_two_signers_take_turns_and_make_one_history(make: Make, tmp_path: Path) -> None:
    place = Deployment(tmp_path)
    async with place.store() as store:
        logs = [AuditLog(store, place.clock, place.signer, make(), ORIGIN) for _ in range(2)]
        for log in logs:
            await log.start()
        for turn in range(8):
            await record(store, 5, 5 * turn)
            await asyncio.gather(*(log.sequence_now() for log in logs))
            await asyncio.gather(*(log.checkpoint_now() for log in logs))
        kept = await make().read()
        assert kept is not None
        assert {log.published_size for log in logs} == {40}
        report = await verify_log(StoreSource(store), logs[0].verifiers, kept={"head": kept})
        assert report.ok, report
        assert report.size == 40
