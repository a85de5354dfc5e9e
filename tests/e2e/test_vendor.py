"""An agent, a server and a vendor: what runs there, what it costs, and what nobody hears of."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.running import GHZ, Agent, Running, running

from cryogate.dev.ionq import IonqFake
from cryogate.dev.serving import served
from cryogate.policies import shipped_bundle

PRICES = [
    {"backend": "ionq:*", "model": "vendor_estimate", "currency": "USD", "ceiling": "50",
     "headroom_percent": 10, "source": "test", "as_of": "2026-11-01"},
]  # fmt: skip


class World:
    def __init__(self, server: Running, fake: IonqFake, folder: Path) -> None:
        self.server, self.fake, self.folder = server, fake, folder

    def agent(self) -> Agent:
        return self.server.agent(agent={"tier": "standard"}, allowed_backends=["ionq:simulator"])

    def ended(self, agent: Agent, job_id: str) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while True:
            job: dict[str, Any] = agent.call("GET", f"/v1/jobs/{job_id}").json()
            if job["state"] in ("done", "failed", "cancelled", "revoked"):
                return job
            assert time.monotonic() < deadline, job
            time.sleep(0.05)

    def submit(self, agent: Agent, backend: str = "ionq:simulator") -> str:
        body = {
            "backend": backend, "shots": 100,
            "program": {"format": "openqasm2", "source": GHZ},
        }  # fmt: skip
        answer = agent.call("POST", "/v1/jobs", body)
        assert answer.status_code == 202, answer.text
        job_id: str = answer.json()["job_id"]
        return job_id

    def alerts(self, kind: str) -> list[dict[str, Any]]:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            found = [a for a in self.server.admin("GET", "alerts")["items"] if a["kind"] == kind]
            if found:
                return found
            time.sleep(0.1)
        return []


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    fake, folder = IonqFake("vendor-key-canary"), tmp_path_factory.mktemp("vendor")
    bundle = folder / "bundle"
    shutil.copytree(shipped_bundle(), bundle)
    rules = bundle / "cryogate_data/settings/data.json"
    rules.write_text(rules.read_text().replace('"local:*"', '"local:*", "ionq:simulator"'))
    settings = (
        f'[policy]\nbundle = "{bundle}"\ninsecure_unsigned = true\n'
        '[providers]\nenabled = ["ionq"]\nrefresh_s = 5\n[ionq]\nurl = "{}/v0.4"\n'
    )
    with served(fake.app) as url, running(folder, settings.format(url), PRICES) as server:
        server.admin("POST", "secrets", "ionq", body={"value": fake.key})
        yield World(server, fake, folder)


@pytest.mark.attack("T4", "S1")
def test_a_job_runs_at_the_vendor_and_nobody_hears_what_is_not_his(world: World) -> None:
    agent = world.agent()
    token = agent.client.token().value
    job_id = world.submit(agent)
    job = world.ended(agent, job_id)
    assert job["state"] == "done", job
    result = agent.call("GET", f"/v1/jobs/{job_id}/result").json()
    assert result["counts"] == {"00": 50, "11": 50}
    assert len(world.fake.ran(job_id)) == 1
    # the agent's token: in nothing that the vendor ever got, in no log and no file
    for part in token.split("."):
        assert not any(
            part in f"{path} {headers} {body!r}"
            for _, path, headers, body in world.fake.faults.seen
        )
        assert part not in (world.folder / "server.log").read_text()
    for canary in (token, world.fake.key):
        for file in world.folder.rglob("*"):
            assert not file.is_file() or canary.encode() not in file.read_bytes(), file
    # the vendor's key: in nothing that the agent can read
    for path in ("/v1/backends", f"/v1/jobs/{job_id}", f"/v1/jobs/{job_id}/result"):
        assert world.fake.key not in agent.call("GET", path).text
    leases = world.server.admin("GET", "leases")["items"]
    assert {lease["agent_id"] for lease in leases} >= {agent.client.client_id}
    assert world.fake.key not in str(leases)


@pytest.mark.attack("S1")
def test_a_vendor_that_fails_gives_away_nothing(world: World) -> None:
    agent = world.agent()
    world.fake.faults.add("status", 403, path="/v0.4/jobs", method="POST")
    job = world.ended(agent, world.submit(agent))
    assert job["state"] == "failed"
    assert "403" in job["failure"]
    assert world.fake.key not in str(job) + (world.folder / "server.log").read_text()


@pytest.mark.attack("B2")
@pytest.mark.parametrize("kind", ["after", "lost", "twice"])
def test_a_lost_answer_is_still_one_job(world: World, kind: str) -> None:
    agent = world.agent()
    world.fake.faults.add(kind, 503, path="/v0.4/jobs", method="POST")
    job_id = world.submit(agent)
    assert world.ended(agent, job_id)["state"] == "done"
    # what a broken proxy doubled is the vendor's doing: we sent it once
    sent = [1 for m, _, _, body in world.fake.faults.seen if m == "POST" and job_id in str(body)]
    assert len(sent) == 1
    assert len(world.fake.ran(job_id)) == (2 if kind == "twice" else 1)


@pytest.mark.attack("S3", "B4")
@pytest.mark.parametrize(
    ("lies", "failure"),
    [
        (["circuit"] * 5, "vendor_lied: it ran another circuit"),
        (["job"] * 5, "vendor_lied: it speaks of another job"),
        (["sum"], "result_malformed: the chances in its result do not add up to one"),
    ],
)
def test_a_vendor_that_lies_fails_the_job_and_raises_an_alert(
    world: World, lies: list[str], failure: str
) -> None:
    agent = world.agent()
    world.fake.lies += lies
    job = world.ended(agent, world.submit(agent))
    assert (job["state"], job["failure"]) == ("failed", failure)
    assert agent.call("GET", f"/v1/jobs/{job['job_id']}/result").status_code in (404, 409)
    assert any(a["subject"] == "ionq:simulator" for a in world.alerts("vendor_lied"))
    world.fake.lies.clear()


@pytest.mark.attack("S3")
def test_a_vendor_that_is_confused_for_a_moment_is_asked_again(world: World) -> None:
    agent = world.agent()
    world.fake.lies += ["job", "circuit"]
    assert world.ended(agent, world.submit(agent))["state"] == "done"


def test_a_preview_asks_the_vendor_if_it_is_asked_to(world: World) -> None:
    agent = world.agent()
    asked = {"backend": "ionq:simulator", "shots": 100,
             "program": {"format": "openqasm2", "source": GHZ}}  # fmt: skip
    dry = [1 for j in world.fake.jobs.values() if j["dry_run"]]
    assert agent.call("POST", "/v1/estimates", asked).json()["vendor"] is None
    found = agent.call("POST", "/v1/estimates", {**asked, "check_vendor": True}).json()
    assert (found["decision"], found["vendor"]) == ("allow", {"state": "accepted", "reasons": []})
    assert len([1 for j in world.fake.jobs.values() if j["dry_run"]]) == len(dry) + 1
    # what is denied here, the vendor does not hear of; and submission knows no such field
    denied = {**asked, "check_vendor": True, "shots": 10**6}
    assert agent.call("POST", "/v1/estimates", denied).json()["vendor"]["state"] == "not_asked"
    assert agent.call("POST", "/v1/jobs", {**asked, "check_vendor": True}).status_code == 400
    world.fake.faults.add("status", 503, path="/v0.4/jobs", method="POST")
    down = agent.call("POST", "/v1/estimates", {**asked, "check_vendor": True}).json()
    assert (down["decision"], down["vendor"]["state"]) == ("allow", "unknown")


def test_devices_are_told_with_what_is_known_of_them(world: World) -> None:
    items = {d["name"]: d for d in world.server.admin("GET", "backends")["items"]}
    forte = items["ionq:qpu.forte-1"]
    assert forte["native_gates"] == ["gpi", "gpi2", "zz"]
    assert forte["wait_ms"] == 181_000
    assert forte["calibrated_at"].startswith("2026-11-01")
    assert forte["seen_at"]


def test_vendors_can_be_tried_from_the_command_line() -> None:
    command = [sys.executable, "-m", "cryogate.cli.main", "dev", "vendors", "--port", "18701"]
    env = {k: v for k, v in os.environ.items() if not k.startswith("CRYOGATE_")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True) as made:
        assert made.stdout is not None
        told = ""
        while "secret set" not in told:
            line = made.stdout.readline()
            assert line, told
            told += line
        match = re.search(r'url = "(http://127\.0\.0\.1:\d+/v0\.4)"', told)
        assert match
        deadline = time.monotonic() + 20
        while True:
            try:
                assert httpx.get(match[1] + "/backends", trust_env=False).json()
                break
            except httpx.ConnectError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        made.send_signal(signal.SIGINT)
        made.wait(20)
