"""Other issuers' keys: cached, guarded against floods, strict about what is a key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from tests.fakes.issuer import FakeIssuer, fake_issuer, make_key
from tests.unit.outbound.test_fetcher import LOOPBACK

from cryogate.domain.errors import Unavailable
from cryogate.outbound import foreign
from cryogate.outbound.errors import UnknownKey, UnsafeUrl
from cryogate.outbound.fetcher import Fetcher
from cryogate.outbound.issuers import AGAIN_MS, FIRST_WAIT_MS, MAX_KEYS, STALE_MS, IssuerKeys
from cryogate.tokens.errors import TokenError


class Ticks:
    def __init__(self) -> None:
        self.ms = 0

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
async def issuer(tmp_path: Path) -> AsyncIterator[FakeIssuer]:
    async with fake_issuer(tmp_path) as made:
        yield made


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
async def keys(issuer: FakeIssuer, ticks: Ticks) -> AsyncIterator[IssuerKeys]:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    async with Fetcher(allowed=LOOPBACK, ca_file=issuer.ca_file, resolve=resolve) as fetcher:
        yield IssuerKeys(fetcher, ticks)


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256", "ES384", "EdDSA"])
async def test_each_algorithm_is_verified(issuer: FakeIssuer, keys: IssuerKeys, alg: str) -> None:
    issuer.keys = {"k1": make_key(alg, "k1")}
    found = foreign.read(issuer.token(aud="us"))
    assert (await foreign.verify(found, keys, issuer.url))["aud"] == "us"
    issuer.keys["k1"] = make_key(alg, "k1")
    forged = foreign.read(issuer.token(aud="us"))
    with pytest.raises(TokenError):
        await foreign.verify(forged, keys, issuer.url)


@pytest.mark.attack("T11")
async def test_a_flood_of_unknown_keys_costs_one_look(
    issuer: FakeIssuer, keys: IssuerKeys, ticks: Ticks
) -> None:
    await keys.key(issuer.url, "k1")
    ticks.ms += AGAIN_MS
    looks = [keys.key(issuer.url, f"invented-{n}") for n in range(200)]
    answers = await asyncio.gather(*looks, return_exceptions=True)
    assert all(isinstance(answer, UnknownKey) for answer in answers)
    assert issuer.hits.count("/keys") == 2


@pytest.mark.attack("T11")
async def test_a_rotated_key_is_found_without_waiting_for_the_cache(
    issuer: FakeIssuer, keys: IssuerKeys, ticks: Ticks
) -> None:
    await keys.key(issuer.url, "k1")
    issuer.keys = {"k2": make_key("ES256", "k2")}
    ticks.ms += AGAIN_MS
    assert (await keys.key(issuer.url, "k2"))["kid"] == "k2"
    with pytest.raises(UnknownKey):
        await keys.key(issuer.url, "k1")


async def test_many_callers_fetch_once(issuer: FakeIssuer, keys: IssuerKeys) -> None:
    await asyncio.gather(*(keys.key(issuer.url, "k1") for _ in range(50)))
    assert issuer.hits == ["/.well-known/openid-configuration", "/keys"]


async def test_an_issuer_that_fails_is_asked_ever_more_rarely_and_old_keys_serve_on(
    issuer: FakeIssuer, keys: IssuerKeys, ticks: Ticks
) -> None:
    issuer.headers["cache-control"] = "public, max-age=60"
    await keys.key(issuer.url, "k1")
    issuer.pages["/keys"] = lambda: (500, {}, b"")
    ticks.ms += 60_000
    for wait_ms in (FIRST_WAIT_MS, 2 * FIRST_WAIT_MS, 4 * FIRST_WAIT_MS):
        before = len(issuer.hits)
        await keys.key(issuer.url, "k1")
        assert len(issuer.hits) > before
        looked = len(issuer.hits)
        ticks.ms += wait_ms - 1
        await keys.key(issuer.url, "k1")
        assert len(issuer.hits) == looked
        ticks.ms += 1
    ticks.ms += STALE_MS
    with pytest.raises(Unavailable):
        await keys.key(issuer.url, "k1")


@pytest.mark.attack("P4")
async def test_metadata_must_name_its_own_issuer(issuer: FakeIssuer, keys: IssuerKeys) -> None:
    page = "/.well-known/openid-configuration"
    issuer.pages[page] = lambda: (
        200,
        {},
        b'{"issuer":"https://a.example","jwks_uri":"https://x/"}',
    )
    with pytest.raises(Unavailable):
        await keys.key(issuer.url, "k1")
    assert issuer.hits == [page]


@pytest.mark.attack("P4")
@pytest.mark.parametrize("uri", ["http://169.254.169.254/latest", "https://10.0.0.1/", "file:///x"])
async def test_a_jwks_uri_that_leads_inside_is_not_followed(
    issuer: FakeIssuer, keys: IssuerKeys, uri: str
) -> None:
    page = "/.well-known/openid-configuration"
    body = f'{{"issuer":"{issuer.url}","jwks_uri":"{uri}"}}'.encode()
    issuer.pages[page] = lambda: (200, {}, body)
    with pytest.raises((Unavailable, UnsafeUrl)):
        await keys.key(issuer.url, "k1")
    assert issuer.hits == [page]


@pytest.mark.attack("T1")
@pytest.mark.parametrize(
    "body",
    [b"[]", b"{}", b'{"keys":[]}', b'{"keys":[{"kty":"oct","kid":"k1","k":"c2VjcmV0"}]}',
     b'{"keys":[{"kty":"RSA","kid":"k1","use":"enc","n":"x","e":"AQAB"}]}', b"<html>",
     b'{"keys":[' + b",".join([b'{"kid":"k1","kty":"EC"}'] * (MAX_KEYS + 1)) + b"]}"],
)  # fmt: skip
async def test_what_is_no_key_set_is_no_answer(
    issuer: FakeIssuer, keys: IssuerKeys, body: bytes
) -> None:
    issuer.pages["/keys"] = lambda: (200, {}, body)
    with pytest.raises(Unavailable):
        await keys.key(issuer.url, "k1")


@pytest.mark.attack("T1")
async def test_headers_that_bring_their_own_key_are_refused(issuer: FakeIssuer) -> None:
    own = issuer.keys["k1"].as_dict(private=False)
    for more in (
        {"jku": "https://evil/"},
        {"jwk": own},
        {"x5u": "https://evil/"},
        {"x5c": ["AA=="]},
    ):
        with pytest.raises((TokenError, ValueError)):
            foreign.read(issuer.token(header=dict(more)))
    for typ in ("at+jwt", "dpop+jwt", "secevent+jwt", "client-authentication+jwt"):
        with pytest.raises(TokenError):
            foreign.read(issuer.token(header={"typ": typ}))
