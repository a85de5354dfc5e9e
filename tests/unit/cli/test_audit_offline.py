"""Verifying and exporting the log of a state directory, beside a running store and without one."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.support.audit import ORIGIN, Deployment, record, signer

from cryogate.cli.main import cli

VKEY = signer().verifier().vkey()


def run(state: Path, *args: str) -> Result:
    env = {"CRYOGATE_STATE_DIR": str(state), "CRYOGATE_AUDIT_ORIGIN": ORIGIN}
    return CliRunner().invoke(cli, ["audit", *args], env=env)


@pytest.fixture
async def state(tmp_path: Path) -> Path:
    home = tmp_path / "state"
    home.mkdir()
    async with Deployment(home).running() as (store, _):
        await record(store, 30)
    return home


def verdict(result: Result) -> dict[str, object]:
    document: dict[str, object] = json.loads(result.stdout)
    return document


async def test_a_sound_log_verifies(state: Path) -> None:
    result = await asyncio.to_thread(run, state, "verify", "--vkey", VKEY, "--json")
    assert result.exit_code == 0, result.output
    found = verdict(result)
    assert (found["ok"], found["size"], found["trust_from"]) == (True, 30, "given")
    text = await asyncio.to_thread(run, state, "verify", "--vkey", VKEY)
    assert "the log is what was signed" in text.stdout
    assert text.stderr == ""


async def test_verifying_needs_no_lock_and_changes_nothing(tmp_path: Path) -> None:
    async with Deployment(tmp_path).running() as (store, log):
        await record(store, 5)
        await log.checkpoint_now()
        result = await asyncio.to_thread(run, tmp_path, "verify", "--vkey", VKEY, "--json")
        assert result.exit_code == 0, result.output
        await record(store, 5, first=5)  # the store goes on


@pytest.mark.attack("L1")
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE events SET body = replace(body, '\"shots\":1000', '\"shots\":1') WHERE seq = 7",
        "DELETE FROM events WHERE seq = 7",
        "DELETE FROM events WHERE seq > 20",
    ],
)
async def test_a_changed_log_exits_4(state: Path, tmp_path: Path, change: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(state, copy)
    with sqlite3.connect(copy / "cryogate.db") as db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            db.execute(f'DROP TRIGGER "{name}"')
        assert db.execute(change).rowcount > 0
    db.close()
    result = await asyncio.to_thread(run, copy, "verify", "--vkey", VKEY)
    assert result.exit_code == 4
    assert "DOES NOT VERIFY" in result.stdout
    found = verdict(await asyncio.to_thread(run, copy, "verify", "--vkey", VKEY, "--json"))
    assert found["ok"] is False
    assert found["findings"]


async def test_a_stranger_is_not_trusted(state: Path) -> None:
    stranger = signer(seed=9).verifier().vkey()
    result = await asyncio.to_thread(run, state, "verify", "--vkey", stranger)
    assert result.exit_code == 4


async def test_without_a_key_nothing_verifies(state: Path) -> None:
    # This deployment's key was never put into the database.
    result = await asyncio.to_thread(run, state, "verify", "--json")
    assert result.exit_code == 4
    assert verdict(result)["trust_from"] == "nowhere"


async def test_the_key_in_the_state_directory_is_used(state: Path) -> None:
    (state / "log.vkey").write_text(VKEY + "\n")
    found = verdict(await asyncio.to_thread(run, state, "verify", "--json"))
    assert (found["ok"], found["trust_from"]) == (True, "state directory")


@pytest.mark.attack("L2")
async def test_a_cut_back_database_contradicts_the_head_store(state: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    shutil.copytree(state, backup)
    async with Deployment(state).running() as (store, _):
        await record(store, 10, first=30)
    shutil.copy(backup / "cryogate.db", state / "cryogate.db")
    result = await asyncio.to_thread(run, state, "verify", "--vkey", VKEY, "--json")
    assert result.exit_code == 4
    assert "the head store" in str(verdict(result)["findings"])


async def test_an_export_verifies_by_itself(state: Path, tmp_path: Path) -> None:
    target = tmp_path / "export"
    made = await asyncio.to_thread(run, state, "export", str(target), "--vkey", VKEY, "--json")
    assert made.exit_code == 0, made.output
    assert verdict(made)["size"] == 30
    found = await asyncio.to_thread(run, tmp_path, "verify", str(target), "--vkey", VKEY, "--json")
    assert (found.exit_code, verdict(found)["ok"]) == (0, True)
    beside = await asyncio.to_thread(run, tmp_path, "verify", str(target))
    assert beside.exit_code == 0
    assert "--vkey from elsewhere" in beside.stderr
    again = await asyncio.to_thread(run, state, "export", str(target), "--vkey", VKEY)
    assert again.exit_code == 1
    entries = next(p for p in (target / "tile" / "entries").rglob("*") if p.is_file())
    entries.write_bytes(entries.read_bytes().replace(b"agent-7", b"agent-8", 1))
    changed = await asyncio.to_thread(run, tmp_path, "verify", str(target), "--vkey", VKEY)
    assert changed.exit_code == 4


@pytest.mark.parametrize("key", ["no such file", "a+b+c", "x+00000000+AAAA"])
async def test_a_key_that_is_none_is_refused(state: Path, key: str) -> None:
    result = await asyncio.to_thread(run, state, "verify", "--vkey", key)
    assert result.exit_code == 1


def test_no_log_is_said(tmp_path: Path) -> None:
    assert run(tmp_path, "verify").exit_code == 1
    assert run(tmp_path, "verify", str(tmp_path / "nowhere")).exit_code == 1
