"""A result as RO-Crate, judged by rocrate-validator, which is not ours."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from tests.support.goverify_build import absent
from tests.support.running import PROGRAM, running
from tests.support.up import CLI, clean_env

VALIDATE = Path(__file__).parents[1] / "support/rocrate/validate.py"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A provenance file with counts, and the keys that it verifies with."""
    folder = tmp_path_factory.mktemp("crate")
    with running(folder) as server:
        agent = server.agent()
        job = agent.client.submit(PROGRAM["source"], "local:null", 10)
        agent.client.wait(job.job_id)
        deadline = time.monotonic() + 20
        while True:
            found = agent.call("GET", f"/v1/jobs/{job.job_id}/provenance").json()
            if not found["receipt"]["pending"]:
                break
            assert time.monotonic() < deadline
            time.sleep(0.1)
        result = agent.call("GET", f"/v1/jobs/{job.job_id}/result").json()
    found |= {name: result[name] for name in ("counts", "counts_salt")}
    (folder / "result.json").write_text(json.dumps(found))
    return folder


def export(place: Path, file: Path, into: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [*CLI, "provenance", "export", str(file), "--ro-crate", str(into), *more]
    return subprocess.run(
        command, env=clean_env(place / "state"), capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip


def judged(directory: Path, profile: str, severity: str = "REQUIRED") -> list[str]:
    python = os.environ.get("CRYOGATE_ROCRATE")
    if python is None:
        absent("the validator of RO-Crates is not installed: run .ci/rocrate")
    ran = subprocess.run(
        [str(python), str(VALIDATE), str(directory), profile, severity],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-2000:]
    verdict: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    assert verdict["passed"] == (not verdict["issues"])
    return list(verdict["issues"])


@pytest.mark.slow
def test_a_validator_that_is_not_ours_accepts_the_crate(place: Path, tmp_path: Path) -> None:
    made = export(place, place / "result.json", tmp_path / "crate",
                  "--license", "https://spdx.org/licenses/CC-BY-4.0.html")  # fmt: skip
    assert made.returncode == 0, made.stderr
    for profile in ("ro-crate-1.2", "process-run-crate-0.5"):
        assert judged(tmp_path / "crate", profile) == []
    wishes = judged(tmp_path / "crate", "process-run-crate-0.5", "RECOMMENDED")
    assert [wish.split(":")[0] for wish in wishes] == ["process-run-crate-0.5_5.1"], wishes
    # the validator does look: a crate without its instrument is none of the profile
    path = tmp_path / "crate/ro-crate-metadata.json"
    path.write_text(path.read_text().replace('"instrument"', '"instruments"'))
    assert any(
        "instrument" in issue for issue in judged(tmp_path / "crate", "process-run-crate-0.5")
    )


def test_the_crate_says_what_was_signed_and_brings_the_proof(place: Path, tmp_path: Path) -> None:
    assert export(place, place / "result.json", tmp_path / "crate").returncode == 0
    metadata = json.loads((tmp_path / "crate/ro-crate-metadata.json").read_text())
    graph = {entity["@id"]: entity for entity in metadata["@graph"]}
    files = {
        str(path.relative_to(tmp_path / "crate"))
        for path in (tmp_path / "crate").rglob("*")
        if path.is_file()
    }
    parts = {part["@id"] for part in graph["./"]["hasPart"]}
    assert parts | {"ro-crate-metadata.json"} == files
    for part in parts:
        assert graph[part]["contentSize"] == str((tmp_path / "crate" / part).stat().st_size)
    (action,) = [entity for entity in graph.values() if entity["@type"] == "CreateAction"]
    assert graph[action["instrument"]["@id"]]["name"] == "local:null"
    assert action["result"] == {"@id": "counts.json"}
    values = {fact["@id"]: graph[fact["@id"]]["value"] for fact in action["object"]}
    assert values["#shots"] == 10
    assert values["#agent"] == "bot-0"
    # byte for byte, so that it verifies again, with our command and with others' tools
    inside = tmp_path / "crate/provenance.json"
    assert inside.read_bytes() == (place / "result.json").read_bytes()
    again = subprocess.run(
        [*CLI, "provenance", "verify", str(inside)], env=clean_env(place / "state"),
        check=False, capture_output=True, timeout=60,
    )  # fmt: skip
    assert again.returncode == 0


def test_a_crate_without_counts_points_to_the_statement(place: Path, tmp_path: Path) -> None:
    document = json.loads((place / "result.json").read_text())
    del document["counts"], document["counts_salt"]
    (tmp_path / "file.json").write_text(json.dumps(document))
    assert export(place, tmp_path / "file.json", tmp_path / "crate").returncode == 0
    text = (tmp_path / "crate/ro-crate-metadata.json").read_text()
    assert "counts.json" not in text
    (action,) = [e for e in json.loads(text)["@graph"] if e["@type"] == "CreateAction"]
    assert action["result"] == {"@id": "provenance.json"}


@pytest.mark.attack("L1")
def test_what_does_not_verify_becomes_no_crate(place: Path, tmp_path: Path) -> None:
    document = json.loads((place / "result.json").read_text())
    document["counts"] = {"11": 10}
    (tmp_path / "file.json").write_text(json.dumps(document))
    made = export(place, tmp_path / "file.json", tmp_path / "crate")
    assert made.returncode == 4
    assert not (tmp_path / "crate").exists()
    (tmp_path / "there").mkdir()
    assert export(place, place / "result.json", tmp_path / "there").returncode not in (0, 4)
    assert not list((tmp_path / "there").iterdir())
