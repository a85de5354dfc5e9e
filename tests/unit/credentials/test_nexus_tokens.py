"""A refresh token is traded for a short access token, or there is no lease."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tests.support.governance import World, world

from cryogate.credentials import EnvelopeSealer, Nexus, StoredSecrets
from cryogate.credentials.master_key import master_key
from cryogate.dev.nexus_door import PROJECT
from cryogate.dev.quantinuum import QuantinuumFake
from cryogate.dev.serving import served
from cryogate.domain.secrets import Secret
from cryogate.ports.credentials import LeaseTerms, LeaseUnavailable

TERMS = LeaseTerms("quantinuum", "quantinuum:h2-1", "e1", "a1")
GOOD = "access-token-of-nexus"


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as found:
        yield found


async def source(made: World, url: str, value: dict[str, str]) -> Nexus:
    secrets = StoredSecrets(made.store, EnvelopeSealer(master_key(Secret(b"k" * 32))), made.clock)
    await secrets.add("quantinuum", "", Secret(json.dumps(value).encode()), "operator:admin")
    return Nexus(secrets=secrets, clock=made.clock, url=url)


REFRESH = "refresh-token-0123456789"


def root(token: str = REFRESH, **more: str) -> dict[str, str]:
    return {"refresh_token": token, "project": PROJECT, **more}


@pytest.mark.attack("S1")
async def test_a_lease_holds_an_access_token_and_never_the_long_one(made: World) -> None:
    fake = QuantinuumFake()
    with served(fake.app) as url:
        nexus = await source(made, url, root(fake.door.refresh_token, user_group="agents"))
        minted = await nexus.mint("lea_a", TERMS, 300)
        second = await nexus.mint("lea_b", TERMS, 300)
        await nexus.end(minted.handle)
        await nexus.close()
    held = json.loads(minted.secret.reveal())
    assert held["token"] in fake.door.tokens
    assert (held["project"], held["user_group"]) == (PROJECT, "agents")
    assert minted.expires_ms == made.clock.now_ms() + 900_000
    assert fake.door.refresh_token not in minted.handle + minted.secret.text()
    assert json.loads(second.secret.reveal())["token"] != held["token"]
    # the first answer's cookie did not travel with the second request
    assert [h["cookie"] for _, _, h, _ in fake.faults.seen] == [
        f"myqos_oat={fake.door.refresh_token}"
    ] * 2


def jwt(exp: int) -> str:
    return "e30." + urlsafe_b64encode(json.dumps({"exp": exp}).encode()).decode().rstrip("=") + ".x"


class Login:
    """A login that answers what a test wants."""

    def __init__(self, nexus: Nexus) -> None:
        self.nexus = nexus
        self.cookies: list[str] = []
        self.status = 200

    async def answer(self, request: Request) -> Response:
        reply = Response("{}", self.status)
        for cookie in self.cookies:
            reply.headers.append("set-cookie", cookie)
        return reply


@pytest.fixture
async def login(made: World) -> AsyncIterator[Login]:
    found = Login(await source(made, "http://127.0.0.1:9", root()))
    route = Route("/auth/tokens/refresh", found.answer, methods=["POST"])
    with served(Starlette(routes=[route])) as url:
        found.nexus._url = url + "/auth/tokens/refresh"
        yield found
        await found.nexus.close()


async def test_the_earliest_end_that_is_told_counts_and_an_hour_at_most(
    made: World, login: Login
) -> None:
    for cookies, exp, life_s in (
        (["myqos_id={}; Path=/; Max-Age=60; Secure"], None, 60),
        (["other=1; max-age=5, myqos_id=no", "myqos_id={}; max-age=70"], None, 70),
        (["myqos_id={}"], None, 600),
        (["myqos_id={}; Max-Age=999999"], None, 3600),
        (["myqos_id={}; Max-Age=900"], 100, 100),
        (["myqos_id={}; Max-Age=50"], 100, 50),
        (["myqos_id={}"], 7200, 3600),
    ):
        token = GOOD if exp is None else jwt(made.clock.now_ms() // 1000 + exp)
        login.cookies = [cookie.format(token) for cookie in cookies]
        minted = await login.nexus.mint("lea_a", TERMS, 300)
        found = minted.expires_ms - made.clock.now_ms()
        assert life_s * 1000 - 1000 < found <= life_s * 1000, cookies


@pytest.mark.attack("S1", "S3")
async def test_no_usable_token_no_lease_and_nothing_leaks(login: Login) -> None:
    for cookies, status in (
        ([], 200),
        (["myqos_id=short"], 200),
        (['myqos_id="quoted-and-long-enough"'], 200),
        ([f"myqos_id={GOOD} and {GOOD}"], 200),
        ([f"myqos_id={GOOD}"], 401),
        ([f"myqos_id={GOOD}"], 307),
        ([f"myqos_id={GOOD}; Max-Age=0"], 200),
        ([f"myqos_id={jwt(1)}"], 200),
        ([f"myqos_id={'x' * 20_000}"], 200),
    ):
        login.cookies, login.status = cookies, status
        with pytest.raises(LeaseUnavailable) as told:
            await login.nexus.mint("lea_a", TERMS, 300)
        assert GOOD not in str(told.value)
        assert REFRESH not in repr(told.value.__context__)


@pytest.mark.parametrize(
    "value",
    [{"refresh_token": "x"}, root("a;b=c 0123456789abcdef"), root(more="x"), {"project": PROJECT}],
)
async def test_a_secret_of_another_shape_is_told_by_its_fields(
    made: World, value: dict[str, str]
) -> None:
    nexus = await source(made, "http://127.0.0.1:9", value)
    with pytest.raises(LeaseUnavailable, match="refresh_token, project, user_group"):
        await nexus.mint("lea_a", TERMS, 300)
    await nexus.close()
