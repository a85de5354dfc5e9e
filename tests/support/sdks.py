"""The vendors' own SDKs, in an environment of their own: they cannot be installed beside ours.

`.ci/sdk` makes the environment and prints its Python, which ``CRYOGATE_SDKS`` names. A test that
needs it is skipped without, unless ``CRYOGATE_REQUIRE_REAL`` is set.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_SCRIPTS = Path(__file__).parent / "sdk"


def python() -> str:
    found = os.environ.get("CRYOGATE_SDKS", "")
    if not found:
        if os.environ.get("CRYOGATE_REQUIRE_REAL"):
            pytest.fail("CRYOGATE_SDKS must name the SDKs' Python: run .ci/sdk")
        pytest.skip("the vendors' SDKs are not installed: run .ci/sdk")
    return found


def _environment() -> dict[str, str]:
    return {
        "PATH": os.defpath,
        "HOME": os.environ.get("HOME", "/"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def run(script: str, *words: str, feed: str = "") -> Any:
    """What the script prints, as JSON."""
    done = subprocess.run(
        [python(), str(_SCRIPTS / script), *words], capture_output=True, text=True, check=False,
        timeout=180, env=_environment(), input=feed,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def moto(folder: Path) -> Iterator[str]:
    """A moto server; its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(python()).parent / "moto_server"), "-p", str(port)]
    with (
        (folder / "moto.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=_environment()) as server,
    ):
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    assert time.monotonic() < deadline, "moto took too long"
                    assert server.poll() is None, (folder / "moto.log").read_text()
                    time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()  # it keeps nothing, and asked to end it may take its time
            server.wait(20)
