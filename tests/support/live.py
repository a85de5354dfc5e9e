"""A running server of its own, and the command line against it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from tests.support.up import CLI, clean_env, up

from cryogate.cli.main import cli

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Live:
    """``room`` is where commands run; it holds the server's state directory."""

    room: Path

    @property
    def state(self) -> Path:
        return self.room / "state"

    def env(self) -> dict[str, str]:
        return clean_env(self.state)

    def run(self, *words: str, expect: int = 0) -> str:
        """A ``cryogate`` command, in this process; what it prints."""
        gone = {name: None for name in os.environ if name.startswith("CRYOGATE_")}
        env = {**gone, "CRYOGATE_STATE_DIR": str(self.state)}
        with contextlib.chdir(self.room):
            done = CliRunner(env=env).invoke(cli, list(words))
        assert done.exit_code == expect, (words, done.exit_code, done.output, done.exception)
        return done.output

    def json(self, *words: str, expect: int = 0) -> Any:
        return json.loads(self.run(*words, "--json", expect=expect))

    def page(self, path: Path) -> list[tuple[str, str]]:
        """Run every ``console`` block of a page, line by line; (command, output) of each.

        A command with a comment ``# exits N`` must exit with N.
        """
        told = []
        for block in re.findall(r"```console\n(.*?)```", path.read_text("utf-8"), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if not line.startswith("$ "):
                    continue
                command, _, comment = line[2:].partition("  # ")
                code = re.search(r"exits (\d+)", comment)
                told.append((command, self._shell(command, int(code[1]) if code else 0)))
        return told

    def _shell(self, command: str, expect: int) -> str:
        if command.startswith("cryogate ") and not set(command) & set("<>|$;&"):
            return self.run(*shlex.split(command)[1:], expect=expect)
        text = command.replace("cryogate ", f"{shlex.join(CLI)} ", 1)
        done = subprocess.run(
            ["bash", "-c", text], cwd=self.room, env=self.env(), capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == expect, (command, done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr


@contextmanager
def live(room: Path, *options: str) -> Iterator[Live]:
    """``cryogate up`` with ``options`` in ``room``, ended at the end."""
    made = Live(room)
    with up(made.state, room / "server.log", options, cwd=room):
        yield made
