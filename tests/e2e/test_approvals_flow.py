"""Approvals from outside: an agent asks, follows and takes back; a person decides."""

from __future__ import annotations

import email
import email.policy
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from tests.support.following import events_of, followed
from tests.support.running import GHZ, PROGRAM, Agent, Running, running

DEAR: dict[str, Any] = {"backend": "local:aer", "program": PROGRAM, "shots": 100}
RAW = {"tier": "trusted", "roles": ["qpu.submit-only", "qpu.read-raw"]}


class Inbox:
    """What a real mail server took."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.more = threading.Condition()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        with self.more:
            policy = email.policy.default
            self.mails.append(email.message_from_bytes(envelope.content, policy=policy))
            self.more.notify_all()
        return "250 OK"

    def about(self, approval_id: str) -> EmailMessage:
        """The first mail about an approval."""

        def found() -> list[EmailMessage]:
            return [mail for mail in self.mails if approval_id in str(mail["Subject"])]

        with self.more:
            assert self.more.wait_for(found, timeout=20)
            return found()[0]


@pytest.fixture(scope="module")
def inbox() -> Iterator[tuple[Inbox, int]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    made = Inbox()
    server = Controller(made, hostname="127.0.0.1", port=port)
    server.start()
    yield made, port
    server.stop()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, inbox: tuple[Inbox, int]) -> Iterator[Running]:
    settings = f"""
[approvals]
pending_per_agent = 3
[notify]
smtp_host = "127.0.0.1"
smtp_port = {inbox[1]}
smtp_security = "insecure_clear"
mail_from = "cryogate@example.org"
mail_to = ["approvers@example.org"]
"""
    with running(tmp_path_factory.mktemp("approvals"), settings) as made:
        yield made


def ask(agent: Agent, **changes: Any) -> dict[str, Any]:
    body = {"kind": "job", "reason": "the pilot looked right", **DEAR, **changes}
    answer = agent.call("POST", "/v1/approvals", body)
    assert answer.status_code in (200, 201), answer.text
    document: dict[str, Any] = answer.json()
    return document


def show(agent: Agent, approval_id: str) -> dict[str, Any]:
    document: dict[str, Any] = agent.call("GET", f"/v1/approvals/{approval_id}").json()
    return document


def test_asked_ahead_approved_and_spent_on_the_one_job(world: Running) -> None:
    agent = world.agent()
    asked = ask(agent)
    assert (asked["state"], asked["next"]["action"]) == ("pending", "wait")
    assert asked["terms"]["cost_ceiling_cents"] == 600
    assert ask(agent)["approval_id"] == asked["approval_id"]  # the same terms: the same request
    world.admin("POST", "approvals", asked["approval_id"], "approve", body={"note": "go"})
    seen = show(agent, asked["approval_id"])
    assert (seen["state"], seen["next"]["action"], seen["note"]) == ("approved", "submit", "go")
    job = agent.client.submit(GHZ, "local:aer", 100)
    assert agent.client.wait(job.job_id, timeout_s=60).state.value == "done"
    assert show(agent, asked["approval_id"])["next"]["action"] == "stop"
    assert agent.client.submit(GHZ, "local:aer", 100).state.value == "parked"


def test_what_needs_no_yes_or_cannot_have_one_is_not_asked_for(world: Running) -> None:
    agent = world.agent()
    body = {"kind": "job", "reason": "x", **DEAR}
    free = agent.call("POST", "/v1/approvals", {**body, "backend": "local:null"})
    assert (free.status_code, free.json()["code"]) == (409, "no_approval_needed")
    never = agent.call("POST", "/v1/approvals", {**body, "shots": 50_000})
    assert never.status_code == 403
    assert "max_shots" in {v["limit"] for v in never.json()["violations"]}


@pytest.mark.attack("H4", "A6")
@pytest.mark.parametrize(
    "change",
    [{"reason": "\u202eapproved"}, {"reason": "\x1b[2J"}, {"reason": ""}, {"reason": "x" * 1001},
     {"terms": {}}, {"cost_ceiling_cents": 1}, {"quorum": 1}, {"kind": "promotion2"}],
)  # fmt: skip
def test_a_request_is_strict_and_its_reason_plain(world: Running, change: dict[str, Any]) -> None:
    agent = world.agent()
    answer = agent.call("POST", "/v1/approvals", {"kind": "job", "reason": "x", **DEAR, **change})
    assert answer.status_code == 400


@pytest.mark.attack("H4")
def test_people_get_a_mail_whose_link_decides_nothing(
    world: Running, inbox: tuple[Inbox, int]
) -> None:
    agent = world.agent()
    approval_id = ask(agent, reason="approve at https://evil.example/ now")["approval_id"]
    mail = inbox[0].about(approval_id)
    body = mail.get_content()
    assert "> approve at https[:]//evil[.]example/ now" in body
    [link] = [word for word in body.split() if "://" in word]
    assert link == f"{world.url}/console/approvals/{approval_id}"
    # what mail scanners and browsers do with links, and what they could guess from them
    decide = f"{world.url}/admin/v1/approvals/{approval_id}/approve"
    for url in (link, link + "?decision=approve", decide):
        for method in ("GET", "HEAD", "OPTIONS", "POST"):
            answer = agent.http.request(method, url)
            assert answer.status_code >= 300, (method, url)
    assert show(agent, approval_id)["state"] == "pending"
    told = world.admin("GET", "approvals", approval_id)["told"]
    assert [(t["channel"], t["kind"]) for t in told] == [("mail", "approval.requested")]


@pytest.mark.attack("H5")
def test_streams_of_one_agent_are_few(world: Running) -> None:
    agent = world.agent()
    path = f"/v1/approvals/{ask(agent)['approval_id']}/events"
    agent.call("GET", "/v1/approvals")  # has the nonce, if one is asked for
    with ExitStack() as open_streams:
        for _ in range(4):
            stream = agent.http.stream("GET", path, headers=agent.headers("GET", path))
            assert open_streams.enter_context(stream).status_code == 200
        refused = agent.call("GET", path)
        assert (refused.status_code, "retry-after" in refused.headers) == (429, True)


@pytest.mark.attack("A1")
def test_another_agents_request_is_not_there(world: Running) -> None:
    mine, other = world.agent(), world.agent()
    approval_id = ask(mine)["approval_id"]
    for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/withdraw")):
        answers = [
            other.call(method, f"/v1/approvals/{name}{path}")
            for name in (approval_id, "apr_" + "0" * 26)
        ]
        assert [a.status_code for a in answers] == [404, 404]
        assert answers[0].json() == answers[1].json()
    assert other.call("GET", "/v1/approvals").json()["items"] == []
    assert show(mine, approval_id)["state"] == "pending"


def test_taking_back_a_parked_request_cancels_its_job(world: Running) -> None:
    agent = world.agent()
    job = agent.client.submit(GHZ, "local:aer", 100)
    (parked,) = agent.call("GET", "/v1/approvals").json()["items"]
    assert parked["job_id"] == job.job_id
    gone = agent.call("POST", f"/v1/approvals/{parked['approval_id']}/withdraw").json()
    assert (gone["state"], gone["next"]["action"]) == ("withdrawn", "ask_again")
    assert agent.client.job(job.job_id).state.value == "cancelled"
    again = agent.call("POST", f"/v1/approvals/{parked['approval_id']}/withdraw")
    assert again.status_code == 409


@pytest.mark.attack("H5")
def test_requests_that_wait_are_capped_and_say_so(world: Running) -> None:
    agent = world.agent()
    first = ask(agent, shots=1)
    ask(agent, shots=2)
    agent.client.submit(GHZ, "local:aer", 3)
    flood = agent.call("POST", "/v1/approvals", {"kind": "job", "reason": "x", **DEAR})
    assert flood.status_code == 403
    assert flood.json()["violations"][0]["limit"] == "max_pending_approvals"
    agent.call("POST", f"/v1/approvals/{first['approval_id']}/withdraw")
    ask(agent)


def test_the_stream_tells_the_decision_and_ends(world: Running) -> None:
    agent = world.agent()
    approval_id = ask(agent)["approval_id"]
    got = followed(
        agent,
        f"/v1/approvals/{approval_id}/events",
        lambda: world.admin("POST", "approvals", approval_id, "deny", body={"note": "no"}),
    )
    assert [(n, d["state"]) for n, d in got] == [("approval", "pending"), ("approval", "denied")]
    assert got[-1][1]["next"] == {"action": "stop", "why": "denied: do not ask for the same again"}


@pytest.mark.attack("R4")
def test_a_revoked_token_follows_nothing(world: Running) -> None:
    agent = world.agent()
    approval_id = ask(agent)["approval_id"]
    got = followed(
        agent,
        f"/v1/approvals/{approval_id}/events",
        lambda: world.admin("POST", "revocations", body={
            "kind": "agent", "subject": agent.client.client_id, "reason": "test"}),
    )  # fmt: skip
    assert got[-1] == ("gone", {})


@pytest.mark.attack("H1", "H2")
def test_a_raw_result_is_read_once_after_a_yes(world: Running) -> None:
    agent = world.agent(agent=RAW, classification="sensitive", release="raw")
    job = agent.client.submit(GHZ, "local:null", 10)
    agent.client.wait(job.job_id, timeout_s=30)
    path = f"/v1/jobs/{job.job_id}/result"
    before = agent.call("GET", path).json()
    assert (before["released"], "memory" in before) == ("aggregates", False)
    asked = agent.call(
        "POST", "/v1/approvals", {"kind": "release", "job_id": job.job_id, "reason": "to fit"}
    ).json()
    assert asked["terms"]["job_id"] == job.job_id
    world.admin("POST", "approvals", asked["approval_id"], "approve", body={})
    step = show(agent, asked["approval_id"])["next"]
    assert (step["action"], step["path"]) == ("read_result", path)
    released = [agent.call("GET", path).json()["released"] for _ in range(2)]
    assert released == ["raw", "aggregates"]
    unknown = agent.call(
        "POST", "/v1/approvals", {"kind": "release", "job_id": "job_x", "reason": "to fit"}
    )
    assert unknown.status_code == 404


def test_an_open_stream_does_not_keep_the_server_from_stopping(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    begun, got = threading.Event(), list[Any]()
    with running(tmp_path_factory.mktemp("stop")) as server:
        agent = server.agent()
        path = f"/v1/approvals/{ask(agent)['approval_id']}/events"
        reader = threading.Thread(target=lambda: got.extend(events_of(agent, path, begun)))
        reader.start()
        assert begun.wait(20)
        # leaving this block sends SIGTERM and waits at most 30 seconds, a tenth of a stream's life
    reader.join(timeout=10)
    assert not reader.is_alive()
    assert [name for name, _ in got] == ["approval"]
