"""The head store: one value, compared and swapped, never going back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.support.audit import ORIGIN, signer

from cryogate.audit.checkpoint import Checkpoint, sign_checkpoint
from cryogate.audit.errors import HeadConflict, HeadUnavailable, NoteRefused
from cryogate.audit.heads import FileHeadStore, HeadStore
from cryogate.audit.merkle import leaf_hash


def note(size: int, seed: bytes = b"") -> bytes:
    return sign_checkpoint(Checkpoint(ORIGIN, size, leaf_hash(seed)), signer())


@pytest.fixture
def heads(tmp_path: Path) -> FileHeadStore:
    return FileHeadStore(tmp_path / "deep" / "heads")


async def test_a_head_is_kept_and_replaced_by_who_knows_it(heads: FileHeadStore) -> None:
    assert await heads.read() is None
    await heads.advance(None, note(1))
    await heads.advance(note(1), note(5))
    assert await heads.read() == note(5)


@pytest.mark.attack("L2")
async def test_a_head_never_goes_back(heads: FileHeadStore) -> None:
    await heads.advance(None, note(5))
    for smaller in (note(4), note(5), note(5, b"fork")):
        with pytest.raises(HeadConflict):
            await heads.advance(note(5), smaller)
    assert await heads.read() == note(5)


@pytest.mark.parametrize("expected", [None, b"", note(4), note(5, b"other")])
async def test_who_expects_another_head_changes_nothing(
    heads: FileHeadStore, expected: bytes | None
) -> None:
    await heads.advance(None, note(5))
    with pytest.raises(HeadConflict):
        await heads.advance(expected, note(9))
    assert await heads.read() == note(5)


async def test_of_many_writers_one_wins(heads: FileHeadStore, tmp_path: Path) -> None:
    await heads.advance(None, note(1))
    writers = [FileHeadStore(tmp_path / "deep" / "heads") for _ in range(8)]
    results = await asyncio.gather(
        *(w.advance(note(1), note(n)) for n, w in enumerate(writers, 2)), return_exceptions=True
    )
    assert [type(r) for r in results].count(HeadConflict) == 7
    assert await heads.read() == note(2 + results.index(None))


async def test_what_is_no_checkpoint_is_not_kept(heads: FileHeadStore) -> None:
    with pytest.raises(NoteRefused):
        await heads.advance(None, b"text")
    assert await heads.read() is None


async def test_a_damaged_head_is_not_overwritten(heads: FileHeadStore, tmp_path: Path) -> None:
    await heads.advance(None, note(1))
    (tmp_path / "deep" / "heads" / "head").write_bytes(b"torn")
    with pytest.raises(HeadConflict, match="damaged"):
        await heads.advance(b"torn", note(9))


async def test_an_unusable_directory_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    heads = FileHeadStore(tmp_path / "file" / "heads")
    with pytest.raises(HeadUnavailable):
        await heads.read()
    with pytest.raises(HeadUnavailable):
        await heads.advance(None, note(1))


def test_a_half_written_head_store_cannot_be_made() -> None:
    class Half(HeadStore):
        async def read(self) -> bytes | None:
            return None

    with pytest.raises(TypeError):
        Half()  # type: ignore[abstract]
