"""Federation with a certified OpenID provider over TLS: its metadata, its keys, its tokens."""

from __future__ import annotations

import base64
import hashlib
import secrets
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from tests.support.broker import TOKEN_URL, World, sqlite_world
from tests.support.identity_provider import IdentityProvider, authorize, client, provider

from cryogate.broker.authn import ClientAuthenticator
from cryogate.broker.credentials import Credentials
from cryogate.broker.federation import JWT_BEARER, Federated, Federation
from cryogate.broker.issue import TokenService
from cryogate.broker.oauth import OAuthError
from cryogate.governance.denials import RecentDenials
from cryogate.outbound.addresses import networks
from cryogate.outbound.fetcher import Fetcher
from cryogate.outbound.issuers import IssuerKeys
from cryogate.ports.clock import SystemClock, monotonic_ms
from cryogate.tokens.keys import generate

US, PORT = "cryogate", 8642
REDIRECT = f"http://127.0.0.1:{PORT}/console/login/oidc/done"


@pytest.fixture(scope="module")
def idp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityProvider]:
    us = client(PORT, US, token_endpoint_auth_method="none")
    people = {"robot": {"groups": ["lab"], "preferred_username": "robot"}}
    with provider(tmp_path_factory.mktemp("idp"), [us], people) as made:
        yield made


def id_token(idp: IdentityProvider, login: str) -> str:
    """What a workload would be given: it signs in, and takes its token along."""
    verifier = secrets.token_urlsafe(32)
    digest = hashlib.sha256(verifier.encode()).digest()
    asked = {
        "client_id": US, "response_type": "code", "redirect_uri": REDIRECT, "state": "s",
        "scope": "openid profile groups", "code_challenge_method": "S256",
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
    }  # fmt: skip
    back = authorize(f"{idp.issuer}/auth?{urlencode(asked)}", login, idp.ca)
    code = parse_qs(urlsplit(back).query)["code"][0]
    context = ssl.create_default_context(cafile=idp.ca)
    answer = httpx.post(
        f"{idp.issuer}/token", verify=context, trust_env=False,
        data={"grant_type": "authorization_code", "code": code, "client_id": US,
              "redirect_uri": REDIRECT, "code_verifier": verifier},
    )  # fmt: skip
    token: str = answer.json()["id_token"]
    return token


async def test_a_real_providers_token_is_who_the_agent_is(
    idp: IdentityProvider, tmp_path: Path
) -> None:
    clock = SystemClock()
    async with (
        sqlite_world(tmp_path) as world,
        Fetcher(allowed=networks(["127.0.0.0/8"]), ca_file=idp.ca) as fetcher,
    ):
        federation = Federation(IssuerKeys(fetcher, monotonic_ms), clock)
        clients = ClientAuthenticator(world.store, clock, "https://qpu.example",
                                      federation=federation)  # fmt: skip
        service = TokenService(
            store=world.store, policy=world.policy, signer=world.ring, clients=clients,
            proofs=world.proofs, clock=world.clock, issuer="https://qpu.example",
            denials=RecentDenials(),
        )  # fmt: skip
        rule = Federated(idp.issuer, US, {"sub": ("robot",), "preferred_username": ("robot",)})
        await Credentials(world.store, clock).add("a1", rule, actor="operator:root")
        assert await _ask(world, service, id_token(idp, "robot")) == "DPoP"
        with pytest.raises(OAuthError):
            await _ask(world, service, id_token(idp, "somebody"))


async def _ask(world: World, service: TokenService, assertion: str) -> str:
    form = {"grant_type": JWT_BEARER, "assertion": assertion, "client_id": "a1",
            "authorization_details": world.form()["authorization_details"]}  # fmt: skip
    return (await service.token(form, world.proof(generate()), TOKEN_URL)).token_type
