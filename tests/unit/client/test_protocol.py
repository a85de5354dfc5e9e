"""The protocol core, driven by hand: no socket, no clock, no chance."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import pytest

from cryogate.client.errors import Refused, Unavailable
from cryogate.client.messages import Call, Lost, Pause, Reply, Send
from cryogate.client.protocol import ATTEMPTS, Session

JSON = {"content-type": "application/json"}
PROBLEM = {"content-type": "application/problem+json"}


@dataclass
class Numbered:
    """A prover whose proofs say what they are for, each another."""

    client_id: str = "agent-a"
    made: int = 0

    def grant(self, audience: str, now_ms: int) -> dict[str, str]:
        self.made += 1
        grant = {"grant_type": "client_credentials"}
        return {**grant, "client_assertion": f"assertion {self.made} for {audience}"}

    def proof(
        self, method: str, url: str, now_ms: int, token: str | None, nonce: str | None
    ) -> str:
        self.made += 1
        return json.dumps([self.made, method, url, token, nonce])


@dataclass
class World:
    """Time stands still unless a test moves it."""

    now_ms: int = 1_000_000
    session: Session = field(init=False)
    sent: list[Send] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    tokens: int = 0

    def __post_init__(self) -> None:
        wanted = {"authorization_details": "[]"}
        self.session = Session(
            "https://gate.example", Numbered(), wanted, lambda: self.now_ms, lambda: 0.5
        )

    def token(self, send: Send) -> Reply:
        self.tokens += 1
        body = {"access_token": f"T{self.tokens}", "token_type": "DPoP", "expires_in": 300}
        return Reply(200, JSON, json.dumps(body).encode())

    def run(self, call: Call, answer: Callable[[Send], Reply | Lost]) -> Reply:
        conversation = self.session.converse(call)
        found: Reply | Lost | None = None
        while True:
            try:
                step = conversation.send(found)
            except StopIteration as end:
                reply: Reply = end.value
                return reply
            found = None
            if isinstance(step, Pause):
                self.pauses.append(step.seconds)
                continue
            self.sent.append(step)
            found = self.token(step) if step.url.endswith("/oauth2/token") else answer(step)

    def api(self) -> list[Send]:
        return [send for send in self.sent if not send.url.endswith("/oauth2/token")]


def ok(send: Send) -> Reply:
    return Reply(200, JSON, b"{}")


def unauthorized(send: Send) -> Reply:
    return Reply(401, PROBLEM, b'{"type":"x/expired_token","detail":"over"}')


def test_the_token_comes_first_and_every_request_proves_it() -> None:
    world = World()
    world.run(Call("GET", "/v1/jobs?limit=1"), ok)
    first, second = world.sent
    form = dict(parse_qsl((first.content or b"").decode()))
    assert form["grant_type"] == "client_credentials"
    assert form["client_assertion"].endswith("for https://gate.example")
    assert "Authorization" not in first.headers
    assert second.headers["Authorization"] == "DPoP T1"
    # htu is without the query
    assert json.loads(second.headers["DPoP"])[1:] == [
        "GET",
        "https://gate.example/v1/jobs",
        "T1",
        None,
    ]


def test_a_token_is_used_until_shortly_before_its_end() -> None:
    world = World()
    world.run(Call("GET", "/v1/jobs"), ok)
    world.now_ms += 269_000
    world.run(Call("GET", "/v1/jobs"), ok)
    assert world.tokens == 1
    world.now_ms += 1_000
    world.run(Call("GET", "/v1/jobs"), ok)
    assert world.tokens == 2


def test_a_refused_token_is_renewed_once_and_only_once() -> None:
    world = World()
    with pytest.raises(Refused) as refusal:
        world.run(Call("GET", "/v1/jobs"), unauthorized)
    assert refusal.value.code == "expired_token"
    assert world.tokens == 2
    assert len(world.api()) == 2


def test_renewal_saves_the_call() -> None:
    world = World()
    answer = lambda send: ok(send) if world.tokens > 1 else unauthorized(send)  # noqa: E731
    reply = world.run(Call("GET", "/v1/jobs"), answer)
    assert reply.status == 200


def asks_for_nonce(send: Send) -> Reply:
    if json.loads(send.headers["DPoP"])[4] == "n1":
        return ok(send)
    headers = {**PROBLEM, "dpop-nonce": "n1", "www-authenticate": 'DPoP error="use_dpop_nonce"'}
    return Reply(401, headers, b"{}")


def test_a_nonce_is_answered_with_the_same_token() -> None:
    world = World()
    assert world.run(Call("GET", "/v1/jobs"), asks_for_nonce).status == 200
    assert world.tokens == 1
    assert len(world.api()) == 2
    world.run(Call("GET", "/v1/jobs"), asks_for_nonce)
    assert len(world.api()) == 3  # the nonce is kept


def test_a_server_that_always_wants_another_nonce_is_not_followed_for_ever() -> None:
    world = World()

    def never(send: Send) -> Reply:
        headers = {"dpop-nonce": "n", "www-authenticate": 'DPoP error="use_dpop_nonce"'}
        return Reply(401, headers, b"")

    with pytest.raises(Refused):
        world.run(Call("GET", "/v1/jobs"), never)
    assert len(world.api()) <= 4


def test_the_token_endpoint_may_ask_for_a_nonce_as_well() -> None:
    world = World()

    def demanding(send: Send) -> Reply:
        if json.loads(send.headers["DPoP"])[4] != "as-1":
            body = b'{"error":"use_dpop_nonce"}'
            return Reply(400, {**JSON, "dpop-nonce": "as-1"}, body)
        return World.token(world, send)

    world.token = demanding  # type: ignore[method-assign]
    assert world.run(Call("GET", "/v1/jobs"), ok).status == 200
    # the nonce of one endpoint is not sent to the other
    assert json.loads(world.api()[0].headers["DPoP"])[4] is None


def test_a_lost_answer_is_asked_for_again_with_a_fresh_proof_and_not_for_ever() -> None:
    world = World()
    with pytest.raises(Unavailable):
        world.run(Call("GET", "/v1/jobs"), lambda s: Lost("reset", sent=True))
    proofs = [send.headers["DPoP"] for send in world.api()]
    assert len(proofs) == ATTEMPTS
    assert len(set(proofs)) == ATTEMPTS
    assert world.pauses == [0.2, 0.4, 0.8]


def test_what_must_not_happen_twice_is_not_sent_twice() -> None:
    world = World()
    call = Call("POST", "/v1/sessions", {}, repeatable=False)
    with pytest.raises(Unavailable, match="look before you ask again"):
        world.run(call, lambda s: Lost("reset", sent=True))
    assert len(world.api()) == 1


def test_what_was_never_sent_may_be_sent_again() -> None:
    world = World()
    call = Call("POST", "/v1/sessions", {}, repeatable=False)
    found: list[Reply | Lost] = [Lost("refused", sent=False), Reply(200, JSON, b"{}")]
    answers = iter(found)
    assert world.run(call, lambda s: next(answers)).status == 200


@pytest.mark.attack("T5")
def test_a_token_that_is_not_bound_is_not_used() -> None:
    world = World()
    body = b'{"access_token":"B","token_type":"Bearer","expires_in":300}'
    world.token = lambda send: Reply(200, JSON, body)  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="not sender-bound"):
        world.run(Call("GET", "/v1/jobs"), ok)
    assert not world.api()


@pytest.mark.attack("S1")
def test_an_echoed_token_does_not_reach_the_error_text() -> None:
    world = World()
    violation = {"limit": "T1", "allowed": "T1", "actual": ["T1"], "hint": "use T1"}
    problem = {"type": "x/y", "title": "T1", "detail": "bad T1", "violations": [violation]}
    body = json.dumps(problem).encode()
    with pytest.raises(Refused) as refusal:
        world.run(Call("GET", "/v1/jobs"), lambda s: Reply(403, PROBLEM, body))
    error = refusal.value
    assert "T1" not in f"{error} {error.title} {error.detail} {error.violations} {error!r}"


def test_nothing_shown_of_a_message_holds_a_secret() -> None:
    world = World()
    world.run(Call("GET", "/v1/jobs"), ok)
    shown = f"{world.sent!r} {world.session.token!r}"
    assert "T1" not in shown
    assert "assertion" not in shown


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind", "code"),
    [
        (503, PROBLEM, b'{"detail":"later"}', Unavailable, None),
        (500, {}, b"<html>", Unavailable, None),
        (403, PROBLEM, b'{"type":"https://x/problems/budget"}', Refused, "budget"),
        (403, PROBLEM, b"[[[[", Refused, "http_403"),
        (403, PROBLEM, b"[" * 100_000, Refused, "http_403"),
        (404, {"content-type": "text/html"}, b"<html>", Refused, "http_404"),
        (302, {"location": "https://evil.example/"}, b"", Refused, "http_302"),
        (400, JSON, b'{"error":"invalid_request","error_description":"no"}', Refused,
         "invalid_request"),
        (403, PROBLEM, b'{"violations":[{"limit":1}]}', Refused, "http_403"),
    ],
)  # fmt: skip
def test_answers_that_are_not_a_success(
    status: int, headers: dict[str, str], body: bytes, kind: type[Exception], code: str | None
) -> None:
    with pytest.raises(kind) as found:
        World().run(Call("GET", "/v1/jobs"), lambda s: Reply(status, headers, body))
    assert getattr(found.value, "code", None) == code


def test_every_violation_arrives() -> None:
    body = json.dumps({"type": "x/not_allowed", "violations": [
        {"limit": "max_shots", "allowed": 10, "actual": 20, "hint": "ask for 10"},
        {"limit": "allowed_backends", "allowed": ["local:aer"], "actual": "ibm:x", "hint": ""},
    ]}).encode()  # fmt: skip
    with pytest.raises(Refused) as refusal:
        World().run(Call("POST", "/v1/jobs", {}), lambda s: Reply(403, PROBLEM, body))
    first, second = refusal.value.violations
    assert (first.limit, first.allowed, first.actual) == ("max_shots", 10, 20)
    assert second.allowed == ("local:aer",)
