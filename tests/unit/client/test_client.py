"""The client against a real socket that speaks the wire contract."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
from tests.fakes.gateway import FakeGateway, Seen

from cryogate.client import Client, Identity, JobEnded, Refused, Unavailable, WaitExpired
from cryogate.domain.errors import Malformed
from cryogate.domain.ids import JOB, new_id
from cryogate.domain.jobs import JobState

GHZ = "OPENQASM 2.0;\nqreg q[1];\n"


def job_view(job_id: str, state: str) -> dict[str, object]:
    return {
        "job_id": job_id,
        "state": state,
        "backend": "local:aer",
        "shots": 100,
        "experiment_id": "exp-1",
        "cost_estimate_cents": 0,
        "currency": "USD",
        "failure": "no qubits left" if state == "failed" else None,
        "something_new": {"that": "is not known yet"},
    }


@pytest.fixture
def client(gateway: FakeGateway) -> Iterator[Client]:
    identity = Identity.generate("agent-a")
    gateway.clients["agent-a"] = identity.public_jwk()
    with Client(gateway.url, "agent-a", identity, "exp-1", max_shots=1000) as made:
        yield made


def serve_job(gateway: FakeGateway, *states: str) -> str:
    job_id = new_id(JOB)
    left = list(states)
    gateway.answer("POST", "/v1/jobs", (202, job_view(job_id, states[0])))

    def look(seen: Seen) -> tuple[int, object]:
        return 200, job_view(job_id, left.pop(0) if len(left) > 1 else left[0])

    gateway.answer("GET", f"/v1/jobs/{job_id}", look)
    result = {
        "job_id": job_id,
        "counts": {"0": 60, "1": 40},
        "shots": 100,
        "released": "aggregates",
    }
    gateway.answer("GET", f"/v1/jobs/{job_id}/result", (200, result))
    return job_id


def test_run_submits_waits_and_reads(gateway: FakeGateway, client: Client) -> None:
    job_id = serve_job(gateway, "queued", "running", "done")
    seen: list[JobState] = []
    result = client.run(GHZ, shots=100, progress=lambda job: seen.append(job.state))
    assert dict(result.counts) == {"0": 60, "1": 40}
    assert result.job.job_id == job_id
    assert seen == [JobState.QUEUED, JobState.RUNNING, JobState.DONE]
    assert len(gateway.token_forms) == 1
    submitted = gateway.seen[0].body
    assert submitted["program"] == {"format": "openqasm2", "source": GHZ}
    assert len(submitted["idempotency_key"]) >= 32


def test_the_bounds_are_asked_for(gateway: FakeGateway, client: Client) -> None:
    token = client.token()
    [asked] = json.loads(gateway.token_forms[0]["authorization_details"])
    assert asked == {"type": "qpu_experiment", "experiment_id": "exp-1", "max_shots": 1000}
    assert token.granted[0]["max_shots"] == 1000


@pytest.mark.attack("B3")
def test_a_lost_answer_to_a_submission_is_asked_for_with_the_same_key(
    gateway: FakeGateway, client: Client
) -> None:
    serve_job(gateway, "queued")
    gateway.cut("POST", "/v1/jobs")
    client.submit(GHZ)
    first, second = (seen.body for seen in gateway.seen)
    assert first["idempotency_key"] == second["idempotency_key"]
    client.submit(GHZ)
    assert gateway.seen[-1].body["idempotency_key"] != first["idempotency_key"]


def test_opening_a_session_is_not_repeated(gateway: FakeGateway, client: Client) -> None:
    gateway.answer("POST", "/v1/sessions", (201, {"session_id": "s", "experiment_id": "exp-1"}))
    gateway.cut("POST", "/v1/sessions")
    with pytest.raises(Unavailable):
        client.open_session()
    assert gateway.paths() == ["POST /v1/sessions"]


def test_a_revoked_token_is_renewed_once(gateway: FakeGateway, client: Client) -> None:
    gateway.answer("GET", "/v1/backends", (200, {"items": [{"name": "local:aer"}]}))
    client.backends()
    gateway.live.clear()
    assert client.backends()[0]["name"] == "local:aer"
    assert len(gateway.token_forms) == 2


def test_an_unknown_client_is_told_so(gateway: FakeGateway) -> None:
    stranger = Client(gateway.url, "agent-x", Identity.generate("agent-x"), "exp-1")
    with stranger, pytest.raises(Refused) as refusal:
        stranger.backends()
    assert refusal.value.code == "invalid_client"


@pytest.mark.parametrize("state", ["failed", "cancelled", "expired", "revoked"])
def test_a_job_that_ends_badly_raises(gateway: FakeGateway, client: Client, state: str) -> None:
    job_id = serve_job(gateway, "queued", state)
    with pytest.raises(JobEnded, match=state) as ended:
        client.wait(job_id)
    assert ended.value.job.job_id == job_id


def test_waiting_ends_when_its_time_is_over(gateway: FakeGateway, client: Client) -> None:
    job_id = serve_job(gateway, "queued")
    with pytest.raises(WaitExpired):
        client.wait(job_id, timeout_s=0)


@pytest.mark.parametrize("answer", [b"", b"<html>", b"[]", b'{"job_id": 7}', b'{"state":"new"}'])
def test_an_answer_that_cannot_be_read_is_no_answer(
    gateway: FakeGateway, client: Client, answer: bytes
) -> None:
    gateway.answer("POST", "/v1/jobs", (202, answer))
    with pytest.raises(Unavailable, match="cannot be read"):
        client.submit(GHZ)


@pytest.mark.attack("T5")
def test_a_redirect_is_not_followed(gateway: FakeGateway, client: Client) -> None:
    gateway.answer("GET", "/v1/backends", (307, {"location": "/v1/elsewhere"}))
    with pytest.raises(Refused):
        client.backends()
    assert gateway.paths() == ["GET /v1/backends"]


@pytest.mark.parametrize("job_id", ["", "..", "job_x/../../admin", "JOB_" + "0" * 26, "job_\n"])
def test_only_an_id_goes_into_a_path(gateway: FakeGateway, client: Client, job_id: str) -> None:
    with pytest.raises(Malformed):
        client.job(job_id)
    assert not gateway.seen


def test_nobody_there_is_said_after_a_few_tries() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    identity = Identity.generate("agent-a")
    with Client(f"http://127.0.0.1:{port}", "agent-a", identity, "exp-1") as client:
        client._transport._sleep = lambda seconds: None
        with pytest.raises(Unavailable, match="cannot be reached"):
            client.backends()


def test_repr_shows_no_key(client: Client) -> None:
    assert "agent-a" in repr(client)
    assert '"d"' not in repr(client)
    assert "SigningKey" not in repr(client)
