"""Lines in a file, flushed to the disk before they count as delivered.

(1) the file is ours and for its owner only; a link in its place is not followed
(2) what a crash or a full disk left of a line is cut off before anything is added: its entry has
    not been acknowledged and comes again
(3) a full file becomes ``NAME.1``, that one ``NAME.2`` and so on; the oldest goes
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from cryogate.ports.sinks import Entry, Sink
from cryogate.sinks.setup import SinkSetup

_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
_BLOCK: Final = 64 << 10


class FileSink(Sink):
    """``file:///absolute/path``."""

    batch = 500

    def __init__(self, setup: SinkSetup) -> None:
        parts = setup.parts
        if parts.scheme != "file" or parts.netloc or parts.query or not parts.path.strip("/"):
            raise ValueError("write file:///absolute/path")
        self._path = Path(unquote(parts.path))
        self._line, self._keep, self._most = setup.line, setup.keep, setup.rotate_bytes
        self._fd: int | None = None

    async def _deliver(self, entries: Sequence[Entry]) -> None:
        data = b"".join(self._line(entry) + b"\n" for entry in entries)
        await asyncio.to_thread(self._write, data)

    def _write(self, data: bytes) -> None:
        fd = self._open()
        before = os.fstat(fd).st_size
        if before and before + len(data) > self._most:
            self._rotate()
            fd, before = self._open(), 0
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(fd, left) :]
            os.fsync(fd)
        except OSError:
            os.ftruncate(fd, before)  # (2)
            raise

    def _open(self) -> int:
        if self._fd is not None and self._moved(self._fd):
            self._close()  # somebody else's rotation took it away
        if self._fd is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(self._path, _FLAGS, 0o600)  # (1)
            _cut(self._fd)
            _sync(self._path.parent)
        return self._fd

    def _moved(self, fd: int) -> bool:
        try:
            there = os.stat(self._path, follow_symlinks=False)
        except FileNotFoundError:
            return True
        return not os.path.samestat(there, os.fstat(fd))

    def _rotate(self) -> None:
        self._close()
        old = [self._path.with_name(f"{self._path.name}.{n}") for n in range(1, self._keep + 1)]
        chain = [self._path, *old]
        for source, target in reversed(list(pairwise(chain))):  # (3)
            if source.exists():
                source.replace(target)
        _sync(self._path.parent)

    def _close(self) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            os.close(fd)

    async def close(self) -> None:
        """See `Sink.close`."""
        self._close()


def _cut(fd: int) -> None:
    end = os.fstat(fd).st_size
    while end:
        start = max(0, end - _BLOCK)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    os.ftruncate(fd, end)


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
