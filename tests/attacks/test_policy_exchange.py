"""An answer is of the question that was asked, or it is none (A3)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from cryogate.policies.answer import MAX_ANSWER_BYTES, MalformedAnswer
from cryogate.policies.exchange import Exchange


def answer(body: bytes, headers: str = "") -> bytes:
    return f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"


@asynccontextmanager
async def server(*connections: Sequence[bytes | None]) -> AsyncIterator[tuple[Exchange, list[int]]]:
    """A server whose n-th connection answers its k-th request with ``connections[n][k]``, and is
    closed after its last one; None: it never answers. The list counts each one's requests."""
    served: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(served)
        served.append(0)
        try:
            for told in connections[number]:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                served[number] += 1
                if told is None:
                    await reader.read()  # until the client goes
                    return
                writer.write(told)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    exchange = Exchange(f"http://127.0.0.1:{port}", 10_000)
    try:
        yield exchange, served
    finally:
        await exchange.close()
        listening.close()


async def test_a_connection_is_kept_for_the_next_question() -> None:
    async with server([answer(b"1"), CHUNKED, answer(b"3")]) as (exchange, served):
        assert [(await exchange.post("/", b"{}"))[0] for _ in range(3)] == [b"1", b"abcd", b"3"]
        assert served == [3]


async def test_a_connection_that_was_closed_meanwhile_is_replaced() -> None:
    async with server([answer(b"1")], [answer(b"2")]) as (exchange, served):
        assert (await exchange.post("/", b"{}"))[0] == b"1"
        assert (await exchange.post("/", b"{}"))[0] == b"2"
        assert served == [1, 1]


@pytest.mark.attack("A3")
async def test_a_second_answer_behind_the_first_is_never_the_next_questions() -> None:
    smuggled = answer(b"no") + answer(b"yes")
    async with server([smuggled, answer(b"yes")], [answer(b"2")]) as (exchange, served):
        assert (await exchange.post("/", b"{}"))[0] == b"no"
        assert (await exchange.post("/", b"{}"))[0] == b"2"
        assert served == [1, 1]


@pytest.mark.attack("A3")
async def test_a_question_that_was_given_up_leaves_no_answer_behind() -> None:
    async with server([answer(b"1"), None], [answer(b"2")]) as (exchange, served):
        assert (await exchange.post("/", b"{}"))[0] == b"1"
        given_up = asyncio.create_task(exchange.post("/", b"{}"))
        async with asyncio.timeout(10):
            while served != [2]:
                await asyncio.wait([given_up], timeout=0.005)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        assert (await exchange.post("/", b"{}"))[0] == b"2"


BROKEN = {
    "status": b"HTTP/1.1 500 Oh\r\ncontent-length: 1\r\n\r\n1",
    "continue": b"HTTP/1.1 100 Continue\r\n\r\n",
    "no http": b"SSH-2.0-x\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n11",
    "length and chunks": CHUNKED.replace(b"\r\n\r\n", b"\r\ncontent-length: 4\r\n\r\n", 1),
    "short": b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n1",
    "until the end": b"HTTP/1.1 200 OK\r\n\r\n{}",
    "upgrade": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    "endless header": b"HTTP/1.1 200 OK\r\nx: " + b"a" * (MAX_ANSWER_BYTES + (64 << 10)),
    "huge": answer(b" " * (MAX_ANSWER_BYTES + 1)),
    "coded": answer(b"1", "content-encoding: gzip\r\n"),
    "nothing": b"",
}


UNFINISHED = {"continue", "short", "until the end", "endless header", "nothing"}


@pytest.mark.attack("A3")
@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_answer_is_none_and_its_connection_is_not_used_again(name: str) -> None:
    first = [BROKEN[name]] if name in UNFINISHED else [BROKEN[name], answer(b"yes")]
    async with server(first, [answer(b"2")]) as (exchange, served):
        with pytest.raises((MalformedAnswer, OSError)):
            await exchange.post("/", b"{}")
        assert (await exchange.post("/", b"{}"))[0] == b"2"
        assert len(served) == 2
