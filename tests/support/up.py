"""One ``cryogate up`` process: started, awaited, and ended well, for every kind of test server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path

CLI = (sys.executable, "-m", "cryogate.cli.main")
_START_S = 60.0
_BYTECODE = Path(__file__).resolve().parents[2] / ".pytest_cache" / "bytecode"


def keep_bytecode(environment: MutableMapping[str, str]) -> None:
    """Have processes started with ``environment`` keep compiled modules, whatever it said before.

    Compiling everything at every start takes longer than the start.
    """
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment.setdefault("PYTHONPYCACHEPREFIX", str(_BYTECODE))


def clean_env(state: Path) -> dict[str, str]:
    """The environment without anything that configures Cryogate, but for the state directory."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CRYOGATE_")}
    keep_bytecode(kept)
    return {**kept, "CRYOGATE_STATE_DIR": str(state)}


@contextmanager
def up(
    state: Path,
    output: Path,
    options: Sequence[str] = (),
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A server that listens, on a free port unless ``options`` name one.

    What it prints goes to ``output``. It must end well when told to, so that every test also proves
    the shutdown.
    """
    command = [*CLI, "up", *([] if "--port" in options else ["--port", "0"]), *options]
    whole = {**clean_env(state), **(env or {})}
    with (
        output.open("wb") as sink,
        subprocess.Popen(command, env=whole, cwd=cwd, stdout=sink, stderr=sink) as server,
    ):
        try:
            deadline = time.monotonic() + _START_S
            while not (state / "server.json").exists():
                assert server.poll() is None, f"it did not start: {tail(output)}"
                assert time.monotonic() < deadline, f"it took too long: {tail(output)}"
                time.sleep(0.05)
            yield server
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                code = server.wait(timeout=30)
            except subprocess.TimeoutExpired:
                server.kill()
                raise
        assert code == 0, tail(output)


def tail(output: Path) -> str:
    return output.read_text(errors="replace")[-2000:]
