"""AuthZEN in both directions: nothing is lost on the way, and only ``true`` is a yes (A3, A4)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from tests.integration.test_opa import bent, comparable, generated
from tests.support.policy import ISSUE, JOB

from cryogate.domain.decisions import Allow, Deny, Obligation, ObligationKind
from cryogate.domain.errors import Malformed
from cryogate.policies import Bundle, RegorusEngine, shipped_bundle
from cryogate.policies.answer import MAX_ANSWER_BYTES, read_decision
from cryogate.policies.authzen import Evaluation, of_decision, of_question, to_question
from cryogate.policies.authzen_engine import AuthzenEngine
from cryogate.policies.regorus import DECISION
from cryogate.server.bodies import parse_json

LOCAL = RegorusEngine(Bundle.load(shipped_bundle()))


def test_every_question_survives_the_way_there_and_back() -> None:
    for number in range(300):
        question = bent(generated(number), number)
        body = json.dumps(of_question(question)).encode()
        assert to_question(parse_json(body, Evaluation)) == question


Answer = Callable[[bytes, dict[str, str]], bytes]


@asynccontextmanager
async def _engine(answer: Answer, token: str = "") -> AsyncIterator[AuthzenEngine]:
    """An engine whose decision point answers the whole HTTP response that ``answer`` gives."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
            fields = (line.split(": ", 1) for line in head[1:] if line)
            headers = {name.lower(): value for name, value in fields}
            headers["request"] = head[0]
            body = await reader.readexactly(int(headers["content-length"]))
            writer.write(answer(body, headers))
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    engine = AuthzenEngine(f"http://127.0.0.1:{port}", LOCAL, 5000, token)
    try:
        yield engine
    finally:
        await engine.close()
        server.close()


def _http(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{headers}connection: close\r\n\r\n"
    return head.encode() + body


def _decided(body: bytes, headers: dict[str, str]) -> bytes:
    """A decision point that is a Cryogate: the same code as behind the endpoint."""
    question = to_question(parse_json(body, Evaluation))
    answer = LOCAL._ask(question, DECISION)  # the event loop is busy with this very call
    told = of_decision(read_decision(answer, LOCAL.digest))
    echo = f"x-request-id: {headers['x-request-id']}\r\n"
    return _http(msgspec.json.encode(told), headers=echo)


async def test_a_cryogate_behind_authzen_decides_as_the_engine_does() -> None:
    async with _engine(_decided) as engine:
        for number in range(60):
            question = generated(number)
            mine, theirs = await LOCAL.decide(question), await engine.decide(question)
            assert comparable(mine) == comparable(theirs), question
            assert theirs.policy_digest == LOCAL.digest
            assert await engine.caps(question) == await LOCAL.caps(question)


async def test_the_request_is_authzen_and_carries_the_token() -> None:
    seen: list[tuple[dict[str, Any], dict[str, str]]] = []

    def answer(body: bytes, headers: dict[str, str]) -> bytes:
        seen.append((json.loads(body), headers))
        return _http(b'{"decision": true}')

    async with _engine(answer, "s3cret") as engine:
        decision = await engine.decide(JOB)
        assert isinstance(decision, Allow)
        assert decision.policy_digest not in ("", LOCAL.digest)
    [(body, headers)] = seen
    assert headers["request"] == "POST /access/v1/evaluation HTTP/1.1"
    assert headers["authorization"] == "Bearer s3cret"
    assert body["subject"]["type"] == "agent"
    assert body["action"] == {"name": "job:submit"}
    assert body["resource"]["id"] == "ghz"


async def test_obligations_that_are_known_are_kept() -> None:
    told = {"decision": True, "context": {"obligations": [{"kind": "approval", "reason": "why"}]}}
    async with _engine(lambda *_: _http(json.dumps(told).encode())) as engine:
        decision = await engine.decide(JOB)
        assert isinstance(decision, Allow)
        assert decision.obligations == (Obligation(ObligationKind.APPROVAL, "why"),)


NO_YES = {
    "false": _http(b'{"decision": false}'),
    "text": _http(b'{"decision": "true"}'),
    "one": _http(b'{"decision": 1}'),
    "null": _http(b'{"decision": null}'),
    "nothing": _http(b"{}"),
    "empty": _http(b""),
    "bare": _http(b"true"),
    "unknown duty": _http(b'{"decision": true, "context": {"obligations": [{"kind": "pray"}]}}'),
    "foreign duty": _http(b'{"decision": true, "context": {"obligations": ["log"]}}'),
    "403": _http(b'{"decision": true}', "403 Forbidden"),
    "201": _http(b'{"decision": true}', "201 Created"),
    "redirect": _http(b"", "302 Found", "location: http://127.0.0.1:1/\r\n"),
    "gzip": _http(b'{"decision": true}', headers="content-encoding: gzip\r\n"),
    "another request": _http(b'{"decision": true}', headers="x-request-id: other\r\n"),
    "huge": _http(b'{"decision": true}' + b" " * MAX_ANSWER_BYTES),
    "twice": b"SSH-2.0-x\r\n",
}


@pytest.mark.attack("A3")
@pytest.mark.parametrize("name", NO_YES)
async def test_only_true_is_a_yes(name: str) -> None:
    async with _engine(lambda *_: NO_YES[name]) as engine:
        assert isinstance(await engine.decide(JOB), Deny)


@pytest.mark.attack("A3")
async def test_no_decision_point_denies_but_caps_are_local() -> None:
    engine = AuthzenEngine("http://127.0.0.1:1", LOCAL, 1000)
    try:
        assert isinstance(await engine.decide(ISSUE), Deny)
        assert await engine.caps(ISSUE) is not None
    finally:
        await engine.close()


@pytest.mark.attack("A4")
@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.update(sudo=True),
        lambda body: body["subject"].update(type="user"),
        lambda body: body["subject"]["properties"].update(id="eve"),
        lambda body: body["subject"]["properties"].update(admin=True),
        lambda body: body["resource"]["properties"].update(id="other"),
        lambda body: body["action"].update(name="job:delete"),
        lambda body: body["context"].update(shots="10"),
        lambda body: body["context"].update(shots=2**53),
        lambda body: body["context"].update(shots=True),
        lambda body: body["resource"].update(type="catalogue"),
    ],
)
def test_what_is_no_strict_request_is_refused(change: Callable[[Any], None]) -> None:
    body = of_question(JOB)
    change(body)
    with pytest.raises(Malformed):
        to_question(parse_json(json.dumps(body).encode(), Evaluation))
