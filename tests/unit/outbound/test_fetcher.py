"""The guarded fetcher against a real TLS server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.fakes.issuer import FakeIssuer, fake_issuer

from cryogate.outbound.addresses import networks
from cryogate.outbound.errors import BlockedAddress, FetchFailed, UnsafeUrl
from cryogate.outbound.fetcher import Fetcher

LOOPBACK = networks(["127.0.0.0/8", "::1/128"])


@pytest.fixture
async def issuer(tmp_path: Path) -> AsyncIterator[FakeIssuer]:
    async with fake_issuer(tmp_path) as made:
        yield made


@pytest.fixture
async def fetcher(issuer: FakeIssuer) -> AsyncIterator[Fetcher]:
    async with Fetcher(
        allowed=LOOPBACK, ca_file=issuer.ca_file, timeout_s=5, max_bytes=4096, resolve=_v4
    ) as made:
        yield made


async def _v4(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


async def test_a_page_is_fetched_over_verified_tls(issuer: FakeIssuer, fetcher: Fetcher) -> None:
    assert b"keys" in (await fetcher.get(issuer.url + "/keys")).body


@pytest.mark.attack("P4")
async def test_the_certificate_must_be_for_the_name_not_the_address(
    issuer: FakeIssuer, fetcher: Fetcher
) -> None:
    port = urlsplit(issuer.url).port
    with pytest.raises(FetchFailed):
        await fetcher.get(f"https://other.example:{port}/keys")
    assert issuer.hits == []


@pytest.mark.attack("P4")
@pytest.mark.parametrize(
    "found", [["127.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["169.254.169.254"], ["::1"]]
)
async def test_one_address_inside_spoils_the_name(issuer: FakeIssuer, found: list[str]) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return found

    async with Fetcher(ca_file=issuer.ca_file, resolve=resolve) as made:
        with pytest.raises(BlockedAddress):
            await made.get(issuer.url + "/keys")
    assert issuer.hits == []


@pytest.mark.attack("P4")
async def test_the_name_is_resolved_once_so_it_cannot_be_rebound(issuer: FakeIssuer) -> None:
    asked = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    async with Fetcher(allowed=LOOPBACK, ca_file=issuer.ca_file, resolve=resolve) as made:
        await made.get(issuer.url + "/keys")
    assert asked == ["localhost"]


@pytest.mark.attack("P4")
@pytest.mark.parametrize(
    "url",
    ["http://a.example/", "ftp://a.example/", "file:///etc/passwd", "https://u:p@a.example/",
     "https://a.example/#x", "https://", "https://a.example/\n", "https://a.example\\@b.example/",
     "https://a.example:99999/", "https://a.example/" + "x" * 2100, "gopher://a.example/"],
)  # fmt: skip
async def test_urls_that_are_never_fetched(fetcher: Fetcher, url: str) -> None:
    with pytest.raises(UnsafeUrl):
        fetcher.check(url)
    with pytest.raises(UnsafeUrl):
        await fetcher.get(url)


@pytest.mark.attack("P4")
@pytest.mark.parametrize(
    "url",
    ["https://127.0.0.1/", "https://2130706433/", "https://0x7f000001/", "https://[::1]/",
     "https://[::ffff:127.0.0.1]/", "https://localhost/"],
)  # fmt: skip
async def test_spellings_of_this_machine_are_blocked(url: str) -> None:
    async with Fetcher() as made:
        with pytest.raises(FetchFailed):
            await made.get(url)


@pytest.mark.attack("P4")
async def test_redirects_are_not_followed(issuer: FakeIssuer, fetcher: Fetcher) -> None:
    issuer.pages["/keys"] = lambda: (302, {"location": issuer.url + "/inner"}, b"")
    with pytest.raises(FetchFailed):
        await fetcher.get(issuer.url + "/keys")
    assert issuer.hits == ["/keys"]


@pytest.mark.attack("P4")
async def test_long_and_compressed_answers_are_refused(
    issuer: FakeIssuer, fetcher: Fetcher
) -> None:
    issuer.pages["/keys"] = lambda: (200, {}, b"x" * 5000)
    with pytest.raises(FetchFailed, match="more than"):
        await fetcher.get(issuer.url + "/keys")
    issuer.pages["/keys"] = lambda: (200, {"content-encoding": "gzip"}, b"x")
    with pytest.raises(FetchFailed, match="compressed"):
        await fetcher.get(issuer.url + "/keys")


async def test_an_untrusted_certificate_is_no_answer(issuer: FakeIssuer) -> None:
    async with Fetcher(allowed=LOOPBACK, resolve=_v4) as made:
        with pytest.raises(FetchFailed):
            await made.get(issuer.url + "/keys")


async def test_an_answer_that_does_not_come_is_given_up(issuer: FakeIssuer) -> None:
    import asyncio

    silent = asyncio.Event()

    async def resolve(host: str, port: int) -> Sequence[str]:
        await silent.wait()
        return []

    async with Fetcher(allowed=LOOPBACK, resolve=resolve, timeout_s=0.05) as made:
        with pytest.raises(FetchFailed, match="in time"):
            await made.get(issuer.url + "/keys")
