"""An engine that is down, slow, undefined, not boolean, huge or garbled gives a no (A3)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from tests.support.policy import ISSUE, JOB

from cryogate.domain.decisions import Allow, Deny
from cryogate.policies import Bundle, OpaEngine, RegorusEngine, shipped_bundle
from cryogate.policies.answer import MAX_ANSWER_BYTES, MalformedAnswer, read_decision

HELD = b'"provenance":{"bundles":{"b":{"revision":"1"}}}'  # what a server with our bundle adds
YES = b'{"allow":true,"reasons":[],"obligations":[],"violations":[]}'

BAD_ANSWERS = {
    "undefined_in_regorus": b'"<undefined>"',
    "true_alone": b"true",
    "null": b"null",
    "empty": b"",
    "not_json": b"<html>",
    "not_boolean": YES.replace(b"true", b'"true"'),
    "one": YES.replace(b"true", b"1"),
    "missing_field": b'{"allow":true}',
    "unknown_field": YES.replace(b"{", b'{"sudo":true,', 1),
    "unknown_obligation": YES.replace(
        b'"obligations":[]', b'"obligations":[{"kind":"pray","reason":""}]'
    ),
    "yes_with_violations": YES.replace(
        b'"violations":[]',
        b'"violations":[{"limit":"a","allowed":1,"actual":2,"hint":""}]',
    ),
    "deep": b"[" * 100_000,
    "invalid_utf8": YES.replace(b'"reasons":[]', b'"reasons":["\xff"]'),
    "huge": YES + b" " * MAX_ANSWER_BYTES,
}


def test_the_yes_that_the_bad_answers_are_bent_from_is_a_yes() -> None:
    assert isinstance(read_decision(YES, "d"), Allow)


@pytest.mark.attack("A3")
@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_what_is_no_decision_is_refused(name: str) -> None:
    with pytest.raises(MalformedAnswer):
        read_decision(BAD_ANSWERS[name], "d")


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], "asyncio.Future[None]"]


def _http(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{headers}connection: close\r\n\r\n"
    return head.encode() + body


@asynccontextmanager
async def _engine(reply: bytes | None, timeout_ms: int = 5000) -> AsyncIterator[OpaEngine]:
    """An OPA engine on a real socket that answers ``reply``; None: it drips bytes for ever."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        try:
            if reply is None:
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
                while True:
                    writer.write(b" ")
                    await writer.drain()
                    await asyncio.sleep(0.01)
            writer.write(reply)
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    engine = OpaEngine(f"http://127.0.0.1:{port}", Bundle.load(shipped_bundle()), timeout_ms)
    try:
        yield engine
    finally:
        await engine.close()
        server.close()


async def test_a_well_formed_yes_over_http_is_a_yes() -> None:
    async with _engine(_http(b'{"result":' + YES + b"," + HELD + b"}")) as engine:
        assert isinstance(await engine.decide(JOB), Allow)


@pytest.mark.attack("A3")
@pytest.mark.parametrize(
    "reply",
    [
        _http(b"{" + HELD + b"}"),
        _http(b'{"result":null,' + HELD + b"}"),
        _http(b'{"result":true,' + HELD + b"}"),
        _http(b'{"result":' + YES + b"}"),
        _http(b'{"result":' + YES + b',"provenance":{}}'),
        _http(b'{"result":' + YES + b"," + HELD.replace(b'"1"', b'"2"') + b"}"),
        _http(b"\x00\xff garbage"),
        _http(b'{"result":' + YES + b"," + HELD + b"}", "500 Internal Server Error"),
        _http(b'{"result":' + YES + b"," + HELD + b"}", "201 Created"),
        _http(b"", "302 Found", "location: http://127.0.0.1:1/\r\n"),
        _http(b'{"result":' + YES + b"," + HELD + b" " * (MAX_ANSWER_BYTES + 1) + b"}"),
        _http(b'{"result":' + YES + b"," + HELD + b"}", headers="content-encoding: gzip\r\n"),
        b"",
        b"SSH-2.0-x\r\n",
    ],
    ids=lambda reply: repr(reply[:24]),
)
async def test_a_server_that_speaks_garbage_denies(reply: bytes) -> None:
    async with _engine(reply) as engine:
        assert isinstance(await engine.decide(JOB), Deny)
        assert await engine.caps(ISSUE) is None


@pytest.mark.attack("A3")
async def test_a_server_that_drips_bytes_is_left_in_time() -> None:
    async with _engine(None, timeout_ms=100) as engine, asyncio.timeout(30):
        assert isinstance(await engine.decide(JOB), Deny)


@pytest.mark.attack("A3")
async def test_no_server_denies() -> None:
    engine = OpaEngine("http://127.0.0.1:1", Bundle.load(shipped_bundle()), 1000)
    try:
        assert isinstance(await engine.decide(JOB), Deny)
    finally:
        await engine.close()


def _with_policy(text: str) -> RegorusEngine:
    shipped = Bundle.load(shipped_bundle())
    return RegorusEngine(Bundle((("a.rego", text),), shipped.data, "d"))


@pytest.mark.attack("A3")
@pytest.mark.parametrize(
    "rules",
    [
        "x := 1",
        "decision := true",
        'decision := "allow"',
        "decision if false",
        'decision := {"allow": true}',
        "decision := 1 / 0",
        'decision := x if {\n x := http.send({"method": "get", "url": "http://127.0.0.1:1"})\n}',
    ],
)
async def test_rules_without_a_decision_deny(rules: str) -> None:
    engine = _with_policy(f"package cryogate\n\nimport rego.v1\n\n{rules}\n")
    assert isinstance(await engine.decide(JOB), Deny)
    assert await engine.caps(ISSUE) is None


async def test_every_thread_has_its_own_engine() -> None:
    engine = RegorusEngine(Bundle.load(shipped_bundle()))
    seen: list[object] = [await engine.decide(JOB)]

    def other() -> None:
        seen.append(asyncio.run(engine.decide(JOB)))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert len(seen) == 2
    assert seen[0] == seen[1]
    assert isinstance(seen[0], Allow)
