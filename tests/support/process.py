"""A real ``cryogate up`` in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_START_S = 60.0


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
    It must end well when told to, so that every test also proves the shutdown.
    """
    state, output = folder / "state", folder / "output.txt"
    env = {k: v for k, v in os.environ.items() if not k.startswith("CRYOGATE_")}
    env |= {f"CRYOGATE_{k.replace('__', '_').upper()}": str(v) for k, v in settings.items()}
    env["CRYOGATE_STATE_DIR"] = str(state)
    command = [sys.executable, "-m", "cryogate.cli.main", "up", "--port", str(port)]
    if config is not None:
        command += ["--config", str(config)]
    with (
        output.open("wb") as sink,
        subprocess.Popen(command, env=env, stdout=sink, stderr=subprocess.STDOUT) as server,
    ):
        try:
            yield ServerProcess(_await_url(server, state, output), state, server.pid, output)
            assert server.poll() is None, f"the server ended by itself: {_tail(output)}"
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                code = server.wait(timeout=30)
            except subprocess.TimeoutExpired:
                server.kill()
                raise
        assert code == 0, _tail(output)


def _await_url(server: subprocess.Popen[bytes], state: Path, output: Path) -> str:
    found: Mapping[str, str]
    deadline = time.monotonic() + _START_S
    while not (state / "server.json").exists():
        assert server.poll() is None, f"the server did not start: {_tail(output)}"
        assert time.monotonic() < deadline, f"the server took too long: {_tail(output)}"
        time.sleep(0.05)
    found = json.loads((state / "server.json").read_text())
    return found["url"]


def _tail(output: Path) -> str:
    return output.read_text(errors="replace")[-2000:]
