"""L5: no circuit and no personal data in clear where the log and its copies go, and shredding."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Self

import httpx
import pytest
from tests.support.running import Agent, Running, running
from tests.support.up import CLI, clean_env

from cryogate.client import Refused

REGISTER, PURPOSE, NOTE = "canaryregister", "a purpose that names Grace Hopper", "note of Grace's"
OWNER, KEEPER = "grace.canary@example.org", "keeper.canary@example.org"
SOURCE = f"""OPENQASM 2.0;
include "qelib1.inc";
qreg {REGISTER}[2];
creg {REGISTER}c[2];
rz(0.6180339887) {REGISTER}[0];
h {REGISTER}[0];
cx {REGISTER}[0],{REGISTER}[1];
measure {REGISTER} -> {REGISTER}c;
"""
GUIDE = (Path(__file__).parents[2] / "docs/auditor-guide.md").read_text("utf-8")
FORMATS = ("json", "ocsf", "cef", "ecs")


def cli(state: Path, *words: str, fails: bool = False) -> Any:
    done = subprocess.run(
        [*CLI, *words, "--json"], env=clean_env(state), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode != 0) is fails, done.stdout + done.stderr
    return done.stdout + done.stderr if fails else json.loads(done.stdout)


def run_check(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "open_check.py", "evidence"], cwd=folder, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip


class Spans(ThreadingHTTPServer):
    """Whatever is sent as traces, as text."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Take)
        self.url = f"http://127.0.0.1:{self.server_port}/v1/traces"
        self.text = ""

    def __enter__(self) -> Self:
        Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()

    def waited(self, name: str) -> str:
        deadline = time.monotonic() + 30
        while name not in self.text:
            assert time.monotonic() < deadline, "no traces came"
            time.sleep(0.1)
        return self.text


class _Take(BaseHTTPRequestHandler):
    server: Spans

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.text += body.decode()
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_request(self, *args: object) -> None:
        pass


class World:
    """A server with a sink of every format, and one story with canaries in every field."""

    def __init__(self, folder: Path, server: Running, spans: Spans) -> None:
        self.folder, self.server, self.spans = folder, server, spans
        self.agent: Agent = server.agent(agent={"owner": OWNER}, purpose=PURPOSE, owner=KEEPER)
        self.state = server.state
        circuit = folder / "canary.qasm"
        circuit.write_text(SOURCE)
        job = self.agent.client.submit(circuit, backend="local:aer", shots=64)
        self.job_id = job.job_id
        self.fingerprint = self.agent.client.job(self.job_id).circuit_sha256
        with pytest.raises(Refused):  # a refusal commits to a circuit that has no job
            self.agent.client.submit(circuit, backend="local:aer", shots=99_999)
        [asked] = server.operator.call("GET", "admin", "v1", "approvals")["items"]
        server.admin("POST", "approvals", asked["approval_id"], "approve", body={"note": NOTE})
        self.agent.client.wait(self.job_id, timeout_s=60)
        self.result = self.agent.client.result(self.job_id)
        server.admin(
            "POST", "revocations", body={"kind": "owner", "subject": "eve@example.org",
                                         "reason": NOTE},
        )  # fmt: skip
        self.canaries = (
            REGISTER, PURPOSE, "Grace Hopper", OWNER, KEEPER, "canary@example", "eve@example", NOTE,
            self.fingerprint, "0.6180339887", "operator:",
            hashlib.sha256(SOURCE.encode()).hexdigest(),
        )  # fmt: skip
        self.wait_for_sinks()

    def wait_for_sinks(self) -> None:
        last = cli(self.state, "audit", "events", "--limit", "1000")["items"][-1]["seq"]
        deadline = time.monotonic() + 30
        while min(len(self.sink(name).splitlines()) for name in (*FORMATS, "clear")) <= last:
            assert time.monotonic() < deadline, "the sinks did not get on"
            time.sleep(0.1)

    def sink(self, name: str) -> str:
        path = self.folder / f"{name}.out"
        return path.read_text("ascii") if path.exists() else ""

    def tables(self) -> str:
        database = sqlite3.connect(f"file:{self.state / 'cryogate.db'}?mode=ro", uri=True)
        try:
            return "".join(
                str(database.execute(f"SELECT * FROM {name}").fetchall())  # noqa: S608
                for name in ("events", "log_nodes", "checkpoints", "sealed_texts", "scope_keys",
                             "sink_places", "sink_dead_letters")
            )  # fmt: skip
        finally:
            database.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("privacy")
    token = folder / "token"
    token.write_text("a-long-random-token")
    token.chmod(0o600)
    sinks = "".join(
        f'[[sinks]]\nname = "{name}"\nurl = "file://{folder}/{name}.out"\nformat = "{name}"\n'
        for name in FORMATS
    )
    spans = Spans()
    sinks += f'[[sinks]]\nname = "clear"\nurl = "file://{folder}/clear.out"\nfields = "clear"\n'
    sinks += f'[tracing]\nurl = "{spans.url}"\n'
    with spans, running(folder, f'[metrics]\ntoken_file = "{token}"\n{sinks}') as server:
        yield World(folder, server, spans)


def clean(text: str, world: World, where: str) -> None:
    for canary in world.canaries:
        assert canary not in text, f"{canary} is in {where}"


@pytest.mark.attack("L5")
def test_the_log_and_every_copy_of_it_hold_no_canary(world: World) -> None:
    clean(world.tables(), world, "the database's log")
    for name in FORMATS:
        clean(world.sink(name), world, f"sink {name}")
    export = world.folder / "export"
    cli(world.state, "audit", "export", str(export))
    for path in sorted(p for p in export.rglob("*") if p.is_file()):
        clean(path.read_bytes().decode("latin-1"), world, path.name)
    headers = {"authorization": "Bearer a-long-random-token"}
    clean(httpx.get(f"{world.server.url}/metrics", headers=headers).text, world, "metrics")
    clean(world.spans.waited("job.settle"), world, "traces")
    clean((world.folder / "server.log").read_text(), world, "the server's own log")
    sealed = cli(world.state, "audit", "events", "--sealed", "--limit", "1000")
    clean(json.dumps(sealed), world, "events as they were hashed")
    receipts = world.agent.call("GET", f"/v1/jobs/{world.job_id}/receipt").json()["receipts"]
    clean(json.dumps(receipts), world, "receipts")


@pytest.mark.attack("L5")
def test_who_may_reads_what_the_log_commits_to(world: World) -> None:
    events = cli(world.state, "audit", "events", "--limit", "1000")["items"]
    [accepted] = [e for e in events if e["action"] in ("job.accepted", "job.parked")]
    assert accepted["human_owner"] == OWNER
    assert accepted["purpose"] == PURPOSE
    assert accepted["circuit_sha256"] == world.fingerprint
    [refused] = [e for e in events if e["action"] == "job.refused"]
    assert refused["circuit_sha256"] == world.fingerprint
    assert any(NOTE in (e.get("decision_reasons") or ()) for e in events)
    # a SIEM that was given the right by its table
    for canary in (OWNER, PURPOSE, world.fingerprint, NOTE):
        assert canary in world.sink("clear")
    story = cli(world.state, "audit", "trace", world.fingerprint)
    assert {e["circuit_sha256"] for e in story["entries"] if "circuit_sha256" in e} == {
        world.fingerprint
    }


@pytest.mark.attack("L5")
def test_evidence_opens_its_entries_and_verifies_offline(world: World) -> None:
    time.sleep(1.2)  # the newest entries need a signed head above them
    pack = world.folder / "evidence.zip"
    cli(world.state, "audit", "dispute", world.fingerprint, "--out", str(pack))
    checked = cli(world.state, "audit", "check", str(pack))
    assert checked["ok"], checked["findings"]
    assert checked["statements"] == 1
    owners = {entry.get("human_owner") for entry in checked["entries"]}
    assert OWNER in owners
    # and with the auditor's guide alone
    [program] = re.findall(r"```py\n(.*?)```", GUIDE, re.DOTALL)
    (world.folder / "open_check.py").write_text(program)
    with zipfile.ZipFile(pack) as archive:
        archive.extractall(world.folder / "evidence")
    shown = run_check(world.folder)
    assert shown.returncode == 0
    for told in (f"human_owner {OWNER}", f"circuit_sha256 {world.fingerprint}"):
        assert told in shown.stdout
    openings = world.folder / "evidence" / "openings.json"
    openings.write_text(openings.read_text().replace(OWNER, "eve@example.org"))
    assert "WRONG" in run_check(world.folder).stderr


@pytest.mark.attack("L5")
def test_a_shredded_experiment_is_unreadable_and_its_log_verifies(world: World) -> None:
    name = "exp-0"
    said = cli(world.state, "experiment", "shred", name, "--reason", "asked", "--yes", fails=True)
    assert "close the experiment" in said
    cli(world.state, "experiment", "close", name)
    before = cli(world.state, "audit", "events", "--sealed", "--limit", "1000")["items"]
    [key] = sqlite3.connect(f"file:{world.state / 'cryogate.db'}?mode=ro", uri=True).execute(
        "SELECT sealed FROM scope_keys WHERE scope = ?", (name,)
    ).fetchall()  # fmt: skip
    cli(world.state, "experiment", "shred", name, "--reason", "asked by Grace", "--yes")
    after = cli(world.state, "audit", "events", "--sealed", "--limit", "1000")["items"]
    assert after[: len(before)] == before
    ours = [
        e
        for e in cli(world.state, "audit", "events", "--limit", "1000")["items"]
        if e.get("experiment_id") == name and e["action"] != "experiment.shredded"
    ]
    assert ours
    clean(json.dumps(ours), world, "what can still be read of the log")
    # what the gateway kept, and the key itself, are not in the files any more either
    files = [p for p in world.state.glob("cryogate.db*") if not p.name.endswith((".lock", "-shm"))]
    content = b"".join(path.read_bytes() for path in files)
    for gone in (PURPOSE, "0.6180339887", world.fingerprint, str(key[0])):
        assert gone.encode() not in content, gone
    refused = cli(world.state, "experiment", "set", name, "--reopen", fails=True)
    assert "shredded" in refused
    time.sleep(1.2)
    verified = cli(world.state, "audit", "verify")
    assert verified["ok"], verified["findings"]
    assert verified["sealed_opened"] > 0
    assert verified["sealed_shredded"] > 0
