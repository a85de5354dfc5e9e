"""Every vendor behind one server: leases that are cut to size, prices, and what is charged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.running import GHZ, Running, running
from tests.support.running import PRICES as BOOK
from tests.support.vendors import TRAPPED_BELL

from cryogate.dev.braket import BUCKET, BraketFake
from cryogate.dev.ibm import CRN, IbmFake
from cryogate.dev.nexus_door import PROJECT
from cryogate.dev.quantinuum import QuantinuumFake
from cryogate.dev.serving import served
from cryogate.policies import shipped_bundle

PRICES: list[dict[str, Any]] = [
    {"backend": "braket:*", "model": "per_task_and_shot", "currency": "USD", "task": "0.30",
     "shot": "0.01", "source": "test", "as_of": "2026-11-01"},
    {"backend": "ibm:*", "model": "per_second_bound", "currency": "USD", "second": "0.05",
     "max_seconds": 60, "source": "test", "as_of": "2026-11-01"},
    {"backend": "quantinuum:*", "model": "hqc", "currency": "HQC", "rate": "1", "base": "5",
     "one_qubit_gate": "1/5000", "two_qubit_gate": "10/5000", "spam": "5/5000",
     "source": "test", "as_of": "2026-11-01"},
]  # fmt: skip
RATES = [{"from": "HQC", "to": "USD", "rate": "0.5", "source": "test", "as_of": "2026-11-01"}]
TRAPPED = TRAPPED_BELL.text.decode()
NATIVE = GHZ.replace("h q[0];", "x q[0];").replace("cx q[0],q[1];", "cz q[0],q[1];")


class World:
    def __init__(
        self, server: Running, braket: BraketFake, ibm: IbmFake, nexus: QuantinuumFake, folder: Path
    ) -> None:
        self.server, self.braket, self.ibm, self.folder = server, braket, ibm, folder
        self.nexus = nexus


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("vendors")
    braket, ibm = BraketFake(polls=1), IbmFake(polls=1)
    nexus = QuantinuumFake(polls=1)
    bundle = folder / "bundle"
    shutil.copytree(shipped_bundle(), bundle)
    rules = bundle / "cryogate_data/settings/data.json"
    # the test's agents are on stage simulator, so every backend is one to the policy's list
    rules.write_text(
        rules.read_text().replace('"local:*"', '"local:*", "braket:sv1", "quantinuum:h2-1e"')
    )
    with served(braket.app) as aws, served(ibm.app) as api, served(nexus.app) as door:
        settings = (
            f'[policy]\nbundle = "{bundle}"\ninsecure_unsigned = true\n'
            '[providers]\nenabled = ["braket", "ibm", "quantinuum"]\nrefresh_s = 5\n'
            f'[braket]\nbucket = "{BUCKET}"\nurl = "{aws}"\ns3_url = "{aws}"\nsts_url = "{aws}"\n'
            f'[ibm]\nurl = "{api}/api/v1"\niam_url = "{api}"\n'
            f'[quantinuum]\nurl = "{door}"\n'
        )
        with running(folder, settings, PRICES, {**BOOK, "conversions": RATES}) as server:
            root = braket.accounts.root
            keys = {"access_key_id": root.key_id, "secret_access_key": root.secret,
                    "role_arn": "arn:aws:iam::123456789012:role/cryogate-braket"}  # fmt: skip
            server.admin("POST", "secrets", "braket", body={"value": json.dumps(keys)})
            made = {"api_key": ibm.key, "crn": CRN}
            server.admin("POST", "secrets", "ibm", body={"value": json.dumps(made)})
            login = {"refresh_token": nexus.door.refresh_token, "project": PROJECT}
            server.admin("POST", "secrets", "quantinuum", body={"value": json.dumps(login)})
            found = World(server, braket, ibm, nexus, folder)
            deadline = time.monotonic() + 12
            while not {"braket:sv1", "ibm:ibm_torino", "quantinuum:h2-1e"} <= {
                d["name"] for d in server.admin("GET", "backends")["items"]
            }:
                assert time.monotonic() < deadline, "the devices are not listed"
                time.sleep(0.2)
            yield found


@pytest.mark.attack("T4", "S1")
def test_a_task_runs_at_braket_under_a_session_for_it_alone(world: World) -> None:
    agent = world.server.agent(agent={"tier": "standard"}, allowed_backends=["braket:sv1"])
    token = agent.client.token().value
    job = agent.run("braket:sv1", GHZ)
    assert job["state"] == "done", job
    counts = agent.call("GET", f"/v1/jobs/{job['job_id']}/result").json()["counts"]
    assert set(counts) <= {"00", "11"}
    assert sum(counts.values()) == 100
    assert job["cost_actual_cents"] == 130
    [task] = world.braket.ran(job["job_id"])
    assert world.braket.tasks[task]["tags"]["cryogate:job"] == job["job_id"]
    sessions = [s for s in world.braket.accounts.sessions.values() if s.policy]
    mine = [s for s in sessions if s.tags.get("cryogate-agent") == agent.client.client_id]
    assert len(mine) == 1
    devices = mine[0].policy["Statement"][0]["Resource"]  # type: ignore[index]
    assert "arn:aws:braket:::device/quantum-simulator/amazon/sv1" in devices
    canaries = (token, world.braket.accounts.root.secret, mine[0].secret, mine[0].token)
    for canary in canaries:
        for file in world.folder.rglob("*"):
            assert not file.is_file() or canary.encode() not in file.read_bytes(), file
    seen = "".join(f"{p}{h}{b!r}" for _, p, h, b in world.braket.faults.seen)
    assert token not in seen
    assert world.braket.accounts.root.secret not in seen
    told = {a["kind"] for a in world.server.admin("GET", "alerts")["items"]}
    assert not told & {"budget_bill_unknown", "vendor_lied", "lease_not_revoked"}


@pytest.mark.attack("S1")
def test_no_credential_no_job_and_somebody_is_told(world: World) -> None:
    agent = world.server.agent(agent={"tier": "standard"}, allowed_backends=["braket:sv1"])
    world.braket.accounts.refuse = True
    body = {"backend": "braket:sv1", "shots": 10,
            "program": {"format": "openqasm2", "source": GHZ}}  # fmt: skip
    job_id = agent.call("POST", "/v1/jobs", body).json()["job_id"]
    deadline = time.monotonic() + 30
    while not any(
        a["kind"] == "no_credential" for a in world.server.admin("GET", "alerts")["items"]
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert world.braket.ran(job_id) == []
    world.braket.accounts.refuse = False
    while agent.call("GET", f"/v1/jobs/{job_id}").json()["state"] != "done":
        assert time.monotonic() < deadline + 60
        time.sleep(0.1)
    assert len(world.braket.ran(job_id)) == 1


def test_operators_see_what_bounds_each_device_at_its_vendor(world: World) -> None:
    command = [sys.executable, "-m", "cryogate.cli.main", "backend", "limits", "--json"]
    env = {k: v for k, v in os.environ.items() if not k.startswith("CRYOGATE_")}
    done = subprocess.run(
        command, capture_output=True, text=True, check=True,
        env={**env, "CRYOGATE_STATE_DIR": str(world.server.state)},
    )  # fmt: skip
    found = json.loads(done.stdout)
    told = {(row["backend"], row["per"]): row["limit"] for row in found["items"]}
    assert told["ibm:ibm_torino", "job"] == "60 s per job, set on every job"
    assert told["ibm:ibm_torino", "instance"].startswith("600 s per instance, set by an operator")
    assert told["braket:forte-1", "device"].startswith("10000.00 USD per device")
    assert found["without"] == []
    log = (world.folder / "server.log").read_text()
    assert "ibm:ibm_torino: 60 s per job, set on every job" in log


@pytest.mark.attack("T4", "S1", "C5")
def test_a_job_runs_at_nexus_for_credits_and_with_its_limit(world: World) -> None:
    agent = world.server.agent(
        agent={"tier": "standard"}, allowed_backends=["quantinuum:h2-1e"], cost_center="lab-7"
    )  # fmt: skip
    token = agent.client.token().value
    job = agent.run("quantinuum:h2-1e", TRAPPED)
    assert job["state"] == "done", job
    counts = agent.call("GET", f"/v1/jobs/{job['job_id']}/result").json()["counts"]
    assert set(counts) <= {"00", "11"}
    assert sum(counts.values()) == 100
    # 5 + 100 x (8 + 10 + 5 x 4) / 5000 credits, of half a dollar each
    assert (job["cost_actual_cents"], job["currency"]) == (288, "USD")
    [vendor_id] = world.nexus.ran(job["job_id"])
    made = world.nexus.jobs[vendor_id]
    assert made["definition"]["items"][0]["max_cost"] == 5.76
    assert made["properties"]["cryogate_program"] == TRAPPED_BELL.fingerprint
    assert made["properties"]["cryogate_cost_center"] == "lab-7"
    seen = "".join(f"{p}{h}{b!r}" for _, p, h, b in world.nexus.faults.seen)
    assert token not in seen
    assert agent.client.client_id not in seen
    for canary in (token, world.nexus.door.refresh_token, *world.nexus.door.tokens):
        for file in world.folder.rglob("*"):
            assert not file.is_file() or canary.encode() not in file.read_bytes(), file
    # gates that the machine does not have are refused here, by name
    body = {"backend": "quantinuum:h2-1e", "shots": 10,
            "program": {"format": "openqasm2", "source": GHZ}}  # fmt: skip
    refused = agent.call("POST", "/v1/jobs", body)
    assert refused.status_code in (403, 422), refused.text
    assert "h" in str(refused.json()["violations"])
    told = {a["kind"] for a in world.server.admin("GET", "alerts")["items"]}
    assert not told & {"budget_bill_unknown", "vendor_lied", "program_mismatch"}
