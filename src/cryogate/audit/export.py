"""A log as a directory in tlog-tiles layout: to hand out, to keep elsewhere, to verify offline."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cryogate.audit.checkpoint import open_checkpoint
from cryogate.audit.nodes import TILE_WIDTH
from cryogate.audit.note import NoteVerifier
from cryogate.audit.reading import pruned_before
from cryogate.audit.tiles import TileServer, tiles_of
from cryogate.ports.store import ReadStore

CHECKPOINT_FILE = "checkpoint"
#: The newest head that witnesses cosigned, where there are any; mostly a little older.
COSIGNED_FILE = "cosigned"
VKEY_FILE = "vkey"
Progress = Callable[[int, int], None]


async def export_log(
    store: ReadStore,
    checkpoint: bytes,
    verifiers: Sequence[NoteVerifier],
    directory: Path,
    progress: Progress | None = None,
    beside: Mapping[str, bytes] | None = None,
) -> int:
    """Write the log of ``checkpoint`` into an empty or new directory; how many entries it has.
    Entries that were pruned are there as their hashes.

    The checkpoint comes last, so a directory with one is complete. The ``vkey`` file is there for
    convenience: who verifies should have the key from elsewhere. ``beside`` are further files.

    Raises:
        LogIntegrityError: ``checkpoint`` is not signed by one of ``verifiers``, or the store does
            not hold what it covers.
        FileExistsError: the directory is not empty.
        OSError: it cannot be written.
        StoreUnavailable: the database did not answer.
    """
    size = open_checkpoint(checkpoint, verifiers).size
    _prepare(directory)
    server = TileServer(store, lambda: checkpoint)
    left = await pruned_before(store)
    tiles = [t for t in tiles_of(size) if t.row is not None or (t.index + 1) * TILE_WIDTH > left]
    for done, tile in enumerate(tiles, 1):
        _write(directory / str(tile).lstrip("/"), await server.tile(tile, size))
        if progress is not None:
            progress(done, len(tiles))
    for name, content in (beside or {}).items():
        _write(directory / name, content)
    _write(directory / VKEY_FILE, "".join(f"{each.vkey()}\n" for each in verifiers).encode())
    _write(directory / CHECKPOINT_FILE, checkpoint)
    return size


def _prepare(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise FileExistsError(f"{directory} is not empty; an export never mixes with another")


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Events may name people and purposes: for the owner's eyes, like the database.
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(content)
