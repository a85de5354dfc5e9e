"""Witnesses cosign this log's heads over C2SP tlog-witness: ours, litewitness, and bad ones."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
from tests.support.audit import ORIGIN, Deployment, event, record, signer
from tests.support.goverify_build import build
from tests.support.running import PROGRAM, running
from tests.support.sinks import Told
from tests.support.up import CLI, clean_env
from tests.support.witnesses import OurWitness, litewitness

from cryogate.audit.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from cryogate.audit.cosign import Ed25519Cosigner, Mldsa44Cosigner
from cryogate.audit.cosigning import Cosigning
from cryogate.audit.errors import NoteRefused
from cryogate.audit.log import AuditLog
from cryogate.audit.note import Note, NoteSignature, NoteVerifier, parse_note
from cryogate.audit.receipts import JobReceipt, Receipts, parse_proof
from cryogate.audit.tlog_policy import Policy, parse_policy
from cryogate.audit.witness_client import Send, WitnessClient
from cryogate.audit.witness_protocol import AddCheckpoint
from cryogate.domain.secrets import Secret
from cryogate.outbound.addresses import networks
from cryogate.outbound.fetcher import Answer, Fetcher
from cryogate.ports.clock import SystemClock
from cryogate.ports.store import SqlValue, Statement, Store, UnitOfWork

MINUTE = 60_000


def policy_of(needed: str, *witnesses: NoteVerifier) -> Policy:
    lines = [f"witness w{n} {key.vkey()}" for n, key in enumerate(witnesses)]
    names = " ".join(f"w{n}" for n in range(len(witnesses)))
    text = "\n".join([*lines, f"group all {needed} {names}", "quorum all"])
    return parse_policy(text, [signer().verifier()])


class Place(Deployment):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.alerts = Told()


def cosigning(
    place: Place,
    store: Store,
    log: AuditLog,
    policy: Policy,
    *clients: WitnessClient,
    timeout_s: float = 5,
) -> Cosigning:
    return Cosigning(
        log, policy, clients, store=store, clock=place.clock, alerts=place.alerts,
        every_ms=1000, alert_ms=15 * MINUTE, timeout_s=timeout_s,
    )  # fmt: skip


async def grow(log: AuditLog, store: Store, count: int, first: int) -> bytes:
    await record(store, count, first)
    await log.sequence_now()
    return await log.checkpoint_now()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
async def two(place: Place, tmp_path: Path) -> AsyncIterator[tuple[OurWitness, OurWitness]]:
    made = (
        OurWitness(tmp_path / "w1", "one.example", place.clock, 3),
        OurWitness(tmp_path / "w2", "two.example", place.clock, 4),
    )
    yield made
    for each in made:
        await each.http.aclose()


def client(witness: OurWitness, send: Send | None = None) -> WitnessClient:
    return WitnessClient(witness.url, witness.verifiers, send or witness.send)


async def test_a_growing_log_is_cosigned_by_all_keys(
    place: Place, two: tuple[OurWitness, OurWitness]
) -> None:
    keys = [key for each in two for key in each.verifiers]
    policy = policy_of("all", *keys)
    async with place.running() as (store, log):
        rounds = cosigning(place, store, log, policy, *map(client, two))
        assert not await rounds.round(), "an empty log has nothing to cosign"
        size, note = 0, b""
        for more in (1, 254, 1, 500):
            await grow(log, store, more, size)
            size += more
            place.clock.advance(s=1)
            assert await rounds.round()
            assert rounds.served() == rounds.cosigned()
            note = rounds.cosigned() or b""
            assert policy.open(note).size == size
            for key in keys:
                assert open_checkpoint(note, [key], ORIGIN).size == size
        asked = two[0].asked
        place.clock.advance(s=60)
        assert await rounds.round(), "nothing new: nobody is asked"
        assert two[0].asked == asked
        # a restart, or another replica, takes what was gathered
        again = cosigning(place, store, log, policy, *map(client, two))
        assert await again.round()
        assert again.cosigned() == note
        assert two[0].asked == asked


@pytest.mark.attack("L1")
async def test_what_the_database_says_of_cosignatures_is_verified(
    place: Place, two: tuple[OurWitness, OurWitness]
) -> None:
    policy = policy_of("all", *two[0].verifiers)
    async with place.running() as (store, log):
        note = await grow(log, store, 3, 0)
        rounds = cosigning(place, store, log, policy, client(two[1]))
        params: dict[str, SqlValue] = {
            "origin": ORIGIN,
            "size": 3,
            "note": note.decode(),
            "asked_ms": 0,
        }
        await store.commit(UnitOfWork((Statement("cosigned_put", params, None),)))
        assert not await rounds.round()
        assert rounds.cosigned() is None


async def test_a_replica_shows_no_head_whose_tiles_it_does_not_serve_yet(
    place: Place, two: tuple[OurWitness, OurWitness]
) -> None:
    policy = policy_of("all", two[0].verifiers[0])
    async with place.running() as (store, log):
        behind = AuditLog(store, place.clock, place.signer, place.heads, ORIGIN)
        await grow(log, store, 5, 0)
        await behind.start()
        first = cosigning(place, store, log, policy, client(two[0]))
        other = cosigning(place, store, behind, policy, client(two[0]))
        assert await first.round()
        assert await other.round()
        await grow(log, store, 5, 5)
        place.clock.advance(s=1)
        assert await first.round()
        assert await other.round()
        assert policy.open(other.served() or b"").size == behind.published_size == 5
        await behind.checkpoint_now()
        assert await other.round()
        assert other.served() == first.served()
        assert two[0].asked == 2, "what one replica was given serves both"


async def test_a_late_quorum_alarms_and_never_holds_the_log_up(
    place: Place, two: tuple[OurWitness, OurWitness]
) -> None:
    first, second = two
    policy = policy_of("all", first.verifiers[0], second.verifiers[0])
    async with place.running() as (store, log):
        rounds = cosigning(place, store, log, policy, *map(client, two))
        await grow(log, store, 5, 0)
        assert await rounds.round()
        cosigned = rounds.cosigned()
        second.down = True
        size = 5
        for _ in range(15):
            await grow(log, store, 1, size)
            size += 1
            await rounds.round()
            assert rounds.served() == cosigned
            assert not place.alerts.kinds
            place.clock.advance(s=60)
        await rounds.round()
        assert place.alerts.kinds == [("witness_quorum", ORIGIN)]
        assert rounds.standings[second.url].trouble is not None
        newest = log.checkpoint() or b""
        assert rounds.served() == newest, "auditors are not left with an old head for ever"
        # what was shown once stays until the quorum has come as far
        second.down = False
        place.clock.advance(s=660)
        await grow(log, store, 1, size)
        assert await rounds.round()
        assert policy.open(rounds.served() or b"").size == size + 1
        assert rounds.waiting_ms == 0


@pytest.mark.attack("L2")
async def test_a_log_that_was_set_back_is_told_by_its_witness(
    place: Place, two: tuple[OurWitness, OurWitness], tmp_path: Path
) -> None:
    """Even when the head store was set back with the database."""
    policy = policy_of("all", two[0].verifiers[0])
    async with place.running() as (store, log):
        await grow(log, store, 9, 0)
        assert await cosigning(place, store, log, policy, client(two[0])).round()
    for name, made, others in (("back", 5, False), ("fork", 9, True), ("longer", 12, True)):
        (tmp_path / name).mkdir()
        other = Place(tmp_path / name)
        async with other.running() as (store, log):
            if others:
                events = tuple(event(n, agent_id="agent-8") for n in range(made))
                await store.commit(UnitOfWork((), events))
                await log.sequence_now()
                await log.checkpoint_now()
            else:
                await grow(log, store, made, 0)
            rounds = cosigning(other, store, log, policy, client(two[0]))
            for _ in range(6):
                assert not await rounds.round()
                other.clock.advance(s=2)
            kinds = {kind for kind, _ in other.alerts.kinds}
            assert kinds == {"witness_contradicts"}, name
    kept = {path.name for path in (tmp_path / "w1" / "evidence").iterdir()}
    assert kept == {"head-9", "head-9-contradicts"}


async def test_receipts_lead_to_the_cosigned_head(
    place: Place, two: tuple[OurWitness, OurWitness]
) -> None:
    policy = policy_of("all", two[0].verifiers[0])
    async with place.running() as (store, log):
        rounds = cosigning(place, store, log, policy, client(two[0]))
        receipts = Receipts(store, log, rounds.cosigned)
        job = event(7).job_id or ""
        done = event(7)._replace(action="job.done")
        await store.commit(UnitOfWork((), (done,)))
        await grow(log, store, 4, 0)
        assert await receipts.of_job(job, cosigned_only=True) == JobReceipt(job, ORIGIN, (), 1)
        (alone,) = (await receipts.of_job(job)).receipts
        with pytest.raises(NoteRefused, match="quorum"):
            policy.open(parse_proof(alone.proof).checkpoint)
        assert await rounds.round()
        await grow(log, store, 10, 4)
        for only in (False, True):
            (found,) = (await receipts.of_job(job, cosigned_only=only)).receipts
            proof = parse_proof(found.proof)
            assert policy.open(proof.checkpoint).size == 5
            assert proof.verify(found.entry.encode(), policy.logs, ORIGIN).size == 5


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""), (200, b"hello\n"), (200, b"x" * 100_000), (409, b""), (409, b"99999\n"),
        (409, b"\xff\n"), (403, b""), (404, b""), (400, b"old"), (429, b""), (500, b"<html>"),
        (301, b""), (422, b""),
    ],
)  # fmt: skip
async def test_a_witness_that_misbehaves_costs_a_cosignature_only(
    place: Place, two: tuple[OurWitness, OurWitness], status: int, body: bytes
) -> None:
    async def send(method: str, url: str, headers: Mapping[str, str], sent: bytes) -> Answer:
        return Answer(status, {}, body)

    policy = policy_of("any", two[0].verifiers[0], two[1].verifiers[0])
    async with place.running() as (store, log):
        bad, good = client(two[0], send), client(two[1])
        rounds = cosigning(place, store, log, policy, bad, good)
        await grow(log, store, 5, 0)
        assert await rounds.round()
        assert rounds.standings[bad.url].trouble
        assert rounds.standings[good.url].trouble is None
        lines = parse_note(rounds.cosigned() or b"").signatures
        assert {line.name for line in lines} == {ORIGIN, "two.example"}


async def test_a_witness_that_never_answers_is_given_up(
    place: Place, two: tuple[OurWitness, OurWitness]
) -> None:
    async def send(method: str, url: str, headers: Mapping[str, str], sent: bytes) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    policy = policy_of("any", two[0].verifiers[0], two[1].verifiers[0])
    async with place.running() as (store, log):
        silent, good = client(two[0], send), client(two[1])
        rounds = cosigning(place, store, log, policy, silent, good, timeout_s=1)
        note = await grow(log, store, 5, 0)
        asking = asyncio.create_task(rounds.round())
        await asyncio.sleep(0)
        assert rounds.served() == note, "nothing waits for it"
        assert await asking
        assert rounds.standings[silent.url].trouble == "it did not answer in time"


async def test_the_pauses_grow_for_a_witness_that_is_away(
    place: Place, two: tuple[OurWitness, OurWitness]
) -> None:
    policy = policy_of("any", two[0].verifiers[0], two[1].verifiers[0])
    two[0].down = True
    async with place.running() as (store, log):
        rounds = cosigning(place, store, log, policy, *map(client, two))
        for _ in range(16):
            await grow(log, store, 1, log.published_size)
            assert await rounds.round()
            place.clock.advance(s=1)
        assert (two[0].asked, two[1].asked) == (5, 16)


@pytest.mark.attack("L1")
async def test_forged_and_foreign_cosignatures_do_not_count(
    place: Place, two: tuple[OurWitness, OurWitness]
) -> None:
    first, second = two

    async def forged(method: str, url: str, headers: Mapping[str, str], sent: bytes) -> Answer:
        key = first.verifiers[0]
        return Answer(
            200, {}, f"{NoteSignature(key.name, key.key_id, b'x' * 72).line()}\n".encode()
        )

    async def foreign(method: str, url: str, headers: Mapping[str, str], sent: bytes) -> Answer:
        return await second.send(method, url.replace(first.url, second.url), headers, sent)

    policy = policy_of("all", first.verifiers[0])
    async with place.running() as (store, log):
        await grow(log, store, 5, 0)
        for send in (forged, foreign):
            rounds = cosigning(place, store, log, policy, client(first, send))
            assert not await rounds.round()
            assert rounds.cosigned() is None


@pytest.mark.attack("L1")
async def test_our_service_answers_as_the_protocol_says(
    place: Place, two: tuple[OurWitness, OurWitness]
) -> None:
    witness = two[0]

    async def post(body: bytes) -> tuple[int, str, bytes]:
        given = await witness.http.post("/add-checkpoint", content=body)
        return given.status_code, given.headers.get("content-type", ""), given.content

    async with place.running() as (store, log):
        small = await grow(log, store, 300, 0)
        large = await grow(log, store, 300, 300)
        proof = await log.consistency_proof(300, 600)
    empty = base64.b64decode("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")
    zero = sign_checkpoint(Checkpoint(ORIGIN, 0, empty), signer())
    wrong_zero = zero.replace(b"47DEQpj8", b"57DEQpj8")
    elsewhere = sign_checkpoint(Checkpoint("other.example/log", 3, b"r" * 32), signer(1, "other.example/log"))  # noqa: E501  # fmt: skip
    stranger = sign_checkpoint(Checkpoint(ORIGIN, 3, b"r" * 32), signer(2))
    note = parse_note(small)
    broken = Note(
        note.text, (NoteSignature(ORIGIN, note.signatures[0].key_id, b"x" * 64),)
    ).encode()
    forked = sign_checkpoint(Checkpoint(ORIGIN, 300, b"r" * 32), signer())
    path = "/" + sha256(ORIGIN.encode()).hexdigest() + "/checkpoint"

    assert (await witness.http.get(path)).status_code == 404
    assert (await post(b"junk"))[0] == 400
    assert (await post(AddCheckpoint(0, (), elsewhere).encode()))[0] == 404
    assert (await post(AddCheckpoint(0, (), stranger).encode()))[0] == 403
    assert (await post(AddCheckpoint(0, (), broken).encode()))[0] == 403
    assert (await post(AddCheckpoint(301, (), small).encode()))[0] == 400
    assert (await post(AddCheckpoint(5, (), small).encode())) == (409, "text/x.tlog.size", b"0\n")
    assert (await post(AddCheckpoint(0, (), wrong_zero).encode()))[0] == 422
    assert (await post(AddCheckpoint(0, (b"h" * 32,), small).encode()))[0] == 422
    assert (await post(b"x" * 400_000))[0] == 413
    assert (await witness.http.get("/add-checkpoint")).status_code == 405
    assert not (witness.folder / "head").exists(), "nothing was cosigned so far"

    code, kind, body = await post(AddCheckpoint(0, (), small).encode())
    assert (code, kind.split(";")[0]) == (200, "text/plain")
    cosigned = small + body
    for key in witness.verifiers:
        assert open_checkpoint(cosigned, [key], ORIGIN).size == 300
    assert (await witness.http.get(path)).content == (witness.folder / "head").read_bytes()
    assert (await post(AddCheckpoint(300, (), small).encode()))[0] == 200, "cosigned afresh"
    assert (await post(AddCheckpoint(0, (), large).encode()))[2] == b"300\n"
    assert (await post(AddCheckpoint(300, (), forked).encode()))[0] == 422
    assert (await post(AddCheckpoint(300, proof[:-1], large).encode()))[0] == 422
    junk = NoteSignature("stranger.example", b"abcd", b"x" * 64)
    told = Note(parse_note(large).text, (*parse_note(large).signatures, junk)).encode()
    assert (await post(AddCheckpoint(300, proof, told).encode()))[0] == 200
    kept = parse_note((witness.folder / "head").read_bytes()).signatures
    assert {line.name for line in kept} == {ORIGIN, "one.example"}, "strangers' lines are not kept"
    assert (await post(AddCheckpoint(300, proof, large).encode()))[2] == b"600\n"


async def test_litewitness_and_ours_make_a_quorum(
    place: Place, two: tuple[OurWitness, OurWitness], tmp_path: Path
) -> None:
    """A witness that others wrote, in Go: it reads our requests, we read its cosignatures."""
    (tmp_path / "lite").mkdir()
    known = {ORIGIN: signer().verifier().vkey()}
    torchverify = build(tmp_path, "torchverify")
    with litewitness(tmp_path / "lite", "lite.example/w", known) as lite:
        door = Fetcher(allowed=networks(["127.0.0.0/8"]), insecure_http=True)
        theirs = WitnessClient(lite.url, [lite.key], door.send)
        keys = (lite.key, *two[0].verifiers)
        policy = policy_of("all", *keys)
        async with place.running() as (store, log), door:
            rounds = cosigning(place, store, log, policy, theirs, client(two[0]))
            size = 0
            for more in (3, 252, 1, 400):
                await grow(log, store, more, size)
                size += more
                place.clock.advance(s=1)
                assert await rounds.round(), rounds.standings
                note = rounds.cosigned() or b""
                assert policy.open(note).size == size
                found = torchwood(torchverify, tmp_path, keys, note)
                assert found.returncode == 0, found.stderr
                assert found.stdout.startswith(f"{size} ")
            # one that does not know how far the witness is, is told (409), and goes on from there
            fresh = WitnessClient(lite.url, [lite.key], door.send)
            note = await grow(log, store, 9, size)
            given = await fresh.cosign(parse_note(note), size + 9, log.consistency_proof)
            assert {line.name for line in given} == {"lite.example/w"}
            (tmp_path / "back").mkdir()
        other = Place(tmp_path / "back")
        async with other.running() as (store, log):
            await grow(log, store, 5, 0)
            async with Fetcher(allowed=networks(["127.0.0.0/8"]), insecure_http=True) as door:
                theirs = WitnessClient(lite.url, [lite.key], door.send)
                rounds = cosigning(other, store, log, policy_of("all", lite.key), theirs)
                for _ in range(6):
                    assert not await rounds.round()
                    other.clock.advance(s=2)
                assert {kind for kind, _ in other.alerts.kinds} == {"witness_contradicts"}


def torchwood(
    program: Path, folder: Path, keys: Sequence[NoteVerifier], note: bytes
) -> subprocess.CompletedProcess[str]:
    """What torchwood, which is not ours, says of a head that all of ``keys`` must have cosigned."""
    lines = [f"witness w{n} {key.vkey()}" for n, key in enumerate(keys)]
    names = " ".join(f"w{n}" for n in range(len(keys)))
    group = [f"group all all {names}", "quorum all"] if keys else ["quorum none"]
    text = "\n".join([f"log {signer().verifier().vkey()}", *lines, *group])
    (folder / "torch.policy").write_text(text)
    (folder / "torch.head").write_bytes(note)
    return subprocess.run(
        [program, folder / "torch.policy", "checkpoint", folder / "torch.head"],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip


@pytest.mark.attack("L1")
async def test_torchwood_and_we_agree_on_what_is_no_quorum(
    place: Place, two: tuple[OurWitness, OurWitness], tmp_path: Path
) -> None:
    torchverify = build(tmp_path, "torchverify")
    first, second = two
    async with place.running() as (store, log):
        rounds = cosigning(place, store, log, policy_of("all", *first.verifiers), client(first))
        await grow(log, store, 7, 0)
        assert await rounds.round()
    note = rounds.cosigned() or b""
    parsed = parse_note(note)
    ed, ml = (s for s in parsed.signatures if s.name == "one.example")

    def without(*gone: NoteSignature, other: NoteSignature | None = None) -> bytes:
        kept = tuple(s for s in parsed.signatures if s not in gone)
        return Note(parsed.text, kept + ((other,) if other else ())).encode()

    forged = NoteSignature(ml.name, ml.key_id, ml.signature[:-1] + bytes([ml.signature[-1] ^ 1]))
    later = NoteSignature(ed.name, ed.key_id, ed.signature[:7] + b"\1" + ed.signature[8:])
    both = tuple(first.verifiers)
    for head, keys, good in (
        (note, both, True),
        (note, both[1:], True),
        (without(ed), both[1:], True),
        (without(ed), both, False),
        (without(ml), both, False),
        (without(ml, other=forged), both, False),
        (without(ed, other=later), both, False),
        (note, (*both, second.verifiers[1]), False),
        (note.replace(b"\n7\n", b"\n8\n"), both, False),
    ):
        said = torchwood(torchverify, tmp_path, keys, head)
        assert (said.returncode == 0) is good, said.stderr
        if good:
            assert policy_of("all", *keys).open(head).size == 7
        else:
            with pytest.raises(NoteRefused):
                policy_of("all", *keys).open(head)


async def test_litewitness_believes_a_log_by_its_mldsa44_key_alone(
    place: Place, two: tuple[OurWitness, OurWitness], tmp_path: Path
) -> None:
    (tmp_path / "lite").mkdir()
    beside = Mldsa44Cosigner(ORIGIN, Secret(b"\7" * 32), place.clock)
    known = {ORIGIN: beside.verifier().vkey()}
    with litewitness(tmp_path / "lite", "lite.example/w", known) as lite:
        async with (
            place.store() as store,
            Fetcher(allowed=networks(["127.0.0.0/8"]), insecure_http=True) as door,
        ):
            log = AuditLog(store, place.clock, signer(), place.heads, ORIGIN, beside=[beside])
            await log.start()
            theirs = WitnessClient(lite.url, [lite.key], door.send)
            rounds = cosigning(place, store, log, policy_of("all", lite.key), theirs)
            for first, more in ((0, 5), (5, 300)):
                await grow(log, store, more, first)
                place.clock.advance(s=1)
                assert await rounds.round(), rounds.standings
            await log.close()


@pytest.mark.slow
def test_a_server_with_two_witnesses_and_an_auditor_who_wants_both(tmp_path: Path) -> None:
    """`cryogate up` with `audit.witnesses`, `audit watch --listen` and litewitness, for real."""
    torchverify = build(tmp_path, "torchverify")
    (tmp_path / "first").mkdir()
    with running(tmp_path / "first"):
        pass  # the log's key is made
    known = (tmp_path / "first/state/log.vkey").read_text()
    vkey = known.splitlines()[0]
    origin = vkey.split("+")[0]
    (tmp_path / "lite").mkdir()
    with (
        litewitness(tmp_path / "lite", "lite.example/w", {origin: vkey}) as lite,
        listening(tmp_path, tmp_path / "first/state/log.vkey", "ours.example/w") as (url, ours),
    ):
        lines = [f"log {line}" for line in known.splitlines()]
        lines += [f"witness lite {lite.key.vkey()} {lite.url}"]
        lines += [f"witness ours{n} {line} {url}" for n, line in enumerate(ours)]
        names = " ".join(["lite", *(f"ours{n}" for n in range(len(ours)))])
        text = "\n".join([*lines, f"group every all {names}", "quorum every"])
        (tmp_path / "policy").write_text(text)
        settings = f'[audit]\nwitnesses = "{tmp_path}/policy"\nwitness_every_s = 1\n'
        policy = parse_policy(text)
        with running(tmp_path / "first", settings) as server:
            agent = server.agent()
            job = agent.client.submit(PROGRAM["source"], "local:null", 10)
            agent.client.wait(job.job_id)
            statement = agent.call("GET", f"/v1/jobs/{job.job_id}/provenance").json()["provenance"]
            deadline = time.monotonic() + 30
            while True:
                assert time.monotonic() < deadline, "no cosigned receipt"
                path = f"/v1/jobs/{job.job_id}/receipt"
                answer = agent.http.get(path, params={"wait_s": "5", "cosigned": "1"},
                                        headers=agent.headers("GET", path))  # fmt: skip
                if answer.status_code == 200 and not answer.json()["pending"]:
                    break
            for receipt in answer.json()["receipts"]:
                proof = parse_proof(receipt["proof"])
                size = policy.open(proof.checkpoint).size
                assert proof.verify(receipt["entry"].encode(), policy.logs, origin).size == size
                (tmp_path / "entry").write_text(receipt["entry"])
                (tmp_path / "proof").write_text(receipt["proof"])
                judged = [str(torchverify), "policy", "proof", "proof", "entry"]
                subprocess.run(judged, cwd=tmp_path, check=True, timeout=30)
            saved = {"provenance": statement, "receipt": answer.json()}
            (tmp_path / "saved.json").write_text(json.dumps(saved))
            shown = httpx.get(server.url + "/audit/checkpoint", trust_env=False).content
            assert policy.open(shown).size > 0
            env = clean_env(server.state)
            for place in ([server.url + "/audit"], []):
                ran = subprocess.run(
                    [*CLI, "audit", "verify", *place, "--policy", str(tmp_path / "policy")],
                    env=env, capture_output=True, text=True, check=False, timeout=60,
                )  # fmt: skip
                assert ran.returncode == 0, ran.stdout + ran.stderr
            dispute = [*CLI, "audit", "dispute", job.circuit_sha256, "--url", server.url]
            pack = str(tmp_path / "pack.zip")
            subprocess.run([*dispute, "--out", pack], env=env, check=True, timeout=60)
        stranger = Ed25519Cosigner("three.example", Secret(bytes(32)), SystemClock()).verifier()
        (tmp_path / "wider").write_text(
            f"witness three {stranger.vkey()}\n"
            + text.replace(f"all {names}", f"all three {names}")
        )
        for command in (["provenance", "verify", str(tmp_path / "saved.json")],
                        ["audit", "check", pack]):  # fmt: skip
            for wanted, code in (("policy", 0), ("wider", 4)):
                asked = [*CLI, *command, "--policy", str(tmp_path / wanted)]
                ran = subprocess.run(
                    asked, env=env, capture_output=True, text=True, check=False, timeout=60
                )
                assert ran.returncode == code, ran.stdout + ran.stderr
        exported = [*CLI, "audit", "export", str(tmp_path / "export"), "--json"]
        subprocess.run(exported, env=env, check=True, capture_output=True, timeout=60)
        command = [*CLI, "audit", "verify", str(tmp_path / "export"),
                   "--policy", str(tmp_path / "policy")]  # fmt: skip
        subprocess.run(command, env=env, check=True, capture_output=True, timeout=60)
        (tmp_path / "export/cosigned").unlink()
        ran = subprocess.run(command, env=env, check=False, capture_output=True, text=True)
        assert ran.returncode == 4
        assert "no_quorum" in ran.stdout


@contextmanager
def listening(folder: Path, vkey: Path, name: str) -> Iterator[tuple[str, list[str]]]:
    """`cryogate audit watch --listen`: its URL and its keys."""
    own = folder / "ours"
    command = [*CLI, "audit", "watch", "--vkey", str(vkey), "--name", name, "--dir", str(own),
               "--listen", "127.0.0.1:0", "--json"]  # fmt: skip
    with subprocess.Popen(command, env=clean_env(folder / "none"), stdout=subprocess.PIPE) as run:
        try:
            assert run.stdout is not None
            url = json.loads(b"".join(iter(run.stdout.readline, b"}\n")) + b"}")["url"]
            yield url, (own / "witness.vkey").read_text().splitlines()
        finally:
            run.terminate()
            run.wait(15)
