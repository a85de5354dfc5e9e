"""Credentials go in over the command line, and come out nowhere."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.live import ROOT, Live, live
from tests.support.up import CLI

CANARIES = ("an-api-key", "another-key", "a-new-key")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("secrets")) as made:
        yield made


@pytest.mark.attack("S1")
def test_the_page_is_true_and_shows_no_value(server: Live) -> None:
    told = server.page(ROOT / "docs/secrets.md")
    assert "version 1" in told[0][1]
    assert "version 2" in told[3][1]
    listed = server.json("secret", "list")["items"]
    assert [(s["scheme"], s["experiment_id"], s["version"]) for s in listed] == [("ionq", "", 2)]
    shown = "".join(output for _, output in told) + str(listed)
    events = str(server.run("audit", "events", "--json"))
    for canary in CANARIES:
        assert canary not in shown
        assert canary not in events
        assert canary not in (server.room / "server.log").read_text()
        for path in server.state.rglob("*"):
            assert not path.is_file() or canary.encode() not in path.read_bytes(), path


@pytest.mark.attack("S1")
def test_a_refused_value_is_not_told_back(server: Live) -> None:
    done = subprocess.run(
        [*CLI, "secret", "set", "local"], cwd=server.room, env=server.env(), input=b"canary-777",
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert b"canary-777" not in done.stdout + done.stderr
    assert "canary-777" not in (server.room / "server.log").read_text()


def test_a_rekey_needs_the_server_stopped_and_loses_nothing(tmp_path: Path) -> None:
    key = tmp_path / "state" / "master.key"
    with live(tmp_path) as first:
        first._shell("printf 'kept' | cryogate secret set ionq", 0)
        before = key.read_bytes()
        first.run("secret", "rekey", expect=3)
    first.run("secret", "rekey")
    assert key.read_bytes() != before
    assert not list(key.parent.glob("*.next"))
    with live(tmp_path) as second:
        assert second.json("secret", "list")["items"][0]["version"] == 1
        assert "secret.added" in second.run("audit", "events", "--json")


def test_the_master_key_can_be_a_passphrase(tmp_path: Path) -> None:
    words = tmp_path / "words"
    words.touch(0o600)
    words.write_text("correct horse battery staple\n")
    env = {
        **os.environ, "CRYOGATE_STATE_DIR": str(tmp_path / "state"),
        "CRYOGATE_SECRETS_MASTER_KEY": "passphrase", "CRYOGATE_SECRETS_PASSPHRASE_FILE": str(words),
    }  # fmt: skip
    command = [*CLI, "secret", "rekey"]
    once = subprocess.run(command, env=env, input=b"battery staple correct", check=False,
                          capture_output=True)  # fmt: skip
    assert once.returncode == 0, once.stderr
    assert not (tmp_path / "state" / "master.key").exists()
    short = subprocess.run(command, env=env, input=b"short", check=False, capture_output=True)
    assert short.returncode != 0
    assert b"12 characters" in short.stderr
