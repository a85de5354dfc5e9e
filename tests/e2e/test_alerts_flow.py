"""From refusals to an alert, from the alert to a hold, from an operator's word to its end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.running import GHZ, Agent, Running, running

from cryogate.client import Refused
from cryogate.domain.jobs import JobState
from cryogate.governance.profiles import DENIALS

SETTINGS = """
[alerts]
on_denial_burst = "suspend"
on_new_backend = "require_approval"
[limits]
agent_jobs_per_min = 600
agent_jobs_burst = 60
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("alerts"), SETTINGS) as made:
        yield made


def alert_of(world: Running, agent: Agent, kind: str) -> dict[str, Any]:
    """The alert, once the detector has read that far."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for alert in world.admin("GET", "alerts")["items"]:
            if (alert["kind"], alert["subject"]) == (kind, agent.client.client_id):
                found: dict[str, Any] = alert
                return found
        time.sleep(0.1)
    raise AssertionError("there was no alert")


def code_of(agent: Agent, backend: str = "local:null") -> str:
    try:
        state = agent.client.submit(GHZ, backend, 10).state
    except Refused as refused:
        return refused.code
    # handed over, or queued where others wait: both are on their way
    return "queued" if state is JobState.DISPATCHING else state.value


def until(agent: Agent, want: str) -> None:
    deadline = time.monotonic() + 20
    while (got := code_of(agent)) != want:
        assert time.monotonic() < deadline, got
        time.sleep(0.2)


def test_a_burst_of_refusals_suspends_until_the_alert_is_closed(world: Running) -> None:
    agent, other = world.agent(), world.agent()
    for _ in range(DENIALS):
        with pytest.raises(Refused):
            agent.client.submit(GHZ, "local:null", 50_000)
    alert = alert_of(world, agent, "denial_burst")
    assert (alert["state"], alert["severity"]) == ("open", "medium")
    assert alert["evidence"]["refusals"] == DENIALS
    until(agent, "suspended")
    assert code_of(other) == "queued"
    world.admin("POST", "alerts", alert["alert_id"], "close", body={"note": "a bug, fixed"})
    until(agent, "queued")


def test_too_fast_is_429_with_a_time_to_come_back(world: Running) -> None:
    agent = world.agent()
    body = {"backend": "local:null", "shots": 1, "program": {"format": "openqasm2", "source": GHZ}}
    answer = agent.call("POST", "/v1/jobs", body)
    for _ in range(200):
        if answer.status_code == 429:
            break
        assert answer.status_code == 202
        answer = agent.call("POST", "/v1/jobs", body)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["violations"][0]["limit"] == "agent_jobs_per_min"


def test_a_held_agents_job_waits_for_a_person(world: Running) -> None:
    agent = world.agent()
    for _ in range(50):
        agent.client.submit(GHZ, "local:null", 10)
    assert code_of(agent, "local:aer") == "parked"  # 6.00 USD needs a person anyhow
    alert = alert_of(world, agent, "new_backend")
    until(agent, "parked")
    [parked, *_] = agent.call("GET", "/v1/approvals").json()["items"]
    assert alert["alert_id"] in parked["reason"]
