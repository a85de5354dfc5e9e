"""The second copy of the log's head, so that a restored backup cannot fork the log (L2).

A head store keeps one value and replaces it only for who names the present one. It belongs on
other storage than the database: whatever brings the database back to an older state must not
bring the head back with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from cryogate.audit.checkpoint import peek_checkpoint
from cryogate.audit.errors import HeadConflict, HeadUnavailable, NoteRefused
from cryogate.audit.note import MAX_NOTE_BYTES


class HeadStore(ABC):
    """Compare-and-swap storage for one signed checkpoint.

    Signatures are the log's business; a head store only keeps sizes from going back.
    """

    async def open(self) -> None:  # noqa: B027 - a directory needs nothing
        """Connect, and check that the place can compare and swap.

        Raises:
            LogIntegrityError: it cannot.
            Unavailable: it does not answer.
        """

    async def close(self) -> None:  # noqa: B027
        """Let go of it."""

    @abstractmethod
    async def read(self) -> bytes | None:
        """The head, or None if there has never been one.

        Raises:
            HeadUnavailable: it cannot be read.
        """

    @abstractmethod
    async def advance(self, expected: bytes | None, note: bytes) -> None:
        """Replace ``expected`` by ``note``; durable when this returns.

        Raises:
            HeadConflict: another head is there, or ``note`` is not of a larger log.
            HeadUnavailable: it could not be written; the head is the old or the new one.
            NoteRefused: ``note`` is not a checkpoint.
        """


class FileHeadStore(HeadStore):
    """A directory with the head in one file, replaced by an atomic rename."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._head = directory / "head"

    async def read(self) -> bytes | None:
        """See `HeadStore.read`."""
        return await asyncio.to_thread(self._read)

    async def advance(self, expected: bytes | None, note: bytes) -> None:
        """See `HeadStore.advance`."""
        await asyncio.to_thread(self._advance, expected, note)

    def _read(self) -> bytes | None:
        try:
            with self._head.open("rb") as file:
                return file.read(MAX_NOTE_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise HeadUnavailable("the second copy of the log's head cannot be read") from error

    def _advance(self, expected: bytes | None, note: bytes) -> None:
        size = peek_checkpoint(note).size
        try:
            with self._exclusive():
                present = self._read()
                if present != expected:
                    raise HeadConflict("another head has been written in the meantime")
                if present is not None and peek_checkpoint(present).size >= size:
                    raise HeadConflict("the log's head never goes back")
                self._replace(note)
        except NoteRefused as error:
            raise HeadConflict("the head that is there is damaged") from error
        except OSError as error:
            raise HeadUnavailable("the second copy of the log's head cannot be written") from error

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        # The kernel's lock makes compare and swap one step among processes, and ends with them.
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _replace(self, note: bytes) -> None:
        fresh = self._directory / ".head.new"
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.write(note)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._head)
        # The rename itself rests in the directory.
        folder = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
