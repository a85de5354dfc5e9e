"""Jobs at IBM and Google through the whole gateway: what they cost, and what bounds them there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.support.console import Console
from tests.support.process import ServerProcess
from tests.support.running import GHZ, Agent, Running, running

from cryogate.dev.google import PROJECT, RUNNER, GoogleFake
from cryogate.dev.ibm import CRN, IbmFake
from cryogate.dev.serving import served

PRICES: list[dict[str, Any]] = [
    {"backend": "ibm:*", "model": "per_second_bound", "currency": "USD", "second": "0.05",
     "max_seconds": 60, "source": "test", "as_of": "2026-11-01"},
    {"backend": "google:*", "model": "per_task_and_shot", "currency": "USD", "task": "0.30",
     "shot": "0.001", "source": "test", "as_of": "2026-11-01"},
]  # fmt: skip
NATIVE = GHZ.replace("h q[0];", "x q[0];").replace("cx q[0],q[1];", "cz q[0],q[1];")


class World:
    def __init__(self, server: Running, ibm: IbmFake, google: GoogleFake) -> None:
        self.server, self.ibm, self.google = server, ibm, google
        invited = server.admin(
            "POST", "operators", body={"operator_id": "second", "roles": ["approver"]}
        )
        port = int(server.url.rpartition(":")[2])
        where = SimpleNamespace(url=server.url, address=("127.0.0.1", port))
        password = invited["one_time_password"]
        self.second = Console.invited(cast(ServerProcess, where), "second", password)

    def agent(self, backend: str) -> Agent:
        """One that has run on a simulator, and was promoted by two people."""
        made = self.server.agent(
            agent={"tier": "trusted"}, allowed_backends=["local:null", backend]
        )
        assert made.run("local:null", GHZ)["state"] == "done"
        name = made.client.client_id
        asked = self.server.admin("POST", "agents", name, "promotion", body={"reason": "a trial"})
        decide = f"/admin/v1/approvals/{asked['approval_id']}/approve"
        yes = self.second.http.post(decide, json={"note": "go"}, headers=self.second.unsafe())
        assert yes.status_code == 200, yes.text
        made.client._session.token = None  # the next one is for hardware too
        return made


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("hardware")
    ibm, google = IbmFake(polls=1), GoogleFake(polls=1)
    with served(ibm.app) as api, served(google.app) as engine:
        settings = (
            '[providers]\nenabled = ["ibm", "google"]\nrefresh_s = 5\n'
            f'[ibm]\nurl = "{api}/api/v1"\niam_url = "{api}"\n'
            f'[google]\nproject = "{PROJECT}"\nurl = "{engine}"\niam_url = "{engine}"\n'
            f'token_url = "{engine}/token"\nservice_account = "{RUNNER}"\n'
        )
        with running(folder, settings, PRICES) as server:
            for scheme, value in (
                ("ibm", {"api_key": ibm.key, "crn": CRN}), ("google", google.key_file()),
            ):  # fmt: skip
                server.admin("POST", "secrets", scheme, body={"value": json.dumps(value)})
            deadline = time.monotonic() + 12
            while not {"ibm:ibm_torino", "google:willow_pink"} <= {
                d["name"] for d in server.admin("GET", "backends")["items"]
            }:
                assert time.monotonic() < deadline, "the devices are not listed"
                time.sleep(0.2)
            found = World(server, ibm, google)
            with found.second:
                yield found


@pytest.mark.attack("T4", "S1", "B4")
def test_ibm_stops_a_job_when_its_reservation_is_used_up(world: World) -> None:
    agent = world.agent("ibm:ibm_torino")
    token = agent.client.token().value
    job = agent.run("ibm:ibm_torino", NATIVE)
    assert (job["state"], job["cost_estimate_cents"]) == ("done", 300), job
    assert job["cost_actual_cents"] == 8  # 1.5 s at 0.05
    counts = agent.call("GET", f"/v1/jobs/{job['job_id']}/result").json()["counts"]
    assert counts == {"01": 100}
    world.ibm.seconds = 900.0
    try:
        dear = agent.run("ibm:ibm_torino", NATIVE)
    finally:
        world.ibm.seconds = 1.5
    assert (dear["state"], dear["cost_actual_cents"]) == ("failed", 300)
    [ran] = world.ibm.ran(dear["job_id"])
    assert world.ibm.jobs[ran]["cost"] == 60
    told = {a["kind"] for a in world.server.admin("GET", "alerts")["items"]}
    assert not told & {"budget_overrun", "budget_bill_unknown", "vendor_lied"}
    seen = "".join(f"{p}{h}{b!r}" for _, p, h, b in world.ibm.faults.seen)
    assert token not in seen
    # the key goes to the identity service, and to nothing else
    assert all(
        p == "/identity/token" for _, p, h, b in world.ibm.faults.seen
        if world.ibm.key in f"{h}{b!r}"
    )  # fmt: skip


@pytest.mark.attack("T4", "S1")
def test_a_job_runs_at_google_with_a_token_as_short_as_its_lease(world: World) -> None:
    agent = world.agent("google:willow_pink")
    token = agent.client.token().value
    source = NATIVE.replace("cz q[0],q[1];", "ry(pi/2) q[1]; cz q[0],q[1]; ry(pi/2) q[1];")
    job = agent.run("google:willow_pink", source)
    assert (job["state"], job["cost_actual_cents"]) == ("done", 40), job
    counts = agent.call("GET", f"/v1/jobs/{job['job_id']}/result").json()["counts"]
    assert set(counts) == {"01"}
    assert len(world.google.ran(job["job_id"])) == 1
    assert set(world.google.lives) == {"300s"}
    bearers = {h.get("authorization", "") for _, p, h, _ in world.google.faults.seen
               if p.startswith("/v1alpha1/")}  # fmt: skip
    assert {world.google.tokens[b.removeprefix("Bearer ")] for b in bearers} == {RUNNER}
    seen = "".join(f"{p}{h}{b!r}" for _, p, h, b in world.google.faults.seen)
    for canary in (token, "BEGIN PRIVATE"):
        assert canary not in seen
    # an angle that Google's format does not hold is refused by name before anything is reserved
    body = {"backend": "google:willow_pink", "shots": 10, "program": {
        "format": "openqasm2", "source": NATIVE.replace("x q[0]", "rx(pi/3) q[0]")}}  # fmt: skip
    refused = agent.call("POST", "/v1/jobs", body)
    assert refused.status_code == 403
    assert "1.0471975" in refused.text


def test_what_nothing_bounds_at_its_vendor_is_told(world: World) -> None:
    items = {d["name"]: d for d in world.server.admin("GET", "backends")["items"]}
    [granted] = items["google:willow_pink"]["limits"]
    assert granted["text"].startswith("36000 s per project, set by an operator")
    assert items["google:rainbow"]["limits"] == []
    assert {d["per"] for d in items["ibm:ibm_torino"]["limits"]} == {"job", "instance"}
