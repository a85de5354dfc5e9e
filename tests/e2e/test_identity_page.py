"""``docs/identity.md``: its commands are run as they stand, in its order, in one directory."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.issuer import FakeIssuer, fake_issuer

ROOT = Path(__file__).resolve().parents[2]
CLI = shlex.join((sys.executable, "-m", "cryogate.cli.main"))
CODE = re.compile(r"\bcg-[0-9a-z]{10}-[0-9a-z]{26}\b|\b[B-Z]{4}-[B-Z]{4}\b")
_WAIT_S = 60


@contextmanager
def cluster(folder: Path) -> Iterator[FakeIssuer]:
    """A Kubernetes cluster, as far as an issuer goes, in a thread of its own."""
    ready, made = threading.Event(), list[FakeIssuer]()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        async with fake_issuer(folder) as issuer:
            made.append(issuer)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(_WAIT_S)
    try:
        yield made[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


class Reader:
    """Somebody who follows the page with several terminals."""

    def __init__(self, room: Path, **env: str) -> None:
        self.room = room
        kept = {k: v for k, v in os.environ.items() if not k.startswith("CRYOGATE_")}
        self.env = {**kept, "CRYOGATE_STATE_DIR": str(room / "state"), **env}
        self.code, self.port = "", _free_port()
        self.waiting: list[subprocess.Popen[str]] = []
        self.told: dict[str, str] = {}

    def follow(self, page: str) -> None:
        for name, body in re.findall(r"```toml\n# (\S+)\n(.*?)```", page, re.DOTALL):
            (self.room / name).write_text(body)
        for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
            for text in re.split(r"^\$ ", block.replace("\\\n", " "), flags=re.MULTILINE)[1:]:
                self.enter(re.sub(r"  # .*", "", text).strip(), waits="# waits" in text)

    def enter(self, command: str, *, waits: bool) -> None:
        command = command.replace(":8642", f":{self.port}")
        typed = command.replace("CODE", self.code).replace("cryogate ", f"{CLI} ", 1)
        if command.startswith("export "):
            name, _, value = command.removeprefix("export ").partition("=")
            self.env[name] = value
        elif command.startswith("cryogate up"):
            self.start(f"{typed} --port {self.port}")
        elif waits:
            self.wait_for_code(self.background(typed))
        else:
            done = subprocess.run(
                ["bash", "-c", typed], cwd=self.room, env=self.env, capture_output=True,
                text=True, timeout=_WAIT_S, check=False,
            )  # fmt: skip
            assert done.returncode == 0, (typed, done.stdout, done.stderr)
            self.told[command] = done.stdout
            self.note(done.stdout)
            if "approve-device" in command:
                assert self.waiting[-1].wait(_WAIT_S) == 0

    def background(self, typed: str) -> subprocess.Popen[str]:
        made = subprocess.Popen(
            ["bash", "-c", f"exec {typed}"], cwd=self.room, env=self.env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.waiting.append(made)
        return made

    def start(self, typed: str) -> None:
        server = self.background(typed)
        deadline = time.monotonic() + _WAIT_S
        while not (self.room / "state" / "server.json").exists():
            assert server.poll() is None, server.stdout.read() if server.stdout else ""
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def wait_for_code(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        before = self.code
        while self.code == before:
            line = process.stdout.readline()
            assert line, "it ended without a code"
            self.note(line)

    def note(self, text: str) -> None:
        found = CODE.search(text)
        if found:
            self.code = found[0]

    def close(self) -> None:
        for process in reversed(self.waiting):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(30)
            if process.stdout is not None:
                process.stdout.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found: int = listener.getsockname()[1]
        return found


@pytest.mark.slow
def test_the_page_can_be_followed(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        reason = "the page makes its certificates with openssl"
        if os.environ.get("CRYOGATE_REQUIRE_REAL") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    page = (ROOT / "docs" / "identity.md").read_text("utf-8")
    folder = tmp_path / "cluster"
    folder.mkdir()
    with cluster(folder) as issuer:
        about = {"namespace": "lab", "serviceaccount": {"name": "runner"}}
        claims: dict[str, Any] = {"aud": ["cryogate"], "kubernetes.io": about}
        token = issuer.token(sub="system:serviceaccount:lab:runner", **claims)
        (tmp_path / "token").write_text(token + "\n")
        reader = Reader(
            tmp_path, ISSUER=issuer.url, CRYOGATE_OUTBOUND_PRIVATE_NETWORKS="127.0.0.0/8,::1/128",
            CRYOGATE_OUTBOUND_CA_FILE=str(issuer.ca_file),
        )  # fmt: skip
        try:
            reader.follow(page)
        finally:
            reader.close()
    shown = [command for command in reader.told if command.startswith("cryogate token show")]
    for agent in ("keyed", "coded", "desk", "blue", "lone", "runner"):
        assert any(f"{agent}.json" in command for command in shown)
