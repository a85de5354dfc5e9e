"""A copy of the log in a bucket with Object Lock: moto's, and one that fails when told."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from tests.support import sdks
from tests.support.audit import Deployment, record
from tests.support.running import running
from tests.support.sinks import Told, fetcher
from tests.support.up import CLI, clean_env

from cryogate.audit.log import AuditLog
from cryogate.audit.mirror import STRIDE, Mirror, full_tiles, partial_tiles
from cryogate.audit.remote import RemoteSource
from cryogate.audit.tiles import TileServer, tiles_of
from cryogate.audit.verify import verify_log
from cryogate.config import ConfigError, load
from cryogate.domain.secrets import Secret
from cryogate.outbound.fetcher import Answer
from cryogate.outbound.s3 import Bucket, Send
from cryogate.outbound.sigv4 import AwsKeys, sign
from cryogate.ports.store import Store

MINUTE = 60_000
URL = "https://s3.test/mirror/log"
LOCK = b"<Configuration><ObjectLockEnabled>Enabled</ObjectLockEnabled></Configuration>"


class Locked:
    """A bucket in memory: every version is kept."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.order: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        self.lock, self.version, self.fail_after = LOCK, "v1", 10**9

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        if urlsplit(url).query:
            return Answer(200 if self.lock else 404, {}, self.lock)
        if len(self.order) >= self.fail_after:
            raise OSError("the connection broke")
        key = url.removeprefix(f"{URL}/")
        self.kept[key] = body or b""
        self.order.append(key)
        self.headers.append(headers)
        return Answer(200, {"x-amz-version-id": self.version}, b"")


def mirror(
    place: Deployment, store: Store, log: AuditLog, send: Send, told: Told, **more: str
) -> Mirror:
    keys = AwsKeys("AKIAEXAMPLE", Secret(b"secret"))
    bucket = Bucket(more.get("url", URL), "us-east-1", keys, send, place.clock.now_ms)
    return Mirror(
        "mirror test", bucket, TileServer(store, log.checkpoint), log.checkpoint,
        keys=log.verifiers, store=store, clock=place.clock, alerts=told,
        holder=more.get("holder", "one"), every_ms=5 * MINUTE, retention_days=183,
        alert_ms=60 * MINUTE,
    )  # fmt: skip


async def grow(log: AuditLog, store: Store, count: int, first: int) -> bytes:
    await record(store, count, first)
    await log.sequence_now()
    return await log.checkpoint_now()


@pytest.mark.parametrize(
    ("old", "new"), [(0, 1), (0, 256), (255, 257), (300, 70_000), (65_535, 65_536), (5, 5)]
)
def test_what_is_brought_makes_the_whole_tree(old: int, new: int) -> None:
    before = {tile for tile in tiles_of(old) if tile.width is None}
    brought = [*full_tiles(old, new), *partial_tiles(new)]
    assert before | set(brought) == set(tiles_of(new))
    assert not before & set(brought), "nothing twice"


async def test_the_copy_grows_with_the_log_and_verifies(tmp_path: Path) -> None:
    place, told, bucket = Deployment(tmp_path), Told(), Locked()
    async with place.running() as (store, log):
        copying = mirror(place, store, log, bucket.send, told)
        assert not await copying.round(), "nothing to copy"
        size = 0
        for more in (5, 250, 1, 400):
            note = await grow(log, store, more, size)
            size += more
            assert await copying.round()
            assert not await copying.round(), "not yet"
            place.clock.advance(5 * MINUTE)
            assert bucket.order[-1] == "checkpoint"
            assert bucket.kept["checkpoint"] == bucket.kept[f"heads/{size:016}"] == note
            source = RemoteSource(bucket.kept.get)
            report = await verify_log(source, log.verifiers)
            assert report.ok, report
            assert report.size == size
        full = [key for key in bucket.order if key.startswith("tile") and ".p/" not in key]
        assert len(full) == len(set(full)), "a full tile is written once"
        headers = bucket.headers[-1]
        until = datetime.fromtimestamp(place.clock.now_ms() / 1000 - 300, UTC) + timedelta(days=183)
        assert headers["x-amz-object-lock-mode"] == "COMPLIANCE"
        assert headers["x-amz-object-lock-retain-until-date"] == f"{until:%Y-%m-%dT%H:%M:%SZ}"
        assert "authorization" in headers
        assert not told.kinds


@pytest.mark.attack("L3")
async def test_the_place_moves_only_over_what_was_acknowledged(tmp_path: Path) -> None:
    place, told, bucket = Deployment(tmp_path), Told(), Locked()
    async with place.running() as (store, log):
        size = STRIDE + 300
        note = await grow(log, store, size, 0)
        copying = mirror(place, store, log, bucket.send, told)

        async def position() -> int:
            row = await store.fetch_one("sink_place", {"name": "mirror test"})
            return int(row["position"] or 0) if row else -1

        for broken, reached in ((3, 0), (20, 0), (33, STRIDE), (7, STRIDE)):
            bucket.order.clear()
            bucket.fail_after = broken
            assert not await copying.round()
            assert await position() == reached
            assert copying.trouble
            assert "checkpoint" not in bucket.kept, "no head before its tiles"
            place.clock.advance(MINUTE)
        bucket.fail_after = 10**9
        assert await copying.round()
        assert await position() == size
        assert copying.late_ms == 0
        assert bucket.kept["checkpoint"] == note
        assert (await verify_log(RemoteSource(bucket.kept.get), log.verifiers)).ok


async def test_one_replica_mirrors_and_another_takes_over(tmp_path: Path) -> None:
    place, told, bucket = Deployment(tmp_path), Told(), Locked()
    async with place.running() as (store, log):
        await grow(log, store, 5, 0)
        one = mirror(place, store, log, bucket.send, told)
        two = mirror(place, store, log, bucket.send, told, holder="two")
        assert await one.round()
        written = len(bucket.order)
        await grow(log, store, 5, 5)
        assert not await two.round()
        assert len(bucket.order) == written
        place.clock.advance(10 * MINUTE)
        assert await two.round()
        assert bucket.order[-1] == "checkpoint"


async def test_a_bucket_without_a_lock_or_versions_is_told_of(tmp_path: Path) -> None:
    place, told, bucket = Deployment(tmp_path), Told(), Locked()
    async with place.running() as (store, log):
        await grow(log, store, 5, 0)
        copying = mirror(place, store, log, bucket.send, told)
        for lock, version, why in (
            (b"", "v1", "no Object Lock"),
            (b"<html>", "v1", "no Object Lock"),
            (LOCK, "null", "version"),
        ):
            bucket.lock, bucket.version = lock, version
            assert not await copying.round()
            assert why in (copying.trouble or "")
            place.clock.advance(29 * MINUTE)
        assert not await copying.round()
        assert told.kinds == [("mirror_late", "mirror test")]
        assert not [key for key in bucket.order if key == "checkpoint"]


def test_less_than_the_legal_minimum_is_refused(tmp_path: Path) -> None:
    settings = {"state_dir": str(tmp_path), "audit.mirror_retention_days": 182}
    with pytest.raises(ConfigError, match="mirror_retention_days"):
        load(environ={}, overrides=settings)


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    sdks.python()
    with sdks.moto(tmp_path_factory.mktemp("moto")) as url:
        yield url


def made(url: str, name: str, *, lock: bool) -> str:
    headers = {"x-amz-bucket-object-lock-enabled": "true"} if lock else {}
    answer = httpx.put(f"{url}/{name}", headers=headers, trust_env=False)
    assert answer.status_code == 200, answer.text
    return f"{url}/{name}"


def asked(method: str, url: str, body: bytes = b"") -> httpx.Response:
    headers = sign(
        AwsKeys("AKIAEXAMPLE", Secret(b"secret")), service="s3", region="us-east-1", method=method,
        url=url, headers={}, body=body, now_ms=time.time_ns() // 10**6,
    )  # fmt: skip
    return httpx.request(method, url, headers=headers, content=body, trust_env=False)


async def test_moto_needs_a_lock_as_well(tmp_path: Path, moto: str) -> None:
    place, told = Deployment(tmp_path), Told()
    async with place.running() as (store, log), fetcher() as door:
        await grow(log, store, 5, 0)
        plain = mirror(place, store, log, door.send, told, url=made(moto, "plain", lock=False))
        assert not await plain.round()
        assert "no Object Lock" in (plain.trouble or "")


@pytest.mark.slow
@pytest.mark.attack("L1")
def test_a_running_server_is_mirrored_and_verified_from_the_bucket(
    tmp_path: Path, moto: str
) -> None:
    bucket = made(moto, "locked", lock=True)
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    secret.chmod(0o600)
    settings = (
        f'[audit]\nmirror = "s3+{bucket}/log"\nmirror_region = "us-east-1"\n'
        f'mirror_key_id = "AKIAEXAMPLE"\nmirror_secret_file = "{secret}"\nmirror_every_s = 10\n'
    )
    with running(tmp_path, settings) as server:
        server.agent()
        deadline = time.monotonic() + 40
        while asked("GET", f"{bucket}/log/checkpoint").status_code != 200:
            assert time.monotonic() < deadline, "nothing was mirrored"
            time.sleep(0.2)

    def verify(code: int) -> dict[str, object]:
        vkey, config = str(tmp_path / "state/log.vkey"), str(tmp_path / "cryogate.toml")
        command = [*CLI, "audit", "verify", f"s3+{bucket}/log", "--vkey", vkey, "--config", config]
        ran = subprocess.run(
            [*command, "--json"], env=clean_env(tmp_path / "state"), capture_output=True, text=True,
            check=False, timeout=60,
        )  # fmt: skip
        assert ran.returncode == code, ran.stdout + ran.stderr
        found: dict[str, object] = json.loads(ran.stdout)
        return found

    assert verify(0)["ok"]
    # nobody removes a version, and what is put over it shows
    head = asked("HEAD", f"{bucket}/log/checkpoint")
    version = head.headers["x-amz-version-id"]
    assert head.headers["x-amz-object-lock-mode"] == "COMPLIANCE"
    until = datetime.fromisoformat(head.headers["x-amz-object-lock-retain-until-date"])
    assert until - datetime.now(UTC) > timedelta(days=182)
    gone = asked("DELETE", f"{bucket}/log/checkpoint?versionId={version}")
    assert gone.status_code == 403, gone.text
    loose = asked("PUT", f"{bucket}/loose", b"no lock").headers["x-amz-version-id"]
    gone = asked("DELETE", f"{bucket}/loose?versionId={loose}")
    assert gone.status_code == 204, "refused because of the lock and nothing else"
    asked("PUT", f"{bucket}/log/checkpoint", b"nothing happened\n")
    assert not verify(4)["ok"]
    kept = asked("GET", f"{bucket}/log/checkpoint?versionId={version}").content
    assert kept.startswith(b"cryogate.local/log\n")
