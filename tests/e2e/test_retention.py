"""A written retention policy: refused below the legal minimum, used by a command."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from tests.support.running import running
from tests.support.up import CLI, clean_env

from cryogate.config import ConfigError
from cryogate.config.retention import read_retention

GOOD = 'keep_days = 400\ndecided_by = "the board, 2026-11-02"\nreason = "contracts run a year"\n'


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "retention.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_policy_is_read_with_its_digest(tmp_path: Path) -> None:
    policy = read_retention(written(tmp_path, GOOD + 'holds = ["ghz"]\n'))
    assert (policy.keep_days, policy.legal_minimum_days, policy.holds) == (400, 183, ("ghz",))
    assert policy.digest != read_retention(written(tmp_path, GOOD)).digest


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (GOOD.replace("400", "182"), "legal minimum is 183"),
        (GOOD + "legal_minimum_days = 30\n", "not lowered"),
        (GOOD + "legal_minimum_days = 500\n", "legal minimum is 500"),
        (GOOD.replace("400", "-1"), "keep_days"),
        (GOOD.replace("400", "true"), "keep_days"),
        (GOOD.replace("400", "4e2"), "keep_days"),
        (GOOD.replace("reason", "because"), "reason|because"),
        (GOOD.replace('"the board, 2026-11-02"', '""'), "decided_by"),
        (GOOD + 'holds = ["../x"]\n', "holds"),
        (GOOD + "keep_days = 500\n", "retention_file"),
        ("", "keep_days"), ("a = " + "[" * 9000, "retention_file"), (b"\xff\xfe", "retention_file"),
        (b"x" * 70_000, "too large"),
    ],
)  # fmt: skip
def test_what_is_no_policy_is_refused_with_the_reason(
    tmp_path: Path, text: str | bytes, why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        read_retention(written(tmp_path, text))


def test_a_missing_policy_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_retention(tmp_path / "none.toml")


def test_the_command_says_what_would_go(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    with running(tmp_path, f'[audit]\nretention_file = "{path}"\n') as server:

        def pruned(option: str) -> dict[str, Any]:
            done = subprocess.run(
                [*CLI, "audit", "prune", option, "--json"], env=clean_env(server.state),
                capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            told: dict[str, Any] = json.loads(done.stdout)
            return told

        until = time.monotonic() + 30
        while pruned("--dry-run")["held_by"] is None:  # the log has no entry in its first moments
            assert time.monotonic() < until
        for option in ("--dry-run", "--yes"):
            told = pruned(option)
            assert (told["entries"], told["left_from"], told["held_by"]) == (0, 0, "keep_days")
