"""The README, followed by a new user to the letter."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.live import ROOT, live
from tests.support.up import CLI

pytestmark = pytest.mark.slow
README = (ROOT / "README.md").read_text("utf-8")
#: Done by the fixture, or (``make``) what runs this test.
ELSEWHERE = ("make ", ". .venv", "cryogate up")


def commands() -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    found = [line[2:].partition("  # ")[0].strip() for line in lines if line.startswith("$ ")]
    return [command for command in found if not command.startswith(ELSEWHERE)]


def test_a_new_user_gets_to_an_accepted_and_a_refused_job(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "cryogate"
    script.write_text(f'#!/bin/sh\nexec {" ".join(CLI)} "$@"\n')
    script.chmod(0o755)
    told: dict[str, tuple[int, str]] = {}
    with live(tmp_path) as server:
        env = {**server.env(), "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
        for command in commands():
            if command.startswith("export "):
                name, _, value = command.removeprefix("export ").partition("=")
                env[name] = value
                continue
            done = subprocess.run(
                ["bash", "-c", command], cwd=tmp_path, env=env, capture_output=True, text=True,
                timeout=120, check=False,
            )  # fmt: skip
            told[command] = (done.returncode, done.stdout + done.stderr)
        for name, text in snippets():
            done = subprocess.run(
                [sys.executable, "-c", text], cwd=tmp_path, env=env, capture_output=True,
                text=True, timeout=120, check=False,
            )  # fmt: skip
            told[name] = (done.returncode, done.stdout + done.stderr)
    failed = {command for command, (code, _) in told.items() if code != 0}
    [refused] = [command for command in told if "--shots 50000" in command]
    assert failed == {refused}, {command: told[command] for command in failed}
    assert "10000" in told[refused][1]
    assert "max_shots" in told[refused][1]
    [waited] = [text for command, (_, text) in told.items() if "--wait" in command]
    assert "000" in waited
    assert "111" in waited
    counts = json.loads(told["python 1"][1].replace("'", '"'))
    assert set(counts) == {"000", "111"}
    assert sum(counts.values()) == 1000
    [events] = [text for command, (_, text) in told.items() if command == "cryogate audit events"]
    for action in ("job.accepted", "job.refused", "token.issued"):
        assert action in events


def snippets() -> list[tuple[str, str]]:
    found = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    return [(f"python {n}", text) for n, text in enumerate(found, 1)]
