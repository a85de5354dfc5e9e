"""A witness of somebody else's log: cosigns growth, and keeps what contradicts."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.audit import ORIGIN, Deployment, event, record, signer

from cryogate.audit.checkpoint import open_checkpoint
from cryogate.audit.cosign import Ed25519Cosigner, Mldsa44Cosigner
from cryogate.audit.errors import LogIntegrityError, NoteRefused
from cryogate.audit.export import export_log
from cryogate.audit.heads import FileHeadStore
from cryogate.audit.note import NoteSigner
from cryogate.audit.remote import RemoteSource
from cryogate.audit.witness import Contradiction, Witness
from cryogate.domain.secrets import Secret
from cryogate.ports.store import UnitOfWork
from cryogate.testing.clock import FakeClock

NAME = "witness.example/w1"


def witness(folder: Path) -> tuple[Witness, list[NoteSigner]]:
    clock = FakeClock()
    own: list[NoteSigner] = [Ed25519Cosigner(NAME, Secret(b"\3" * 32), clock),
           Mldsa44Cosigner(NAME, Secret(b"\4" * 32), clock)]  # fmt: skip
    heads = FileHeadStore(folder / "w")
    made = Witness(ORIGIN, [signer().verifier()], own, heads, folder / "evidence")
    return made, own


def served(directory: Path) -> RemoteSource:
    def get(path: str) -> bytes | None:
        file = directory / path
        return file.read_bytes() if file.is_file() else None

    return RemoteSource(get)


async def grown(folder: Path, name: str, *sizes: int, agent: str = "agent-7") -> list[Path]:
    """Exports of one log at growing sizes."""
    (folder / name).mkdir()
    found = []
    async with Deployment(folder / name).running() as (store, log):
        last = 0
        for size in sizes:
            if agent == "agent-7":
                await record(store, size - last, last)
            else:
                made = tuple(event(n, agent_id=agent) for n in range(last, size))
                await store.commit(UnitOfWork((), made))
            await log.sequence_now()
            target = folder / f"{name}-{size}"
            await export_log(store, await log.checkpoint_now(), log.verifiers, target)
            found.append(target)
            last = size
    return found


async def test_growth_is_cosigned_with_both_keys(tmp_path: Path) -> None:
    made, own = witness(tmp_path)
    exports = await grown(tmp_path, "log", 5, 255, 256, 700)
    before, note = 0, b""
    for export, size in zip(exports, (5, 255, 256, 700), strict=True):
        seen = await made.look(served(export))
        assert (seen.before, seen.size, seen.grew) == (before, size, True)
        for signing in own:
            assert open_checkpoint(seen.note, [signing.verifier()], ORIGIN).size == size
        again = await made.look(served(export))
        assert (again.grew, again.note) == (False, seen.note)
        before, note = size, seen.note
    assert (tmp_path / "w" / "head").read_bytes() == note


@pytest.mark.attack("L1")
@pytest.mark.parametrize("size", [300, 400])
async def test_a_fork_is_not_cosigned_and_both_heads_are_kept(tmp_path: Path, size: int) -> None:
    made, _ = witness(tmp_path)
    (mine,) = await grown(tmp_path, "log", 300)
    (other,) = await grown(tmp_path, "fork", size, agent="agent-8")
    seen = await made.look(served(mine))
    with pytest.raises(Contradiction):
        await made.look(served(other))
    assert (tmp_path / "w" / "head").read_bytes() == seen.note
    kept = sorted(path.name for path in (tmp_path / "evidence").iterdir())
    assert kept == sorted(["head-300", f"head-{size}-contradicts"])
    for name in kept:
        note = (tmp_path / "evidence" / name).read_bytes()
        assert open_checkpoint(note, [signer().verifier()], ORIGIN).size in (300, size)


@pytest.mark.attack("L2")
async def test_a_log_that_was_set_back_is_not_cosigned(tmp_path: Path) -> None:
    made, _ = witness(tmp_path)
    small, large = await grown(tmp_path, "log", 300, 400)
    await made.look(served(large))
    with pytest.raises(LogIntegrityError, match="set back"):
        await made.look(served(small))


@pytest.mark.attack("L1")
async def test_a_head_of_another_key_is_not_cosigned(tmp_path: Path) -> None:
    made, _ = witness(tmp_path)
    (export,) = await grown(tmp_path, "log", 5)
    other = Witness(
        ORIGIN, [signer(2).verifier()], [Ed25519Cosigner(NAME, Secret(b"\3" * 32), FakeClock())],
        FileHeadStore(tmp_path / "x"), tmp_path / "e",
    )  # fmt: skip
    with pytest.raises(NoteRefused):
        await other.look(served(export))
    assert not (tmp_path / "x" / "head").exists()
    await made.look(served(export))
