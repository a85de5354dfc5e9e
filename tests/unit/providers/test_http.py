"""Calls to vendors: what one lease's answer leaves behind for the next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cryogate.dev.serving import served
from cryogate.ports.provider import ProviderError
from cryogate.providers.http import VendorHttp, before_the_job, unless_over


@pytest.mark.attack("S1")
async def test_a_login_that_an_answer_sets_does_not_travel_with_the_next_request() -> None:
    seen: list[str] = []

    async def answer(request: Request) -> Response:
        seen.append(request.headers.get("cookie", ""))
        made = JSONResponse({})
        made.set_cookie("session", "of-somebody")
        return made

    with served(Starlette(routes=[Route("/x", answer)])) as url:
        http = VendorHttp(url, setting="test.url")
        await http.call("GET", "/x", headers={"cookie": "mine=1"})
        await http.call("GET", "/x")
        await http.close()
    assert seen == ["mine=1", ""]


async def test_a_job_that_is_over_stays_over() -> None:
    async def refused(status: int) -> None:
        raise ProviderError("no", sent=False, retryable=False, status=status)

    await unless_over(refused(409))
    with pytest.raises(ProviderError):
        await unless_over(refused(404))


@pytest.mark.parametrize("retryable", [True, False])
def test_what_fails_before_the_job_has_made_none(retryable: bool) -> None:
    told = before_the_job(ProviderError("no", sent=True, retryable=retryable, status=503))
    assert (told.sent, told.retryable, told.status) == (False, retryable, 503)


Talk = Callable[[bytes, asyncio.StreamWriter], None]


@asynccontextmanager
async def vendor(talk: Talk, **options: float) -> AsyncIterator[VendorHttp]:
    """A server that does with each request and its connection what ``talk`` does."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                talk(head, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    http = VendorHttp(f"http://127.0.0.1:{port}", setting="test.url", **options)  # type: ignore[arg-type]
    try:
        yield http
    finally:
        await http.close()
        server.close()


def answer(writer: asyncio.StreamWriter, body: bytes = b"{}", *more: str) -> None:
    head = ["HTTP/1.1 200 OK", f"content-length: {len(body)}", *more]
    writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)


@pytest.mark.attack("L3")
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
async def test_a_request_is_sent_once_though_its_connection_breaks(method: str) -> None:
    seen: list[str] = []

    def talk(head: bytes, writer: asyncio.StreamWriter) -> None:
        seen.append(head.split(b" ", 1)[0].decode())
        if len(seen) > 1:  # the connection was good for one answer
            writer.close()
        else:
            answer(writer)

    async with vendor(talk) as http:
        await http.call("GET", "/first")
        with pytest.raises(ProviderError) as failed:
            await http.call(method, "/second")
    assert seen == ["GET", method]
    assert (failed.value.sent, failed.value.retryable) == (True, True)


async def test_what_never_had_a_connection_was_not_sent() -> None:
    async with vendor(lambda head, writer: None) as http:
        nowhere = VendorHttp("http://127.0.0.1:9", setting="test.url")
        with pytest.raises(ProviderError) as failed:
            await nowhere.call("POST", "/jobs")
        await nowhere.close()
        assert not failed.value.sent
        assert http.base_url


async def test_a_url_goes_out_as_it_was_signed() -> None:
    seen: list[bytes] = []

    def talk(head: bytes, writer: asyncio.StreamWriter) -> None:
        seen.append(head.split(b" ")[1])
        answer(writer)

    odd = "/a%2Fb/%7Ec/d+e?x=%20y&z=a%2Bb%3D&t=job%3A1"
    async with vendor(talk) as http:
        await http.call("GET", odd)
        await http.call("GET", "/jobs", params={"next": "a b/+", "limit": 25})
    assert seen == [odd.encode(), b"/jobs?next=a+b%2F%2B&limit=25"]


async def test_an_answer_is_read_up_to_a_limit_and_never_unpacked() -> None:
    def talk(head: bytes, writer: asyncio.StreamWriter) -> None:
        if b"/long" in head:
            answer(writer, b" " * 4096)
        elif b"/packed" in head:
            answer(writer, b"\x1f\x8b", "content-encoding: gzip")
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
            writer.close()

    async with vendor(talk, max_bytes=1024) as http:
        for path, why in (("/long", "long"), ("/packed", "compressed"), ("/cut", "broke off")):
            with pytest.raises(ProviderError, match=why) as failed:
                await http.call("GET", path)
            assert failed.value.sent


async def test_a_vendor_that_stays_silent_is_not_waited_for_for_ever() -> None:
    async with vendor(lambda head, writer: None, timeout_s=0.05) as http:
        with pytest.raises(ProviderError, match="did not answer") as failed:
            await http.call("POST", "/jobs", content=b"x" * (2 << 20))
        assert failed.value.sent


async def test_nothing_is_added_to_what_was_asked_for() -> None:
    seen: list[bytes] = []

    def talk(head: bytes, writer: asyncio.StreamWriter) -> None:
        seen.append(head.lower())
        answer(writer)

    async with vendor(talk) as http:
        found = await http.call("GET", "/x", headers={"authorization": "apiKey k"})
    assert found.headers["content-length"] == "2"
    names = {line.split(b":")[0] for line in seen[0].strip().split(b"\r\n")[1:]}
    assert names == {b"host", b"user-agent", b"accept", b"accept-encoding", b"authorization"}
