"""RFC 3161: heads are stamped by a real authority (`openssl ts`), and openssl reads our stamps."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support.audit import ORIGIN, Deployment, record, signer
from tests.support.running import PROGRAM, running
from tests.support.sinks import Told, fetcher
from tests.support.tsa import Tsa, authority
from tests.support.up import CLI, clean_env

from cryogate.audit.errors import TimestampRefused
from cryogate.audit.log import AuditLog
from cryogate.audit.stamping import Stamping
from cryogate.audit.timestamps import Stamped, TsaTrust, check, stored
from cryogate.config import ConfigError
from cryogate.outbound.fetcher import Fetcher
from cryogate.ports.store import Store
from cryogate.wiring.doors import operator_door

MINUTE = 60_000


@pytest.fixture(scope="module")
def tsa(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tsa]:
    with authority(tmp_path_factory.mktemp("tsa") / "a") as made:
        yield made


@pytest.fixture(autouse=True)
def sound(tsa: Tsa) -> None:
    tsa.broken, tsa.status, tsa.asked = None, 200, 0


def stamping(
    place: Deployment, store: Store, log: AuditLog, tsa: Tsa, door: Fetcher, told: Told
) -> Stamping:
    trust = TsaTrust(tsa.ca.read_bytes())
    return Stamping(
        ORIGIN, log.checkpoint, trust, tsa.url, door.send, store=store, clock=place.clock,
        alerts=told, every_ms=60 * MINUTE, alert_ms=180 * MINUTE,
    )  # fmt: skip


async def grow(log: AuditLog, store: Store, count: int, first: int) -> bytes:
    await record(store, count, first)
    await log.sequence_now()
    return await log.checkpoint_now()


async def test_a_growing_log_is_stamped_once_an_hour(tmp_path: Path, tsa: Tsa) -> None:
    place, told = Deployment(tmp_path), Told()
    async with place.running() as (store, log), fetcher() as door:
        rounds = stamping(place, store, log, tsa, door, told)
        assert not await rounds.round(), "nothing to stamp in an empty log"
        note = await grow(log, store, 5, 0)
        assert await rounds.round()
        await grow(log, store, 5, 5)
        assert not await rounds.round(), "not yet"
        place.clock.advance(s=3600)
        assert await rounds.round()
        place.clock.advance(s=3600)
        assert not await rounds.round(), "nothing new"
        assert tsa.asked == 2
        first, second = await stored(store)
        assert (first.size, first.note, second.size) == (5, note, 10)
        trust, wrong = TsaTrust(tsa.ca.read_bytes()), list[Stamped]()
        times = check((first, second), trust, [signer().verifier()], lambda s, _: wrong.append(s))
        assert not wrong
        assert [size for size, _ in times] == [5, 10]
        assert all(abs((datetime.now(UTC) - at).total_seconds()) < 60 for _, at in times)


@pytest.mark.attack("L1")
async def test_a_token_counts_for_its_head_and_its_authority_only(tmp_path: Path, tsa: Tsa) -> None:
    place = Deployment(tmp_path)
    async with place.running() as (store, log), fetcher() as door:
        rounds = stamping(place, store, log, tsa, door, Told())
        await grow(log, store, 5, 0)
        assert await rounds.round()
        (good,) = await stored(store)
    trust = TsaTrust(tsa.ca.read_bytes())
    assert trust.time(good.note, good.token).tzinfo is UTC
    stranger = TsaTrust(Tsa(tmp_path / "stranger").ca.read_bytes())
    flipped = bytearray(good.token)
    flipped[-20] ^= 1
    for who, note, token in (
        (trust, good.note.replace(b"\n5\n", b"\n6\n"), good.token),
        (trust, good.note + b"\n", good.token),
        (trust, good.note, bytes(flipped)),
        (trust, good.note, good.token[:-1]),
        (trust, good.note, b""),
        (trust, good.note, b"0" * 100_000),
        (stranger, good.note, good.token),
    ):
        with pytest.raises(TimestampRefused):
            who.time(note, token)
    with pytest.raises(TimestampRefused, match="Nonce"):
        trust.time(good.note, good.token, nonce=7)
    for pem in (b"", b"junk", (tsa.folder / "tsa.pem").read_bytes()):
        with pytest.raises(TimestampRefused):
            TsaTrust(pem)


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, b""), (200, b""), (200, b"<html>"), (200, b"0" * 70_000), (200, b"old"), (302, b"")],
)  # fmt: skip
async def test_an_authority_that_misbehaves_is_told_and_holds_nothing_up(
    tmp_path: Path, tsa: Tsa, status: int, body: bytes
) -> None:
    place, told = Deployment(tmp_path), Told()
    async with place.running() as (store, log), fetcher() as door:
        rounds = stamping(place, store, log, tsa, door, told)
        await grow(log, store, 5, 0)
        if body == b"old":  # a replayed answer is refused by its nonce
            body = tsa.stamp(TsaTrust(tsa.ca.read_bytes()).request(log.checkpoint() or b"")[0])
        tsa.status, tsa.broken = status, body
        for _ in range(4):
            assert not await rounds.round()
            assert rounds.trouble
            assert not told.kinds
            place.clock.advance(59 * MINUTE)
        assert not await rounds.round()
        assert told.kinds == [("timestamp_late", ORIGIN)]
        assert await stored(store) == ()
        tsa.status, tsa.broken = 200, None
        place.clock.advance(MINUTE)
        assert await rounds.round()
        assert rounds.trouble is None
        assert rounds.late_ms == 0


def test_an_authority_may_be_reached_in_clear_but_nothing_else(tsa: Tsa) -> None:
    from cryogate.config.sections import Outbound

    with pytest.raises(ConfigError):
        operator_door("x", "http://tsa.example/", Outbound(), timeout_s=1, max_bytes=1)
    made = operator_door(
        "x", "http://tsa.example/", Outbound(), timeout_s=1, max_bytes=1,
        answers_prove_themselves=True,
    )  # fmt: skip
    asyncio.run(made.close())
    with pytest.raises(ConfigError):
        operator_door("x", "ftp://tsa.example/", Outbound(), timeout_s=1, max_bytes=1,
                      answers_prove_themselves=True)  # fmt: skip


@pytest.mark.slow
@pytest.mark.attack("L1")
def test_stamps_of_a_running_server_verify_with_ours_and_with_openssl(
    tmp_path: Path, tsa: Tsa
) -> None:
    settings = (
        f'[audit]\ntimestamp_url = "{tsa.url}"\ntimestamp_ca_file = "{tsa.ca}"\n'
        "timestamp_every_s = 10\n"
    )

    def cli(*args: str, code: int = 0) -> Any:
        ran = subprocess.run(
            [*CLI, *args, "--json"], env=clean_env(tmp_path / "state"), capture_output=True,
            text=True, check=False, timeout=60,
        )  # fmt: skip
        assert ran.returncode == code, ran.stdout + ran.stderr
        return json.loads(ran.stdout) if ran.stdout else None

    export, ca = tmp_path / "export", str(tsa.ca)
    with running(tmp_path, settings) as server:
        agent = server.agent()
        job = agent.client.submit(PROGRAM["source"], "local:null", 10)
        deadline = time.monotonic() + 40
        while True:
            story = cli("audit", "trace", job.job_id, "--url", server.url)
            if story["timestamp"] is not None:
                break
            assert time.monotonic() < deadline, "nothing was stamped"
            time.sleep(0.5)
        pack = str(tmp_path / "pack.zip")
        cli("audit", "dispute", job.circuit_sha256, "--out", pack, "--url", server.url)
    report = cli("audit", "check", pack, "--tsa-ca", ca)
    assert report["stamped"] is not None
    with zipfile.ZipFile(pack) as archive:
        archive.extractall(tmp_path / "pack", ["timestamp.checkpoint", "timestamp.tsr"])
    cli("audit", "export", str(export))
    assert cli("audit", "verify", "--tsa-ca", ca)["stamped"]
    assert cli("audit", "verify", str(export), "--tsa-ca", ca)["stamped"]
    heads = [*(export / "timestamps").glob("*.checkpoint"), tmp_path / "pack/timestamp.checkpoint"]
    for head in heads:
        subprocess.run(
            ["openssl", "ts", "-verify", "-data", head, "-in", head.with_suffix(".tsr"),
             "-CAfile", ca],
            check=True, capture_output=True, timeout=30,
        )  # fmt: skip
    # what was changed is found; what is missing is found by who asks for it
    token = heads[0].with_suffix(".tsr")
    content = bytearray(token.read_bytes())
    content[-20] ^= 1
    token.write_bytes(content)
    found = cli("audit", "verify", str(export), "--tsa-ca", ca, code=4)["findings"]
    assert {finding["kind"] for finding in found} == {"bad_timestamp"}
    for path in (export / "timestamps").iterdir():
        path.unlink()
    found = cli("audit", "verify", str(export), "--tsa-ca", ca, code=4)["findings"]
    assert {finding["kind"] for finding in found} == {"no_timestamp"}
    stranger = str(Tsa(tmp_path / "stranger").ca)
    assert not cli("audit", "check", pack, "--tsa-ca", stranger, code=4)["ok"]
