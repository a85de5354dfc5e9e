"""Three server processes over one PostgreSQL, from outside."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.postgres import PostgresServer
from tests.support.replicas import Cluster, cluster, enrol

from cryogate.client import Client, Identity, Operator

BOUND_MS = 800


@pytest.fixture(scope="module")
def found(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    import asyncio

    dsn = asyncio.run(postgres_server.create())
    more = {"CRYOGATE_REVOCATIONS_MAX_AGE_MS": str(BOUND_MS), "CRYOGATE_CIRCUITS_WORKERS": "0"}
    with cluster(tmp_path_factory.mktemp("cluster"), dsn, more=more) as made:
        yield made


def revoke(found: Cluster, kind: str, subject: str) -> dict[str, Any]:
    with Operator(found.url, found.operator_key) as operator:
        return operator.call("POST", "admin", "v1", "revocations", query={"wait": "all"},
                             body={"kind": kind, "subject": subject, "reason": "r"})  # fmt: skip


def accepted(found: Cluster, replica: int, identity: Identity, token: str) -> None:
    """It is, once the replica is up to date: on a busy machine it may have to look first."""
    until = time.monotonic() + 30
    while True:
        status, answer = found.ask(replica, identity, token, "GET", "/v1/backends")
        if status == 200:
            return
        assert status == 503, answer
        assert time.monotonic() < until


def token_of(found: Cluster, identity: Identity, experiment: str) -> str:
    with Client(found.url, identity.client_id, identity, experiment) as client:
        return client.token().value


@pytest.mark.slow
@pytest.mark.attack("R1", "T5")
def test_no_replica_accepts_after_the_wait(found: Cluster) -> None:
    identity = enrol(found, "bot-1", "exp-1")
    token = token_of(found, identity, "exp-1")
    for n in range(3):
        accepted(found, n, identity, token)
    done = revoke(found, "agent", "bot-1")
    assert len(done["enforcing"]) + len(done["refusing"]) == 3
    for n in range(3):
        status, answer = found.ask(n, identity, token, "GET", "/v1/backends")
        assert (status, answer["code"]) in ((401, "revoked"), (503, "unavailable"))


@pytest.mark.slow
@pytest.mark.attack("T9")
def test_a_sub_agent_works_anywhere_until_its_parent_is_revoked(found: Cluster) -> None:
    lead = enrol(found, "lead", "exp-2")
    helper = Identity.generate("helper")
    with Operator(found.url, found.operator_key) as operator:
        operator.call("POST", "admin", "v1", "agents", body={
            "agent_id": "helper", "owner": "bob@example.org", "jwk": helper.public_jwk(),
            "roles": ["qpu.submit-only", "qpu.read-aggregates"]})  # fmt: skip
        operator.call("PATCH", "admin", "v1", "experiments", "exp-2",
                      body={"allowed_agents": ["lead", "helper"]})  # fmt: skip
    with Client(found.url, "lead", lead, "exp-2") as client:
        consent = helper.consent(found.url)
        token = client.delegate(consent, max_shots=10, max_total_shots=20)
    with Client(found.url, "helper", helper, "exp-2") as sub:
        sub.adopt(token)
        circuit = (
            'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[1];\ncreg c[1];\n'
            "h q[0];\nmeasure q -> c;\n"
        )
        job = sub.submit(circuit, "local:null", 10)
        assert sub.wait(job.job_id, timeout_s=30).state == "done"
    for n in range(3):
        accepted(found, n, helper, token.value)
    revoke(found, "agent", "lead")
    for n in range(3):
        assert found.ask(n, helper, token.value, "GET", "/v1/backends")[0] in (401, 503)


@pytest.mark.slow
@pytest.mark.attack("R1", "R3")
def test_a_replica_that_stands_still_is_not_waited_for_and_refuses(found: Cluster) -> None:
    identity = enrol(found, "bot-3", "exp-3")
    token = token_of(found, identity, "exp-3")
    silent = found.replicas[2].process
    os.kill(silent.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        done = revoke(found, "agent", "bot-3")
        waited_ms = (time.monotonic() - began) * 1000
    finally:
        os.kill(silent.pid, signal.SIGCONT)
    assert len(done["refusing"]) >= 1
    assert waited_ms > BOUND_MS
    # It wakes up with an old view: whatever it says first, it is not yes.
    for n in range(3):
        status, _ = found.ask(n, identity, token, "GET", "/v1/backends")
        assert status in (401, 503)
