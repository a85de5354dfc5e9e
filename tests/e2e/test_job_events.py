"""Jobs followed by their agents: told while it may listen, and not a second longer."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest
from tests.support.following import followed
from tests.support.running import GHZ, Agent, Running, running

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("events")) as made:
        yield made


def waiting(agent: Agent) -> tuple[str, str]:
    """A job that waits for a person, and the path of its events."""
    job_id = agent.client.submit(GHZ, "local:aer", 3).job_id
    return job_id, f"/v1/jobs/{job_id}/events"


def test_the_stream_tells_every_move_and_ends_with_the_job(world: Running) -> None:
    agent = world.agent()
    job_id, path = waiting(agent)
    got = followed(agent, path, lambda: agent.client.cancel(job_id))
    assert [(n, d["state"]) for n, d in got] == [("job", "parked"), ("job", "cancelled")]
    assert got[-1][1]["next"] == "Nothing more will happen."


def test_a_job_that_is_over_is_told_once(world: Running) -> None:
    agent = world.agent()
    job_id = agent.client.submit(GHZ, "local:null", 10).job_id
    agent.client.wait(job_id, timeout_s=30)
    got = followed(agent, f"/v1/jobs/{job_id}/events", lambda: None)
    assert [(n, d["state"]) for n, d in got] == [("job", "done")]


@pytest.mark.attack("R4")
def test_a_stream_ends_when_its_token_is_revoked(world: Running) -> None:
    agent = world.agent()
    _, path = waiting(agent)
    payload = agent.client.token().value.split(".")[1]
    token_id = json.loads(base64.urlsafe_b64decode(payload + "=="))["jti"]
    body = {"kind": "token", "subject": token_id, "reason": "test"}
    got = followed(agent, path, lambda: world.admin("POST", "revocations", body=body))
    assert got[-1] == ("gone", {})
    assert agent.call("GET", path).status_code in (401, 404)


@pytest.mark.attack("R4")
def test_a_stream_is_of_ones_own_jobs(world: Running) -> None:
    one, two = world.agent(), world.agent()
    _, path = waiting(one)
    assert two.call("GET", path).status_code == 404
    assert two.http.get(path).status_code == 401
