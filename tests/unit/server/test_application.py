"""What becomes of an exception: a problem document once, and never after a response has begun."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message

from cryogate.domain.errors import Forbidden, Unavailable
from cryogate.server.application import Application


async def fine(request: Request) -> Response:
    return PlainTextResponse("fine")


async def refused(request: Request) -> Response:
    raise Forbidden("not_yours", "ask its owner")


async def away(request: Request) -> Response:
    raise Unavailable("db1.internal does not answer")


async def broken(request: Request) -> Response:
    raise RuntimeError("a secret")


async def broken_off(request: Request) -> Response:
    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        raise Forbidden("late", "too late for another answer")

    return StreamingResponse(body())


LIVES: list[str] = []


@asynccontextmanager
async def lifespan(app: Application) -> AsyncIterator[None]:
    LIVES.append("begun")
    yield
    LIVES.append("ended")


APP = Application(
    [
        Route(f"/{handler.__name__}", handler)
        for handler in (fine, refused, away, broken, broken_off)
    ],
    lifespan,
)


async def ask(path: str, method: str = "GET") -> list[Message]:
    sent: list[Message] = []
    asked = False

    async def receive() -> Message:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()  # a client that stays
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "headers": [],
        "query_string": b"", "root_path": "", "scheme": "http", "server": ("localhost", 80),
    }  # fmt: skip
    try:
        await APP(scope, receive, send)
    except Exception as error:
        sent.append({"type": "raised", "error": error})
    return sent


@pytest.mark.parametrize(
    ("path", "method", "status", "code"),
    [
        ("/refused", "GET", 403, "not_yours"),
        ("/away", "GET", 503, "unavailable"),
        ("/nothing", "GET", 404, "no_such_path"),
        ("/fine", "PUT", 405, "method_not_allowed"),
    ],
)
async def test_what_is_expected_is_answered(path: str, method: str, status: int, code: str) -> None:
    start, body = await ask(path, method)
    assert start["status"] == status
    assert json.loads(body["body"])["code"] == code
    assert b"db1" not in body["body"]


async def test_what_nobody_expected_tells_nothing_and_is_raised() -> None:
    start, body, raised = await ask("/broken")
    assert start["status"] == 500
    assert b"a secret" not in body["body"]
    assert isinstance(raised["error"], RuntimeError)


async def test_a_response_that_has_begun_is_not_answered_again() -> None:
    start, body, raised = await ask("/broken_off")
    assert (start["status"], body["body"]) == (200, b"first")
    assert isinstance(raised["error"], Forbidden)


async def test_its_life_begins_before_the_first_request_and_ends_after_the_last() -> None:
    asked = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    told: list[str] = []

    async def receive() -> Message:
        return next(asked)

    async def send(message: Message) -> None:
        told.append(message["type"])

    await APP({"type": "lifespan", "state": {}}, receive, send)
    assert told == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert LIVES == ["begun", "ended"]
