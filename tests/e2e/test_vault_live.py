"""A server whose vendors' secrets are in a real OpenBao, which it enters with a certificate."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.live import ROOT
from tests.support.openbao import OpenBao, binary
from tests.support.running import PROGRAM, Agent, Running, as_simulators, running
from tests.support.tls import authority, issue

from cryogate.dev.ionq import IonqFake
from cryogate.dev.serving import served

PRICES = [
    {"backend": "ionq:*", "model": "per_task_and_shot", "currency": "USD", "task": "0.30",
     "shot": "0.01", "source": "test", "as_of": "2026-11-01"},
]  # fmt: skip


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _opened(bao: OpenBao, folder: Path, key: str) -> str:
    """The settings of a server that may read ``kv/cryogate/*`` in ``bao``, and no more."""
    page = (ROOT / "docs/vault.md").read_text()
    policy = next(p for p in re.findall(r"```hcl\n(.*?)```", page, re.DOTALL) if "kv/" in p)
    root = authority("clients")
    cert, private = issue("cryogate", issuer=root, client=True).write(folder, "client")
    bao.call("POST", "sys/mounts/kv", type="kv", options={"version": "2"})
    bao.call("POST", "kv/data/cryogate/ionq", data={"value": key})
    bao.call("PUT", "sys/policies/acl/cryogate", policy=policy)
    bao.call("POST", "sys/auth/cert", type="cert")
    bao.call("POST", "auth/cert/certs/cryogate", certificate=root.cert_pem.decode(),
             allowed_common_names=["cryogate"], token_policies=["cryogate"])  # fmt: skip
    return (
        f'[vault]\nurl = "{bao.url}"\nauth = "cert"\nrole = "cryogate"\nca_file = "{bao.ca}"\n'
        f'cert_file = "{cert}"\nkey_file = "{private}"\n'
    )


class World:
    def __init__(self, server: Running, bao: OpenBao, fake: IonqFake) -> None:
        self.server, self.bao, self.fake = server, bao, fake

    def agent(self) -> Agent:
        return self.server.agent(agent={"tier": "trusted"}, allowed_backends=["ionq:simulator"])

    def submit(self, agent: Agent) -> str:
        body = {"backend": "ionq:simulator", "shots": 100, "program": PROGRAM}
        answer = agent.call("POST", "/v1/jobs", body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])

    def job(self, agent: Agent, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = agent.call("GET", f"/v1/jobs/{job_id}").json()
        return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("vault-live")
    fake, bao = IonqFake("vendor-key-canary", polls=1), OpenBao(binary(), folder)
    try:
        settings = as_simulators(folder, "ionq:simulator") + _opened(bao, folder, fake.key)
        with served(fake.app) as url:
            settings += f'[providers]\nenabled = ["ionq"]\n[ionq]\nurl = "{url}/v0.4"\n'
            with running(folder, settings, PRICES) as server:
                yield World(server, bao, fake)
    finally:
        bao.stop()


@pytest.mark.attack("S1")
def test_a_job_runs_with_a_secret_that_only_the_vault_keeps(world: World) -> None:
    agent = world.agent()
    job_id = world.submit(agent)
    until(lambda: world.job(agent, job_id)["state"] == "done")
    counts = agent.call("GET", f"/v1/jobs/{job_id}/result").json()["counts"]
    assert counts == {"00": 50, "11": 50}
    assert world.server.admin("GET", "secrets")["items"] == []
    for file in world.server.state.rglob("*"):
        assert not file.is_file() or world.fake.key.encode() not in file.read_bytes(), file


@pytest.mark.attack("S1")
def test_a_vault_that_says_no_stops_jobs_and_somebody_is_told(world: World) -> None:
    agent = world.agent()
    agent.client.token()
    world.bao.call("PUT", "sys/policies/acl/cryogate", policy='path "none" {}')
    job_id = world.submit(agent)
    until(lambda: world.job(agent, job_id)["waiting_for"] == "no_credential")

    def told() -> list[dict[str, Any]]:
        found = world.server.admin("GET", "alerts")["items"]
        return [alert for alert in found if alert["kind"] == "no_credential"]

    until(told)
    [alert] = told()
    assert (alert["subject"], alert["evidence"]["error"]) == ("ionq", "Vault answered 403")
    assert world.fake.ran(job_id) == []
    world.bao.call("PUT", "sys/policies/acl/cryogate", policy='path "kv/*" {capabilities=["read"]}')
    until(lambda: world.job(agent, job_id)["state"] == "done")
    assert len(world.fake.ran(job_id)) == 1
