"""Sign-in at a provider that lies: every check of the relying party, one at a time."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from tests.support.broker import PlainSealer

from cryogate.broker.humans.oidc import OidcClient, OidcRefused, OidcSignIn
from cryogate.domain.errors import Unavailable
from cryogate.domain.secrets import Secret
from cryogate.outbound.fetcher import Answer, Fetcher
from cryogate.outbound.issuers import IssuerKeys
from cryogate.testing.clock import FakeClock
from cryogate.tokens import jws
from cryogate.tokens.keys import SigningKey, generate

ISSUER = "https://idp.example.org"
CALLBACK = "https://q.example.org/console/login/oidc/done"


def b64(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Provider(Fetcher):
    """An identity provider without a network. What it claims and answers, the test says."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.clock, self.key = clock, generate()
        self.metadata: dict[str, Any] = {
            "issuer": ISSUER,
            "authorization_endpoint": ISSUER + "/auth",
            "token_endpoint": ISSUER + "/token",
            "jwks_uri": ISSUER + "/jwks",
            "authorization_response_iss_parameter_supported": True,
        }
        self.changes: dict[str, Any] = {}
        self.make: Callable[[dict[str, Any]], object] = lambda claims: self.sign(claims)
        self.token_status = 200
        self.nonce = self.state = ""
        self.asked: list[tuple[str, Mapping[str, str], dict[str, str]]] = []

    def sign(self, claims: dict[str, Any], key: SigningKey | None = None, **header: Any) -> str:
        signer = key or self.key
        head = {"typ": "JWT", "kid": self.key.kid, **header}
        return jws.sign(signer, head, json.dumps(claims).encode())

    def claims(self) -> dict[str, Any]:
        now = self.clock.now_ms() // 1000
        made = {"iss": ISSUER, "aud": "console", "sub": "s-1", "iat": now, "exp": now + 300,
                "nonce": self.nonce, **self.changes}  # fmt: skip
        return {name: value for name, value in made.items() if value is not ...}

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Answer:
        path = urlsplit(url).path
        if path == "/.well-known/openid-configuration":
            found: object = self.metadata
        elif path == "/jwks":
            found = {"keys": [{**self.key.public.jwk(), "kid": self.key.kid}]}
        else:
            self.asked.append((url, headers, dict(parse_qsl((body or b"").decode()))))
            return Answer(
                self.token_status, {}, json.dumps({"id_token": self.make(self.claims())}).encode()
            )
        return Answer(200, {}, json.dumps(found).encode())


class Browser:
    """Begins, comes back, and can change everything between."""

    def __init__(self, secret: Secret | None = None, key: SigningKey | None = None) -> None:
        self.clock = FakeClock()
        self.provider = Provider(self.clock)
        keys = IssuerKeys(self.provider, self.clock.now_ms)
        client = OidcClient(ISSUER, "console", CALLBACK, "openid", secret, key)
        self.sign_in = OidcSignIn(client, self.provider, keys, PlainSealer(), self.clock)
        self.cookie = ""

    async def begin(self) -> dict[str, str]:
        url, self.cookie = await self.sign_in.begin()
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        self.provider.nonce, self.provider.state = query["nonce"], query["state"]
        return query

    async def finish(self, **changes: str | None) -> tuple[str, Mapping[str, object]]:
        query = {"code": "c", "state": self.provider.state, "iss": ISSUER, **changes}
        kept = {name: value for name, value in query.items() if value is not None}
        return await self.sign_in.finish(kept, self.cookie)


async def test_an_honest_sign_in_gives_subject_and_claims() -> None:
    browser = Browser()
    query = await browser.begin()
    assert query["response_type"] == "code"
    assert query["code_challenge_method"] == "S256"
    assert query["redirect_uri"] == CALLBACK
    subject, claims = await browser.finish()
    assert subject == "s-1"
    assert claims["iss"] == ISSUER
    url, headers, form = browser.provider.asked[0]
    assert url == ISSUER + "/token"
    assert "authorization" not in headers
    assert form["client_id"] == "console"
    assert form["code_verifier"] not in str(query)


async def test_every_sign_in_has_its_own_state_nonce_and_challenge() -> None:
    browser = Browser()
    begun = [await browser.begin() for _ in range(3)]
    for name in ("state", "nonce", "code_challenge"):
        assert len({query[name] for query in begun}) == 3


async def test_the_secret_is_sent_as_the_rfc_says() -> None:
    browser = Browser(secret=Secret(b"a+b %:c"))
    await browser.begin()
    await browser.finish()
    _, headers, form = browser.provider.asked[0]
    assert (
        headers["authorization"] == "Basic " + base64.b64encode(b"console:a%2Bb%20%25%3Ac").decode()
    )
    assert "client_secret" not in form


async def test_a_key_is_proven_and_never_sent() -> None:
    key = generate()
    browser = Browser(key=key)
    await browser.begin()
    await browser.finish()
    assertion = browser.provider.asked[0][2]["client_assertion"]
    claims = json.loads(base64.urlsafe_b64decode(assertion.split(".")[1] + "=="))
    assert claims["aud"] == ISSUER
    assert key.private_jwk()["d"] not in str(browser.provider.asked)


@pytest.mark.attack("T3", "T12")
@pytest.mark.parametrize(
    "changes",
    [{"iss": "https://other.example.org"}, {"iss": ...}, {"aud": "other"}, {"aud": ...},
     {"aud": ["console", "other"]}, {"aud": []}, {"azp": "other"}, {"sub": ...}, {"sub": ""},
     {"sub": 7}, {"sub": "x" * 256}, {"nonce": "other"}, {"nonce": ...}, {"nonce": 7},
     {"nonce": "\ud800"}, {"exp": 1}, {"exp": ...}, {"exp": True}, {"exp": "9999999999"},
     {"iat": ...}, {"iat": 1}, {"iat": 9_999_999_999}, {"iat": 1.5}],
    ids=str,
)  # fmt: skip
async def test_a_wrong_claim_signs_nobody_in(changes: dict[str, Any]) -> None:
    browser = Browser()
    await browser.begin()
    browser.provider.changes = changes
    with pytest.raises(OidcRefused):
        await browser.finish()


def forgeries(provider: Provider) -> dict[str, Callable[[dict[str, Any]], object]]:
    def unsigned(claims: dict[str, Any]) -> str:
        return f"{b64({'alg': 'none', 'kid': provider.key.kid})}.{b64(claims)}."

    def mac(claims: dict[str, Any]) -> str:
        return f"{b64({'alg': 'HS256', 'kid': provider.key.kid})}.{b64(claims)}.{b64(b'x' * 32)}"

    stranger = generate()
    return {
        "alg none": unsigned,
        "HS256": mac,
        "another key": lambda claims: provider.sign(claims, stranger),
        "another key, named": lambda claims: provider.sign(claims, stranger, kid=stranger.kid),
        "its own key inside": lambda claims: provider.sign(
            claims, stranger, jwk=stranger.public.jwk()
        ),
        "a proof": lambda claims: provider.sign(claims, typ="dpop+jwt"),
        "an access token": lambda claims: provider.sign(claims, typ="at+jwt"),
        "a security event": lambda claims: provider.sign(claims, typ="secevent+jwt"),
        "changed": lambda claims: ".".join(
            [*provider.sign(claims).split(".")[:1], b64({**claims, "sub": "s-2"}),
             *provider.sign(claims).split(".")[2:]]),
        "nothing": lambda claims: None,
        "text": lambda claims: "x.y.z",
        "huge": lambda claims: provider.sign({**claims, "x": "y" * 20_000}),
    }  # fmt: skip


@pytest.mark.attack("T1", "T2")
@pytest.mark.parametrize("name", list(forgeries(Provider(FakeClock()))))
async def test_a_forged_id_token_signs_nobody_in(name: str) -> None:
    browser = Browser()
    await browser.begin()
    browser.provider.make = forgeries(browser.provider)[name]
    with pytest.raises(OidcRefused):
        await browser.finish()


@pytest.mark.attack("H4")
@pytest.mark.parametrize(
    "changes",
    [{"state": None}, {"state": ""}, {"state": "x"}, {"iss": None}, {"iss": "https://evil.example"},
     {"iss": ISSUER + "/"}, {"code": None}, {"code": ""}, {"code": "c" * 5000},
     {"error": "access_denied"}, {"error": "<b>"}],
    ids=str,
)  # fmt: skip
async def test_a_wrong_answer_redeems_nothing(changes: dict[str, str | None]) -> None:
    browser = Browser()
    await browser.begin()
    with pytest.raises(OidcRefused) as refused:
        await browser.finish(**changes)
    assert "<b>" not in refused.value.detail
    assert browser.provider.asked == []


@pytest.mark.attack("H4")
async def test_a_cookie_is_good_for_its_own_sign_in_and_for_minutes() -> None:
    browser = Browser()
    await browser.begin()
    first, state, nonce = browser.cookie, browser.provider.state, browser.provider.nonce
    await browser.begin()
    browser.cookie = first
    with pytest.raises(OidcRefused):
        await browser.finish()
    browser.provider.nonce = nonce
    assert (await browser.finish(state=state))[0] == "s-1"
    browser.clock.advance(600_001)
    with pytest.raises(OidcRefused):
        await browser.finish(state=state)
    for cookie in ("", "x", b64(b"signing-key:token\0{}"), "%%%"):
        browser.cookie = cookie
        with pytest.raises(OidcRefused):
            await browser.finish(state=state)


async def test_an_issuer_that_promises_no_iss_need_not_send_it() -> None:
    browser = Browser()
    del browser.provider.metadata["authorization_response_iss_parameter_supported"]
    await browser.begin()
    assert (await browser.finish(iss=None))[0] == "s-1"
    await browser.begin()
    with pytest.raises(OidcRefused):
        await browser.finish(iss="https://evil.example")


@pytest.mark.attack("P4")
@pytest.mark.parametrize(
    "url", [None, 7, "http://idp.example.org/auth", "file:///etc/passwd", "javascript:alert(1)",
            "https://user:password@idp.example.org/", "//idp.example.org/auth"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint"])
async def test_unsafe_endpoints_are_never_used(name: str, url: object) -> None:
    browser = Browser()
    browser.provider.metadata[name] = url

    async def whole_way() -> None:
        await browser.begin()
        await browser.finish()

    with pytest.raises(Unavailable):
        await whole_way()
    assert browser.provider.asked == []


async def test_metadata_of_another_issuer_is_not_believed() -> None:
    browser = Browser()
    browser.provider.metadata["issuer"] = "https://other.example.org"
    with pytest.raises(Unavailable):
        await browser.begin()


async def test_a_refused_code_signs_nobody_in() -> None:
    browser = Browser()
    await browser.begin()
    browser.provider.token_status = 400
    with pytest.raises(OidcRefused):
        await browser.finish()
