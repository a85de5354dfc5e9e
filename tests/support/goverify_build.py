"""Builds the verifiers in Go, once a test module that needs one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.support.receivers import cache

SOURCES = Path(__file__).parent


def absent(reason: str) -> None:
    if os.environ.get("CRYOGATE_REQUIRE_REAL") == "1":
        pytest.fail(f"CRYOGATE_REQUIRE_REAL is set: {reason}", pytrace=False)
    pytest.skip(reason)


def build(folder: Path, program: str = "goverify") -> Path:
    """The program, in ``folder``; built by ``CRYOGATE_GO``, else by `.ci/go`'s or the system's."""
    cached = [str(path) for path in cache().glob("go-*/bin/go")]
    go = os.environ.get("CRYOGATE_GO") or max(cached, default=shutil.which("go"))
    if go is None:
        absent("Go is not installed")
    binary = folder / program
    built = subprocess.run(
        [go or "go", "build", "-mod=readonly", "-o", binary, "."],
        cwd=SOURCES / program, env={**os.environ, "GOTOOLCHAIN": "local"}, timeout=300,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if built.returncode:
        absent(f"{program} cannot be built (.ci/go gives a Go that can): {built.stderr[-300:]}")
    return binary
