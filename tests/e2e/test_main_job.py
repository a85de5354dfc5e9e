"""The running server, from outside: a real process, real HTTP, the real client."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cryogate.client import Client, Identity, Operator, Refused, read_credential

GHZ = """OPENQASM 2.0;
include "qelib1.inc";
qreg q[2];
creg c[2];
h q[0];
cx q[0],q[1];
measure q -> c;
"""


class World:
    """A server, its operator, and one agent in one experiment."""

    def __init__(self, state: Path) -> None:
        self.url: str = json.loads((state / "server.json").read_text())["url"]
        self.operator = Operator(self.url, read_credential(state / "operator.jwk").identity)
        self.http = httpx.Client(base_url=self.url, trust_env=False)
        self.agents = 0

    def agent(self) -> tuple[Client, Identity]:
        self.agents += 1
        name, experiment = f"bot-{self.agents}", f"exp-{self.agents}"
        identity = Identity.generate(name)
        self.operator.call("POST", "admin", "v1", "agents", body={
            "agent_id": name, "owner": "ada@example.org", "jwk": identity.public_jwk(),
            "roles": ["qpu.submit-only", "qpu.read-aggregates"]})  # fmt: skip
        self.operator.call("POST", "admin", "v1", "experiments", body={
            "experiment_id": experiment, "purpose": "test", "classification": "poc",
            "owner": "ada@example.org", "closes_at": "2099-01-01T00:00:00.000Z",
            "allowed_agents": [name], "allowed_backends": ["local:null", "local:aer"],
            "budget_cents": 500, "currency": "USD", "budget_shots": 100_000})  # fmt: skip
        return Client(self.url, name, identity, experiment), identity

    def signed(
        self, client: Client, key: Identity, method: str, path: str, body: object = None
    ) -> httpx.Response:
        """A request with token and proof, made by hand."""
        answer = self._once(client, key, method, path, body, None)
        if "dpop-nonce" in answer.headers:
            nonce = answer.headers["dpop-nonce"]
            answer = self._once(client, key, method, path, body, nonce)
        return answer

    def _once(
        self,
        client: Client,
        key: Identity,
        method: str,
        path: str,
        body: object,
        nonce: str | None,
    ) -> httpx.Response:
        token = client.token().value
        proof = key.proof(method, self.url + path, time.time_ns() // 10**6, token, nonce)
        headers = {"authorization": f"DPoP {token}", "dpop": proof}
        return self.http.request(method, path, headers=headers, json=body)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    state = tmp_path_factory.mktemp("server") / "state"
    env = {k: v for k, v in os.environ.items() if not k.startswith("CRYOGATE_")}
    command = [sys.executable, "-m", "cryogate.cli.main", "up", "--port", "0"]
    with subprocess.Popen(
        command,
        env={**env, "CRYOGATE_STATE_DIR": str(state)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            deadline = time.monotonic() + 60
            while not (state / "server.json").exists():
                assert server.poll() is None, "the server did not start"
                assert time.monotonic() < deadline, "the server took too long"
                time.sleep(0.05)
            made = World(state)
            yield made
            made.operator.close()
            made.http.close()
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(timeout=30) == 0


def test_a_job_runs_and_its_counts_come_back(world: World) -> None:
    client, _ = world.agent()
    with client:
        result = client.run(GHZ, "local:aer", 200, timeout_s=60)
        assert set(result.counts) <= {"00", "11"}
        assert sum(result.counts.values()) == 200
        assert result.memory is None


def test_inputs_are_bound_and_a_circuit_leads_back_to_its_experiment(world: World) -> None:
    source = "OPENQASM 3; input float t; qubit[2] q; bit[2] c; U(t, 0, 0) q[0]; c = measure q;"
    client, _ = world.agent()
    with client:
        jobs = [client.submit(source, "local:null", 5, parameters={"t": t}) for t in (0.5, 0.25)]
        assert len({job.circuit_sha256 for job in jobs}) == 2
        with pytest.raises(Refused, match="no value"):
            client.submit(source, "local:null", 5)
    found = world.operator.call("GET", "admin", "v1", "jobs", jobs[0].job_id, "similar")
    best = found["items"][0]
    assert (best["job_id"], best["similarity"]) == (jobs[1].job_id, 1.0)
    assert best["experiment_id"] == found["experiment_id"]
    bound = source.replace("input float t;", "").replace("U(t,", "U(0.5,")
    asked = {"format": "openqasm3", "source": bound}
    again = world.operator.call("POST", "admin", "v1", "circuits", "similar", body=asked)
    assert again["items"][0]["same_circuit"]


def test_every_violation_comes_back_at_once(world: World) -> None:
    client, _ = world.agent()
    with client, pytest.raises(Refused) as refused:
        client.submit(GHZ, "local:nowhere", 50_000)
    limits = {v.limit for v in refused.value.violations}
    assert {"max_shots", "allowed_backends", "backend.exists"} <= limits


@pytest.mark.attack("T7")
def test_a_token_in_the_url_is_refused(world: World) -> None:
    client, key = world.agent()
    with client:
        token = client.token().value
        answer = world.signed(client, key, "GET", f"/v1/backends?access_token={token}")
    assert answer.status_code == 400
    assert answer.json()["code"] == "token_in_url"
    assert token not in answer.text


@pytest.mark.attack("A8", "T3")
def test_an_agents_token_opens_no_admin_door(world: World) -> None:
    client, key = world.agent()
    with client:
        assert world.signed(client, key, "GET", "/v1/backends").status_code == 200
        for path in ("/admin/v1/agents", "/admin/v1/jobs", "/audit/events"):
            assert world.signed(client, key, "GET", path).status_code == 401


@pytest.mark.attack("R4")
def test_a_revoked_agent_neither_polls_nor_reads(world: World) -> None:
    client, _ = world.agent()
    with client:
        job = client.submit(GHZ, "local:null", 10)
        client.wait(job.job_id, timeout_s=30)
        world.operator.call("POST", "admin", "v1", "revocations", body={
            "kind": "agent", "subject": client.client_id, "reason": "test"})  # fmt: skip
        for call in (client.job, client.result, client.cancel):
            with pytest.raises(Refused):
                call(job.job_id)
        with pytest.raises(Refused):
            client.jobs()


@pytest.mark.attack("B3")
def test_an_idempotency_key_is_good_for_one_request(world: World) -> None:
    client, _ = world.agent()
    with client:
        first = client.submit(GHZ, "local:null", 10, idempotency_key="once")
        again = client.submit(GHZ, "local:null", 10, idempotency_key="once")
        assert first.job_id == again.job_id
        with pytest.raises(Refused) as refused:
            client.submit(GHZ, "local:null", 11, idempotency_key="once")
    assert refused.value.status == 409


@pytest.mark.attack("A6", "A4")
@pytest.mark.parametrize(
    "change",
    [{"approved": True}, {"price": 0}, {"experiment_id": "x"}, {"shots": "10"}, {"shots": 1e1},
     {"shots": True}, {"shots": 0}, {"backend": "LOCAL:null"}],
)  # fmt: skip
def test_what_is_no_request_is_refused_and_reserves_nothing(
    world: World, change: dict[str, object]
) -> None:
    client, key = world.agent()
    body = {"backend": "local:null", "shots": 10,
            "program": {"format": "openqasm2", "source": GHZ}, **change}  # fmt: skip
    with client:
        answer = world.signed(client, key, "POST", "/v1/jobs", body)
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/problem+json"
        assert client.jobs()[0] == ()


def test_an_unreadable_circuit_is_a_problem_with_a_line(world: World) -> None:
    client, _ = world.agent()
    with client, pytest.raises(Refused) as refused:
        client.submit(GHZ.replace("h q[0];", "hh q[0];"), "local:null", 10)
    assert refused.value.status == 422
    assert "line" in str(refused.value)


@pytest.mark.attack("P3")
def test_a_foreign_host_name_is_not_answered(world: World) -> None:
    answer = world.http.get("/healthz", headers={"host": "evil.example"})
    assert answer.status_code == 421


@pytest.mark.parametrize(
    "path", ["/v1/jobs", "/v1/jobs/job_x", "/admin/v1/agents", "/audit/events"]
)
def test_nothing_is_open_without_a_token(world: World, path: str) -> None:
    assert world.http.get(path).status_code == 401
