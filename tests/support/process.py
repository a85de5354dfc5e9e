"""A real ``cryogate up`` in a process of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.up import up


@dataclass(frozen=True)
class ServerProcess:
    """A running server. ``output`` is the file that its standard output goes to."""

    url: str
    state: Path
    pid: int
    output: Path

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    def descriptors(self) -> int:
        """How many files and sockets it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))


@contextmanager
def running(
    folder: Path, port: int = 0, config: Path | None = None, **settings: str | int
) -> Iterator[ServerProcess]:
    """A server on ``port``, or a free one, with its state under ``folder``.

    ``settings`` are names of settings with ``__`` for the dot: ``server__max_body_bytes=1024``.
    """
    state, output = folder / "state", folder / "output.txt"
    env = {f"CRYOGATE_{k.replace('__', '_').upper()}": str(v) for k, v in settings.items()}
    options = ["--port", str(port)]
    if config is not None:
        options += ["--config", str(config)]
    with up(state, output, options, env=env) as server:
        url: str = json.loads((state / "server.json").read_text())["url"]
        yield ServerProcess(url, state, server.pid, output)
