"""The log over HTTP: C2SP tiles at a running server, its keys, receipts and verification."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope as DsseEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer._key import SSlibKey
from tests.support.goverify_build import build
from tests.support.running import PROGRAM, Agent, Running, running

from cryogate.audit import dsse
from cryogate.audit.checkpoint import open_checkpoint
from cryogate.audit.merkle import leaf_hash
from cryogate.audit.note import Ed25519Signer
from cryogate.audit.provenance_check import read_file, verify_provenance
from cryogate.audit.tiles import decode_bundle, tiles_of
from cryogate.audit.vkeys import parse_vkeys
from cryogate.domain.secrets import Secret


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("audit-http")) as made:
        deadline = time.monotonic() + 30
        while b"\n0\n" in get(made, "/audit/checkpoint").content:
            assert time.monotonic() < deadline, "nothing was signed"
            time.sleep(0.05)
        yield made


@pytest.fixture(scope="module")
def goverify(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("go"))


def cli(server: Running, *args: str, code: int = 0) -> Any:
    env = {k: v for k, v in os.environ.items() if not k.startswith("CRYOGATE_")}
    ran = subprocess.run(
        [sys.executable, "-m", "cryogate.cli.main", *args, "--json"],
        env={**env, "CRYOGATE_STATE_DIR": str(server.state)},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ran.returncode == code, ran.stdout + ran.stderr
    return json.loads(ran.stdout) if ran.stdout else None


def get(server: Running, path: str) -> httpx.Response:
    return httpx.get(server.url + path, trust_env=False)


def test_the_keys_lie_beside_the_state_and_sign_the_head(server: Running) -> None:
    text = (server.state / "log.vkey").read_text()
    assert get(server, "/audit/vkey").text == text
    keys = parse_vkeys(text)
    assert len(keys) == 2
    head = get(server, "/audit/checkpoint")
    assert head.headers["cache-control"] == "no-store"
    for key in keys:
        assert open_checkpoint(head.content, [key], key.name).size > 0


def test_hash_tiles_are_public_and_entries_are_not(server: Running) -> None:
    keys = parse_vkeys((server.state / "log.vkey").read_text())
    size = open_checkpoint(get(server, "/audit/checkpoint").content, keys).size
    (bundle,) = (str(tile) for tile in tiles_of(size) if tile.row is None)
    (hashes,) = (str(tile) for tile in tiles_of(size) if tile.row == 0)
    tile = get(server, "/audit" + hashes)
    assert tile.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert get(server, "/audit" + bundle).status_code == 401
    *parts, last = ("audit" + bundle).split("/")
    answer = server.operator.raw("GET", *parts, last)
    assert answer.headers["cache-control"].startswith("private")
    leaves = b"".join(leaf_hash(entry) for entry in decode_bundle(answer.body))
    assert leaves == tile.content
    assert hashlib.sha256(b"\0" + decode_bundle(answer.body)[0]).digest() == leaves[:32]


@pytest.mark.parametrize(
    "path",
    ["0/000.p/0", "0/000.p/256", "0/0", "0/x000/000", "7/000", "0/999", "0/000.p/01", "data/000",
     "entries%2F000.p/1", "0/../entries/000.p/1"],
)  # fmt: skip
def test_no_other_spelling_and_nothing_beyond_the_head(server: Running, path: str) -> None:
    answer = get(server, f"/audit/tile/{path}")
    assert answer.status_code in (401, 404)
    assert b"timestamp" not in answer.content


def test_every_narrower_tile_of_a_published_size_is_served(server: Running) -> None:
    keys = parse_vkeys((server.state / "log.vkey").read_text())
    size = open_checkpoint(get(server, "/audit/checkpoint").content, keys).size
    whole = get(server, f"/audit/tile/0/000.p/{size}").content
    for width in range(1, size):
        assert get(server, f"/audit/tile/0/000.p/{width}").content == whole[: 32 * width]


@pytest.fixture(scope="module")
def done(server: Running) -> tuple[Agent, str]:
    agent = server.agent()
    job = agent.client.submit(PROGRAM["source"], "local:null", 10)
    agent.client.wait(job.job_id)
    return agent, job.job_id


def provenance(done: tuple[Agent, str], server: Running) -> dict[str, Any]:
    agent, job_id = done
    answer = agent.call("GET", f"/v1/jobs/{job_id}/provenance")
    assert answer.status_code == 200, answer.text
    deadline = time.monotonic() + 20
    while answer.json()["receipt"]["pending"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        answer = agent.call("GET", f"/v1/jobs/{job_id}/provenance")
    found: dict[str, Any] = answer.json()
    return found


def test_every_result_carries_its_statement(server: Running, done: tuple[Agent, str]) -> None:
    agent, job_id = done
    result = agent.call("GET", f"/v1/jobs/{job_id}/result").json()
    statement = json.loads(base64.b64decode(result["provenance"]["payload"]))
    assert statement["predicate"]["job_id"] == job_id
    assert result["receipt"]["job_id"] == job_id
    # made once: whoever asks again gets the same bytes
    assert result["provenance"] == provenance(done, server)["provenance"]


def test_receipts_verify_with_go_code_that_is_not_ours(
    server: Running, done: tuple[Agent, str], goverify: Path, tmp_path: Path
) -> None:
    keys = parse_vkeys((server.state / "log.vkey").read_text())
    receipts = provenance(done, server)["receipt"]["receipts"]
    assert [r["action"] for r in receipts] == [
        "job.accepted", "job.dispatching", "job.done", "provenance.signed"
    ]  # fmt: skip
    for receipt in receipts:
        (tmp_path / "entry").write_text(receipt["entry"])
        (tmp_path / "proof").write_text(receipt["proof"])
        (tmp_path / "vkey").write_text(keys[0].vkey())
        files = [str(tmp_path / name) for name in ("proof", "entry", "vkey")]
        command = [str(goverify), "proof", *files]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.split()[0] == str(json.loads(receipt["entry"])["seq"])
        (tmp_path / "entry").write_text(receipt["entry"].replace("job", "jop", 1))
        assert subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 1


def test_the_envelope_verifies_with_a_library_that_is_not_ours(
    server: Running, done: tuple[Agent, str]
) -> None:
    found = provenance(done, server)["provenance"]
    pem = load_pem_public_key((server.state / "provenance.pem").read_bytes())
    key = SSlibKey.from_crypto(pem, found["signatures"][0]["keyid"])
    envelope = DsseEnvelope.from_dict(json.loads(json.dumps(found)))
    assert envelope.verify([key], 1)
    envelope.payload = envelope.payload.replace(b'"shots":10', b'"shots":11')
    with pytest.raises(VerificationError):
        envelope.verify([key], 1)


def test_another_agent_gets_neither(server: Running, done: tuple[Agent, str]) -> None:
    stranger = server.agent()
    for what in ("receipt", "provenance"):
        answer = stranger.call("GET", f"/v1/jobs/{done[1]}/{what}")
        assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")


def test_the_command_verifies_a_file_offline(
    server: Running, done: tuple[Agent, str], tmp_path: Path
) -> None:
    found = provenance(done, server)
    result = done[0].call("GET", f"/v1/jobs/{done[1]}/result").json()
    found |= {name: result[name] for name in ("counts", "counts_salt")}
    file = tmp_path / "result.json"
    file.write_text(json.dumps(found))
    assert cli(server, "provenance", "verify", str(file))["ok"] is True


@pytest.mark.attack("L1")
@pytest.mark.parametrize("what", ["counts", "payload", "signature", "entry", "proof", "unlogged",
                                  "other job", "head"])  # fmt: skip
def test_what_was_changed_in_a_file_is_found(
    server: Running, done: tuple[Agent, str], what: str
) -> None:
    found = provenance(done, server)
    result = done[0].call("GET", f"/v1/jobs/{done[1]}/result").json()
    found |= {name: result[name] for name in ("counts", "counts_salt")}
    receipts = found["receipt"]["receipts"]
    if what == "counts":
        found["counts"] = {"11": 10} if found["counts"] != {"11": 10} else {"00": 10}
    elif what == "payload":
        payload = base64.b64decode(found["provenance"]["payload"]).replace(b"agent_id", b"agent_ID")
        found["provenance"]["payload"] = base64.b64encode(payload).decode()
    elif what == "signature":
        found["provenance"]["signatures"][0]["sig"] = base64.b64encode(b"0" * 70).decode()
    elif what == "entry":
        receipts[0]["entry"] = receipts[0]["entry"].replace('"shots":10', '"shots":99')
    elif what == "proof":
        receipts[0]["proof"] = receipts[1]["proof"]
    elif what == "unlogged":
        del receipts[-1]
    elif what == "other job":
        receipts[0] = other_receipt(server)
    elif what == "head":
        receipts[0]["proof"] = receipts[0]["proof"].replace("cryogate.local", "cryogate.lokal")
    keys = parse_vkeys((server.state / "log.vkey").read_text())
    key = dsse.load_pem((server.state / "provenance.pem").read_bytes())
    assert not verify_provenance(read_file(json.dumps(found).encode()), [key], keys).ok


def other_receipt(server: Running) -> dict[str, Any]:
    agent = server.agent()
    job = agent.client.submit(PROGRAM["source"], "local:null", 10)
    agent.client.wait(job.job_id)
    found = provenance((agent, job.job_id), server)["receipt"]["receipts"][0]
    return dict(found)


def test_the_command_verifies_a_running_server(server: Running, done: tuple[Agent, str]) -> None:
    report = cli(server, "audit", "verify", server.url + "/audit")
    assert report["ok"] is True
    assert report["trust_from"] == "state directory"


@pytest.mark.attack("L1")
def test_the_command_verifies_a_mirror_and_finds_what_it_changed(
    server: Running, done: tuple[Agent, str], tmp_path: Path
) -> None:
    cli(server, "audit", "export", str(tmp_path / "mirror"))
    with mirror(tmp_path / "mirror") as url:
        assert cli(server, "audit", "verify", url)["ok"] is True
        (bundle,) = (tmp_path / "mirror/tile/entries").rglob("000.p/*")
        bundle.write_bytes(bundle.read_bytes().replace(b'"shots":10', b'"shots":11', 1))
        report = cli(server, "audit", "verify", url, code=4)
        assert {f["kind"] for f in report["findings"]} >= {"edited_entry", "root_mismatch"}
        bundle.unlink()
        report = cli(server, "audit", "verify", url, code=4)
        assert "missing_entry" in {f["kind"] for f in report["findings"]}


class Quiet(SimpleHTTPRequestHandler):
    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        return


@contextmanager
def mirror(directory: Path) -> Iterator[str]:
    handler = partial(Quiet, directory=str(directory))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}"
        finally:
            http.shutdown()
            thread.join()


def test_a_story_tells_who_was_let_in_and_what_ran(
    server: Running, done: tuple[Agent, str]
) -> None:
    provenance(done, server)
    story = cli(server, "audit", "trace", done[1])
    actions = [entry["action"] for entry in story["entries"]]
    assert actions[0] == "token.issued"
    assert actions[1:4] == ["job.accepted", "job.dispatching", "job.done"]
    assert [e["seq"] for e in story["entries"]] == sorted(e["seq"] for e in story["entries"])
    circuit = story["entries"][1]["circuit_sha256"]
    told = {e["seq"] for e in cli(server, "audit", "trace", circuit)["entries"]}
    assert told >= {e["seq"] for e in story["entries"]}
    agent = story["entries"][1]["agent_id"]
    assert {e["agent_id"] for e in cli(server, "audit", "trace", agent)["entries"]} == {agent}
    assert cli(server, "audit", "trace", "no-such-agent", code=1) is None


def evidence(server: Running, done: tuple[Agent, str], folder: Path) -> Path:
    provenance(done, server)
    circuit = cli(server, "audit", "trace", done[1])["entries"][1]["circuit_sha256"]
    cli(server, "audit", "dispute", circuit, "--out", str(folder / "evidence.zip"))
    return folder / "evidence.zip"


def test_evidence_verifies_offline_and_with_go(
    server: Running, done: tuple[Agent, str], goverify: Path, tmp_path: Path
) -> None:
    file = evidence(server, done, tmp_path)
    report = cli(server, "audit", "check", str(file))
    assert report["ok"] is True
    assert report["statements"] >= 1
    with zipfile.ZipFile(file) as archive:
        archive.extractall(tmp_path / "pack")
    for entry in (tmp_path / "pack/entries").glob("*.json"):
        command = [goverify, "proof", entry.with_suffix(".tlog-proof"), entry,
                   server.state / "log.vkey"]  # fmt: skip
        ran = subprocess.run(
            [str(part) for part in command], capture_output=True, check=False, timeout=60
        )
        assert ran.returncode == 0, ran.stderr


@pytest.mark.attack("L1")
@pytest.mark.parametrize("what", ["entry", "proof", "swapped", "statement", "other key"])
def test_changed_evidence_is_found(
    server: Running, done: tuple[Agent, str], tmp_path: Path, what: str
) -> None:
    with zipfile.ZipFile(evidence(server, done, tmp_path)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    entries = sorted(n for n in files if n.startswith("entries/") and n.endswith(".json"))
    proofs = [name.removesuffix(".json") + ".tlog-proof" for name in entries]
    keys = [str(server.state / "log.vkey")]
    if what == "entry":
        files[entries[1]] = files[entries[1]].replace(b'"shots":10', b'"shots":11')
    elif what == "proof":
        del files[proofs[0]]
    elif what == "swapped":
        files[entries[0]], files[entries[1]] = files[entries[1]], files[entries[0]]
    elif what == "statement":
        (name,) = [n for n in files if n == f"provenance/{done[1]}.json"]
        found = json.loads(files[name])
        payload = base64.b64decode(found["provenance"]["payload"]).replace(b":10", b":11")
        found["provenance"]["payload"] = base64.b64encode(payload).decode()
        files[name] = json.dumps(found).encode()
    else:
        keys = [Ed25519Signer("cryogate.local/log", Secret(b"\2" * 32)).verifier().vkey()]
    changed = tmp_path / "changed.zip"
    with zipfile.ZipFile(changed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    report = cli(server, "audit", "check", str(changed), "--vkey", keys[0], code=4)
    assert report["findings"]


def test_a_witness_cosigns_a_running_server_and_its_head_counts(
    server: Running, done: tuple[Agent, str], tmp_path: Path
) -> None:
    watch = ("audit", "watch", server.url + "/audit", "--vkey", str(server.state / "log.vkey"),
             "--name", "witness.example/w1", "--dir", str(tmp_path / "w"), "--once")  # fmt: skip
    first = cli(server, *watch)
    assert first["before"] == 0
    assert first["size"] > 0
    assert cli(server, *watch)["before"] == first["size"]
    head = (tmp_path / "w/head").read_bytes()
    for key in parse_vkeys((tmp_path / "w/witness.vkey").read_text()):
        assert open_checkpoint(head, [key]).size >= first["size"]
    report = cli(
        server, "audit", "verify", server.url + "/audit", "--head", str(tmp_path / "w/head")
    )
    assert report["ok"] is True
    log = (server.state / "log.vkey").read_text().splitlines()
    witnesses = (tmp_path / "w/witness.vkey").read_text().splitlines()
    lines = [*(f"log {key}" for key in log), f"witness w1 {witnesses[0]}", "quorum w1", ""]
    (tmp_path / "policy").write_text("\n".join(lines))
    asked = ("audit", "verify", server.url + "/audit", "--policy", str(tmp_path / "policy"))
    assert cli(server, *asked, "--head", str(tmp_path / "w/head"))["ok"] is True
    report = cli(server, *asked, code=4)
    assert [finding["kind"] for finding in report["findings"]] == ["no_quorum"]


@pytest.mark.attack("D1")
def test_who_is_given_less_cannot_open_the_digest_of_all(
    server: Running, done: tuple[Agent, str]
) -> None:
    agent, job_id = done
    for query in ("?top=1", "?form=probabilities"):
        path = f"/v1/jobs/{job_id}/result"
        headers = agent.headers("GET", path)
        answer = agent.http.get(path + query, headers=headers)
        if answer.status_code == 401:
            agent.call("GET", path)
            answer = agent.http.get(path + query, headers=agent.headers("GET", path))
        assert answer.status_code == 200, answer.text
        assert "provenance" in answer.json()
        assert "counts_salt" not in answer.json()
    assert "counts_salt" not in provenance(done, server)


@pytest.mark.attack("L2")
def test_the_head_in_another_database_is_read_at_start_and_by_verify(tmp_path: Path) -> None:
    heads = tmp_path / "elsewhere" / "heads.db"
    settings = f'[audit]\nheads = "sqlite:///{heads}"\n'
    config = ("--config", str(tmp_path / "cryogate.toml"))
    with running(tmp_path, settings) as made:
        report = cli(made, "audit", "verify", *config)
        assert report["ok"]
        assert not (made.state / "heads").exists()
    # an older copy of the database is found by the head that was not set back with it
    shutil.copy(tmp_path / "state/cryogate.db", tmp_path / "backup.db")
    with running(tmp_path, settings) as made:
        made.agent()
    shutil.copy(tmp_path / "backup.db", tmp_path / "state/cryogate.db")
    report = cli(made, "audit", "verify", *config, code=4)
    assert "truncated" in {finding["kind"] for finding in report["findings"]}
    with pytest.raises(AssertionError, match="a head over"), running(tmp_path, settings):
        pass
