"""Every way of changing a log is found, by the verifier and by one that shares no code (L1).

The tests work on the database file as an attacker with write access would, and then, where it
matters, repair every hash that the attacker can repair. Only the signature is out of reach.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.support import independent_verify
from tests.support.audit import ORIGIN, Deployment, record, signer

from cryogate.audit.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from cryogate.audit.export import export_log
from cryogate.audit.findings import Finding, FindingKind
from cryogate.audit.merkle import CompactRange, leaf_hash, root_of
from cryogate.audit.note import NoteVerifier
from cryogate.audit.sources import DirectorySource, StoreSource
from cryogate.audit.verify import VerifyReport, verify_log
from cryogate.ports.audit import leaf_bytes

pytestmark = pytest.mark.attack("L1")

SIZE = 600
Tamper = Callable[[sqlite3.Connection], None]


@pytest.fixture
async def deployment(tmp_path: Path) -> Deployment:
    """A log of 600 entries with heads at 250, 500 and 600."""
    made = Deployment(tmp_path)
    async with made.running() as (store, log):
        for first, past in ((0, 250), (250, 500), (500, SIZE)):
            await record(store, past - first, first)
            await log.sequence_now()
            await log.checkpoint_now()
    return made


def tamper(deployment: Deployment, how: Tamper) -> None:
    with closing(sqlite3.connect(deployment.database)) as connection:
        how(connection)
        connection.commit()


def run(sql: str, *values: object) -> Tamper:
    def tampering(connection: sqlite3.Connection) -> None:
        assert connection.execute(sql, values).rowcount > 0

    return tampering


def repair_hashes(connection: sqlite3.Connection) -> None:
    """Recompute all that follows from the events, as a thorough attacker would."""
    rows = connection.execute("SELECT event_id, body FROM events ORDER BY seq").fetchall()
    tree = CompactRange()
    connection.execute("DELETE FROM log_nodes")
    connection.execute("UPDATE events SET seq = NULL")
    for seq, (event_id, body) in enumerate(rows):
        leaf = leaf_hash(leaf_bytes(body.encode(), seq))
        connection.execute(
            "UPDATE events SET seq = ?, leaf_hash = ? WHERE event_id = ?",
            (seq, leaf.hex(), event_id),
        )
        for level, position, value in tree.append(leaf):
            if level % 8 == 0:
                connection.execute(
                    "INSERT INTO log_nodes VALUES (?, ?, ?)", (level, position, value.hex())
                )


async def verify(
    deployment: Deployment, *, trust: NoteVerifier | None = None, with_head: bool = True
) -> VerifyReport:
    head = await deployment.heads.read()
    kept = {"the head store": head} if head and with_head else {}
    async with deployment.store() as store:
        return await verify_log(
            StoreSource(store), [trust or deployment.signer.verifier()], kept=kept
        )


def kinds(report: VerifyReport) -> set[FindingKind]:
    assert report.ok is not bool(report.findings)
    return {finding.kind for finding in report.findings}


def only(report: VerifyReport, kind: FindingKind) -> list[Finding]:
    return [finding for finding in report.findings if finding.kind is kind]


async def test_an_untouched_log_is_good(deployment: Deployment) -> None:
    report = await verify(deployment)
    assert report.ok
    assert report.findings == ()
    assert (report.size, report.unsigned) == (SIZE, 0)
    head = open_checkpoint(await deployment.heads.read() or b"", [deployment.signer.verifier()])
    assert report.root == head.root


async def test_entries_that_wait_for_a_head_are_counted_apart(deployment: Deployment) -> None:
    async with deployment.store() as store:
        log = deployment.log(store)
        await log.start()
        await record(store, 30, SIZE)
        await log.sequence_now()
    report = await verify(deployment)
    assert report.ok
    assert (report.size, report.unsigned) == (SIZE, 30)


EDIT = "UPDATE events SET body = replace(body, '\"shots\":1000', '\"shots\":1') WHERE seq = ?"


@pytest.mark.parametrize("seq", [0, 255, 256, 300, 511, 599])
async def test_an_edited_entry_is_named(deployment: Deployment, seq: int) -> None:
    tamper(deployment, run(EDIT, seq))
    report = await verify(deployment)
    assert kinds(report) == {FindingKind.EDITED, FindingKind.ROOT}
    (edited,) = only(report, FindingKind.EDITED)
    assert (edited.first, edited.last) == (seq, seq)
    (root,) = only(report, FindingKind.ROOT)
    assert "so do all kept hashes" in root.detail


async def test_an_edited_entry_with_its_hash_is_narrowed_to_its_tile(
    deployment: Deployment,
) -> None:
    def edit(connection: sqlite3.Connection) -> None:
        run(EDIT, 300)(connection)
        ((body,),) = connection.execute("SELECT body FROM events WHERE seq = 300")
        leaf = leaf_hash(leaf_bytes(body.encode(), 300)).hex()
        run("UPDATE events SET leaf_hash = ? WHERE seq = 300", leaf)(connection)

    tamper(deployment, edit)
    report = await verify(deployment)
    assert kinds(report) == {FindingKind.HASHES, FindingKind.ROOT}
    (hashes,) = only(report, FindingKind.HASHES)
    assert (hashes.first, hashes.last) == (256, 511)


async def test_a_rewritten_history_is_narrowed_between_two_heads(deployment: Deployment) -> None:
    def rewrite(connection: sqlite3.Connection) -> None:
        run(EDIT, 300)(connection)
        repair_hashes(connection)

    tamper(deployment, rewrite)
    report = await verify(deployment)
    (root,) = report.findings
    assert (root.kind, root.first, root.last) == (FindingKind.ROOT, 250, 499)
    assert report.root is not None


async def test_a_deleted_entry_is_named(deployment: Deployment) -> None:
    tamper(deployment, run("DELETE FROM events WHERE seq = 300"))
    report = await verify(deployment)
    assert kinds(report) == {FindingKind.MISSING}
    assert [(f.first, f.last) for f in report.findings] == [(300, 300)]
    assert report.root is None


async def test_many_deleted_entries_are_one_finding(deployment: Deployment) -> None:
    tamper(deployment, run("DELETE FROM events WHERE seq BETWEEN 200 AND 420"))
    report = await verify(deployment)
    assert [(f.kind, f.first, f.last) for f in report.findings] == [(FindingKind.MISSING, 200, 420)]


async def test_a_deletion_that_numbers_the_rest_anew_is_found(deployment: Deployment) -> None:
    def delete(connection: sqlite3.Connection) -> None:
        run("DELETE FROM events WHERE seq = 300")(connection)
        for seq in range(301, SIZE):
            run("UPDATE events SET seq = ? WHERE seq = ?", seq - 1, seq)(connection)

    tamper(deployment, delete)
    report = await verify(deployment)
    assert {FindingKind.REORDERED, FindingKind.TRUNCATED} <= kinds(report)
    (moved,) = only(report, FindingKind.REORDERED)
    assert (moved.first, moved.last) == (300, SIZE - 2)
    assert "1 later" in moved.detail


@pytest.mark.parametrize("with_hashes", [True, False])
async def test_two_swapped_entries_are_named(deployment: Deployment, with_hashes: bool) -> None:
    def swap(connection: sqlite3.Connection) -> None:
        column = "seq" if with_hashes else "body"
        rows = dict(connection.execute(f"SELECT seq, {column} FROM events WHERE seq IN (20, 400)"))  # noqa: S608
        for seq, value in ((20, rows[400]), (400, rows[20])):
            if with_hashes:
                run("UPDATE events SET seq = -? WHERE seq = ?", value + 1, seq)(connection)
            else:
                run("UPDATE events SET body = ? WHERE seq = ?", value, seq)(connection)
        connection.execute("UPDATE events SET seq = -seq - 1 WHERE seq < 0")

    tamper(deployment, swap)
    report = await verify(deployment)
    moved = only(report, FindingKind.REORDERED)
    assert [(f.first, f.detail) for f in moved] == [
        (20, "this entry was logged as 400"),
        (400, "this entry was logged as 20"),
    ]
    assert FindingKind.EDITED not in kinds(report)


async def test_a_cut_off_end_is_found(deployment: Deployment) -> None:
    tamper(deployment, run("DELETE FROM events WHERE seq >= 550"))
    report = await verify(deployment)
    (cut,) = report.findings
    assert (cut.kind, cut.first, cut.last) == (FindingKind.TRUNCATED, 550, 599)


async def test_an_older_state_of_the_log_itself_is_found_by_the_kept_head(
    deployment: Deployment,
) -> None:
    """Replay: everything newer is gone, and what is left is consistent and signed."""

    def replay(connection: sqlite3.Connection) -> None:
        run("DELETE FROM events WHERE seq >= 500")(connection)
        run("DELETE FROM checkpoints WHERE size > 500")(connection)

    tamper(deployment, replay)
    report = await verify(deployment)
    (cut,) = report.findings
    assert cut.kind is FindingKind.TRUNCATED
    assert "the head store covers 600" in cut.detail
    # Without a head from elsewhere nobody can know: this is why there is a head store.
    assert (await verify(deployment, with_head=False)).ok


async def test_an_entry_that_is_replayed_is_found(deployment: Deployment) -> None:
    def replay(connection: sqlite3.Connection) -> None:
        columns = "body, action, agent_id, experiment_id, job_id, timestamp_ms"
        run(f"INSERT INTO events ({columns}) SELECT {columns} FROM events WHERE seq = 10")(  # noqa: S608
            connection
        )
        run("UPDATE events SET seq = seq + 100000 WHERE seq >= 400")(connection)
        run("UPDATE events SET seq = 400 WHERE seq IS NULL")(connection)
        run("UPDATE events SET seq = seq - 99999 WHERE seq >= 100000")(connection)
        repair_hashes(connection)

    tamper(deployment, replay)
    report = await verify(deployment)
    assert kinds(report) == {FindingKind.ROOT}
    assert report.findings[0].first == 250


async def test_a_fork_signed_by_the_log_itself_is_found(deployment: Deployment) -> None:
    """The log's own key signs two histories: the one that others have seen, and another."""

    def fork(connection: sqlite3.Connection) -> None:
        run(EDIT, 100)(connection)
        repair_hashes(connection)
        rows = connection.execute("SELECT leaf_hash FROM events ORDER BY seq").fetchall()
        leaves = [bytes.fromhex(leaf) for (leaf,) in rows]
        for size in (250, 500, SIZE):
            root = root_of(leaves[:size])
            note = sign_checkpoint(Checkpoint(ORIGIN, size, root), deployment.signer).decode()
            run("UPDATE checkpoints SET root = ?, note = ? WHERE size = ?", root.hex(), note, size)(
                connection
            )

    tamper(deployment, fork)
    assert (await verify(deployment, with_head=False)).ok
    report = await verify(deployment)
    assert FindingKind.FORK in kinds(report)
    (found,) = only(report, FindingKind.FORK)
    assert found.first == SIZE


async def test_a_log_signed_anew_with_another_key_is_found(deployment: Deployment) -> None:
    other = signer(2)

    def rekey(connection: sqlite3.Connection) -> None:
        run(EDIT, 100)(connection)
        repair_hashes(connection)
        rows = connection.execute("SELECT leaf_hash FROM events ORDER BY seq").fetchall()
        leaves = [bytes.fromhex(leaf) for (leaf,) in rows]
        for size in (250, 500, SIZE):
            note = sign_checkpoint(Checkpoint(ORIGIN, size, root_of(leaves[:size])), other)
            run("UPDATE checkpoints SET note = ? WHERE size = ?", note.decode(), size)(connection)

    tamper(deployment, rekey)
    report = await verify(deployment, with_head=False)
    assert FindingKind.SIGNATURE in kinds(report)
    assert report.size == 0
    # Whoever is made to trust the new key is told otherwise by the head that was kept.
    report = await verify(deployment, trust=other.verifier())
    assert any("the head store" in f.detail for f in only(report, FindingKind.SIGNATURE))


@pytest.mark.parametrize("at", [250, SIZE])
async def test_a_forged_checkpoint_is_found(deployment: Deployment, at: int) -> None:
    tamper(
        deployment,
        run("UPDATE checkpoints SET note = replace(note, char(10) || ?, char(10) || '9') "
            "WHERE size = ?", str(at)[0], at),
    )  # fmt: skip
    report = await verify(deployment)
    assert FindingKind.SIGNATURE in kinds(report)


async def test_a_checkpoint_under_another_size_is_found(deployment: Deployment) -> None:
    tamper(deployment, run("UPDATE checkpoints SET size = 400 WHERE size = 500"))
    report = await verify(deployment)
    (found,) = report.findings
    assert (found.kind, found.first) == (FindingKind.SIGNATURE, 400)


@pytest.mark.parametrize("sql", [
    "UPDATE events SET body = replace(body, ',', ', ') WHERE seq = 300",
    "UPDATE events SET body = '{\"seq\":300,' || substr(body, 2) WHERE seq = 300",
    "UPDATE events SET body = 'x' WHERE seq = 300",
])  # fmt: skip
async def test_an_event_that_is_not_canonical_is_named(deployment: Deployment, sql: str) -> None:
    tamper(deployment, run(sql))
    report = await verify(deployment)
    assert [(f.kind, f.first) for f in report.findings] == [(FindingKind.NOT_CANONICAL, 300)]


async def test_numbers_outside_the_log_are_found(deployment: Deployment) -> None:
    insert = "INSERT INTO events (seq, body, action, timestamp_ms) VALUES (?, '{}', 'x', 0)"
    tamper(deployment, run(insert, -5))
    assert kinds(await verify(deployment)) == {FindingKind.SEQUENCE}
    tamper(deployment, run("DELETE FROM events WHERE seq < 0"))
    tamper(deployment, run(insert, SIZE + 3))
    report = await verify(deployment)
    assert next((f.kind, f.first, f.last) for f in report.findings) == (
        FindingKind.MISSING,
        SIZE,
        SIZE + 2,
    )


async def test_changed_inner_hashes_are_found(deployment: Deployment) -> None:
    tamper(deployment, run("UPDATE log_nodes SET hash = printf('%064d', 0) WHERE position = 1"))
    report = await verify(deployment)
    assert [(f.kind, f.first, f.last) for f in report.findings] == [(FindingKind.HASHES, 256, 511)]


async def test_without_a_key_or_a_head_nothing_is_good(deployment: Deployment) -> None:
    async with deployment.store() as store:
        report = await verify_log(StoreSource(store), [])
    assert kinds(report) == {FindingKind.NO_TRUST}
    tamper(deployment, run("DELETE FROM checkpoints"))
    assert kinds(await verify(deployment, with_head=False)) == {FindingKind.NO_CHECKPOINT}
    assert (await verify(deployment)).ok


# --- exported logs, judged by two verifiers that share no code ---


async def export(deployment: Deployment) -> Path:
    target = deployment.directory / "export"
    async with deployment.running() as (store, log):
        note = log.checkpoint()
        assert note is not None
        assert await export_log(store, note, log.verifiers, target) == SIZE
    return target


async def verify_export(target: Path) -> VerifyReport:
    return await verify_log(DirectorySource(target), [signer().verifier()])


def independent(target: Path) -> str:
    """Empty if the independent verifier is content, else what it says."""
    try:
        size, _ = independent_verify.verify(target, signer().verifier().vkey())
    except independent_verify.Wrong as wrong:
        return str(wrong)
    assert size == SIZE
    return ""


async def test_an_export_is_good_to_both(deployment: Deployment) -> None:
    target = await export(deployment)
    report = await verify_export(target)
    assert report.ok
    assert independent_verify.verify(target, (target / "vkey").read_text()) == (SIZE, report.root)


def edit_bundle(data: bytes) -> bytes:
    return data.replace(b'"shots":1000', b'"shots":9000', 1)


def drop_first(data: bytes) -> bytes:
    return data[2 + int.from_bytes(data[:2], "big") :]


def swap_first(data: bytes) -> bytes:
    one = 2 + int.from_bytes(data[:2], "big")
    two = one + 2 + int.from_bytes(data[one : one + 2], "big")
    return data[one:two] + data[:one] + data[two:]


def repeat_first(data: bytes) -> bytes:
    return data[: 2 + int.from_bytes(data[:2], "big")] + data


def respell(data: bytes) -> bytes:
    one = 2 + int.from_bytes(data[:2], "big")
    entry = data[2:one].replace(b":", b": ", 1)
    return len(entry).to_bytes(2, "big") + entry + data[one:]


@pytest.mark.parametrize(
    ("file", "how", "kind"),
    [
        ("000", edit_bundle, FindingKind.EDITED),
        ("001", edit_bundle, FindingKind.EDITED),
        ("002.p/88", edit_bundle, FindingKind.EDITED),
        ("001", drop_first, FindingKind.REORDERED),
        ("002.p/88", drop_first, FindingKind.REORDERED),
        ("001", swap_first, FindingKind.REORDERED),
        ("002.p/88", repeat_first, FindingKind.REORDERED),
        ("001", respell, FindingKind.NOT_CANONICAL),
        ("001", lambda data: data[:-3], FindingKind.MISSING),
        ("001", lambda data: b"", FindingKind.MISSING),
    ],
)
async def test_a_changed_bundle_is_found_by_both(
    deployment: Deployment, file: str, how: Callable[[bytes], bytes], kind: FindingKind
) -> None:
    target = await export(deployment)
    bundle = target / "tile" / "entries" / file
    bundle.write_bytes(how(bundle.read_bytes()))
    report = await verify_export(target)
    assert kind in kinds(report)
    assert independent(target)


async def test_a_missing_bundle_and_a_cut_off_export_are_found_by_both(
    deployment: Deployment,
) -> None:
    target = await export(deployment)
    (target / "tile" / "entries" / "001").rename(target / "kept")
    report = await verify_export(target)
    assert [(f.kind, f.first, f.last) for f in report.findings] == [(FindingKind.MISSING, 256, 511)]
    assert "missing" in independent(target)
    (target / "kept").rename(target / "tile" / "entries" / "001")
    shutil.rmtree(target / "tile" / "entries" / "002.p")
    report = await verify_export(target)
    assert [(f.kind, f.first, f.last) for f in report.findings] == [
        (FindingKind.TRUNCATED, 512, 599)
    ]
    assert "missing" in independent(target)


async def test_a_checkpoint_by_another_key_in_an_export_is_found_by_both(
    deployment: Deployment,
) -> None:
    target = await export(deployment)
    forged = sign_checkpoint(Checkpoint(ORIGIN, SIZE, leaf_hash(b"")), signer(2))
    (target / "checkpoint").write_bytes(forged)
    (target / "vkey").write_text(signer(2).verifier().vkey())
    assert FindingKind.SIGNATURE in kinds(await verify_export(target))
    assert independent(target) == "not signed by this key"


async def test_changed_hash_tiles_in_an_export_are_found(deployment: Deployment) -> None:
    target = await export(deployment)
    tile = target / "tile" / "1" / "000.p" / "2"
    tile.write_bytes(bytes(64))
    assert kinds(await verify_export(target)) == {FindingKind.HASHES}
    assert independent(target) == "", "it computes every hash itself"


async def test_a_bundle_with_an_absurd_number_does_not_keep_the_verifier(
    deployment: Deployment,
) -> None:
    target = await export(deployment)
    far = target / "tile" / "entries" / "x900"
    far.mkdir()
    (far / "000").write_bytes(b"")
    report = await verify_export(target)
    assert FindingKind.SEQUENCE in kinds(report)


async def test_an_export_never_mixes_with_another(deployment: Deployment) -> None:
    await export(deployment)
    with pytest.raises(FileExistsError):
        await export(deployment)
