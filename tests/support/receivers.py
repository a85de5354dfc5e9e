"""What sinks send to: real receivers that can be killed, and say what they have kept."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

_SEQ = re.compile(r'"seq":(\d+)')


class Receiver(ABC):
    """``url`` and ``more`` are what a sink is made of to reach it."""

    url: str

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.more: dict[str, Any] = {}

    @abstractmethod
    async def start(self) -> None:
        """Receive; again after `kill`."""

    @abstractmethod
    async def kill(self) -> None:
        """Stop at once, keeping what was acknowledged and no more."""

    @abstractmethod
    def kept(self) -> str:
        """Everything it keeps."""

    def seqs(self) -> list[int]:
        return [int(found) for found in _SEQ.findall(self.kept())]


class FileReceiver(Receiver):
    """A directory; killed, it is a place where nothing can be written."""

    async def start(self) -> None:
        self.path = self.directory / "out" / "events.jsonl"
        self.url = f"file://{self.path}"
        blocked = self.path.parent
        if blocked.is_file():
            blocked.unlink()
            (self.directory / "away").rename(blocked)

    async def kill(self) -> None:
        folder = self.path.parent
        folder.mkdir(exist_ok=True)
        folder.rename(self.directory / "away")
        folder.write_bytes(b"")

    def kept(self) -> str:
        folder = self.path.parent
        folder = folder if folder.is_dir() else self.directory / "away"
        return "".join(p.read_text() for p in sorted(folder.glob("events.jsonl*"), reverse=True))


RECEIVERS: dict[str, type[Receiver]] = {"file": FileReceiver}


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]
