"""Other issuers' tokens as proof of who an agent is: GitHub, Kubernetes, Entra, anybody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.issuer import FakeIssuer, fake_issuer, make_key
from tests.support.broker import TOKEN_URL, World, postgres_world, sqlite_world

from cryogate.broker.authn import ClientAuthenticator
from cryogate.broker.credentials import Credentials
from cryogate.broker.federation import JWT_BEARER, Federated, Federation
from cryogate.broker.issue import TokenResponse, TokenService
from cryogate.broker.oauth import OAuthError
from cryogate.domain.errors import Conflict, Malformed, Unavailable
from cryogate.governance.denials import RecentDenials
from cryogate.outbound.addresses import networks
from cryogate.outbound.fetcher import Fetcher
from cryogate.outbound.issuers import IssuerKeys
from cryogate.tokens.keys import SigningKey, generate

US = "https://qpu.example"
GITHUB = {"repository": ("octo/lab",), "ref": ("refs/heads/main", "refs/heads/release")}


class FederatedWorld:
    """A broker, another issuer, and an agent that entrusts it."""

    def __init__(self, world: World, issuer: FakeIssuer, fetcher: Fetcher) -> None:
        self.world, self.issuer = world, issuer
        self.ticks = 0
        self.credentials = Credentials(world.store, world.clock)
        keys = IssuerKeys(fetcher, lambda: self.ticks)
        clients = ClientAuthenticator(
            world.store, world.clock, US, federation=Federation(keys, world.clock)
        )
        self.service = TokenService(
            store=world.store, policy=world.policy, signer=world.ring, clients=clients,
            proofs=world.proofs, clock=world.clock, issuer=US, denials=RecentDenials(),
        )  # fmt: skip

    async def trust(self, claims: dict[str, tuple[str, ...]] | None = None, **more: Any) -> str:
        rule = Federated(self.issuer.url, more.pop("audience", US), claims or GITHUB, **more)
        return (await self.credentials.add("a1", rule, actor="operator:root")).kid

    def assertion(self, **claims: Any) -> str:
        now = self.world.now_s
        base = {"iat": now, "nbf": now, "exp": now + 300, "aud": US, "repository": "octo/lab",
                "ref": "refs/heads/main", **claims}  # fmt: skip
        return self.issuer.token(**base)

    async def ask(
        self, assertion: str, key: SigningKey | None = None, client_id: str = "a1"
    ) -> TokenResponse:
        form = {"grant_type": JWT_BEARER, "assertion": assertion, "client_id": client_id,
                "authorization_details": self.world.form()["authorization_details"]}  # fmt: skip
        proof = self.world.proof(key or generate())
        return await self.service.token(form, proof, TOKEN_URL)

    async def refused(self, assertion: str, **more: Any) -> None:
        with pytest.raises(OAuthError) as caught:
            await self.ask(assertion, **more)
        assert (caught.value.error, caught.value.status) == ("invalid_client", 401)


@pytest.fixture(params=["sqlite", "postgres"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AbstractAsyncContextManager[World]:
    if request.param == "sqlite":
        return sqlite_world(tmp_path)
    return postgres_world(request.getfixturevalue("postgres_dsn"))


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[FederatedWorld]:
    async with sqlite_world(tmp_path) as world, _federated(world, tmp_path) as found:
        yield found


@pytest.fixture
async def each(
    opened: AbstractAsyncContextManager[World], tmp_path: Path
) -> AsyncIterator[FederatedWorld]:
    async with opened as world, _federated(world, tmp_path) as found:
        yield found


def _federated(world: World, folder: Path) -> AbstractAsyncContextManager[FederatedWorld]:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    @asynccontextmanager
    async def open_() -> AsyncIterator[FederatedWorld]:
        allowed = networks(["127.0.0.0/8"])
        async with (
            fake_issuer(folder) as issuer,
            Fetcher(allowed=allowed, ca_file=issuer.ca_file, resolve=resolve) as fetcher,
        ):
            yield FederatedWorld(world, issuer, fetcher)

    return open_()


async def test_a_workload_of_another_issuer_gets_a_token_for_its_own_key(
    each: FederatedWorld,
) -> None:
    await each.trust()
    key = generate()
    answer = await each.ask(each.assertion(), key)
    assert answer.token_type == "DPoP"
    [event] = (await each.world.events("token.issued"))[-1:]
    assert event["agent_id"] == "a1"


async def test_kubernetes_and_entra_shapes(made: FederatedWorld) -> None:
    pods: dict[str, tuple[str, ...]] = {
        "/kubernetes.io/namespace": ("lab",),
        "sub": ("system:serviceaccount:lab:runner",),
    }
    await made.trust(pods, audience="qpu")
    about = {"namespace": "lab", "serviceaccount": {"name": "runner", "uid": "1"}}
    pod: dict[str, Any] = {"sub": "system:serviceaccount:lab:runner", "aud": ["qpu"],
                           "kubernetes.io": about, "repository": ..., "ref": ...}  # fmt: skip
    await made.ask(made.assertion(**pod))
    await made.refused(made.assertion(**{**pod, "kubernetes.io": {"namespace": "other"}}))
    await made.refused(made.assertion(**{**pod, "sub": "system:serviceaccount:lab:else"}))
    await made.trust({"oid": ("11111111-2222",), "tid": ("t",)}, audience="api://qpu")
    entra = {"aud": "api://qpu", "oid": "11111111-2222", "tid": "t"}
    await made.ask(made.assertion(**entra))
    await made.refused(made.assertion(**{**entra, "tid": "other"}))


@pytest.mark.attack("T3")
@pytest.mark.parametrize(
    "aud", ["https://other.example", [US, "https://other.example"], [], "", ..., 1, US + "/", None]
)
async def test_an_assertion_for_somebody_else_too_is_not_for_us(
    made: FederatedWorld, aud: Any
) -> None:
    await made.trust()
    await made.refused(made.assertion(aud=aud))


@pytest.mark.parametrize(
    "claims",
    [{"repository": "evil/lab"}, {"repository": ...}, {"repository": "octo/lab "},
     {"ref": "refs/heads/mainx"}, {"ref": ["refs/heads/main"]}, {"ref": None}, {"ref": True},
     {"repository": "Octo/Lab"}],
)  # fmt: skip
async def test_every_condition_must_hold(made: FederatedWorld, claims: dict[str, Any]) -> None:
    await made.trust()
    await made.refused(made.assertion(**claims))


@pytest.mark.attack("T12")
async def test_time_is_checked_to_the_second(made: FederatedWorld) -> None:
    await made.trust()
    now = made.world.now_s
    await made.ask(made.assertion(exp=now + 1))
    for claims in (
        {"exp": now}, {"exp": now - 1}, {"exp": ...}, {"exp": "9"}, {"exp": True},
        {"exp": now + 86_401}, {"iat": now + 31}, {"nbf": now + 31}, {"nbf": -1},
    ):  # fmt: skip
        await made.refused(made.assertion(**claims))
    await made.ask(made.assertion(exp=now + 60.5))


@pytest.mark.attack("T1", "T2")
async def test_what_is_not_signed_by_the_issuer_is_nothing(made: FederatedWorld) -> None:
    await made.trust()
    sound = made.assertion()
    head, body, signature = sound.split(".")
    own = make_key("RS256", "k1")
    made.issuer.keys["k1"], theirs = own, made.issuer.keys["k1"]
    forged = made.assertion()
    made.issuer.keys["k1"] = theirs
    none = "eyJhbGciOiJub25lIiwia2lkIjoiazEifQ"
    hs256 = "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0"
    for token in (
        forged,
        f"{none}.{body}.",
        f"{none}.{body}.AA",
        f"{hs256}.{body}.{signature}",
        f"{head}.{body}.{signature[:-4]}AAAA",
        f"{head}.{body}",
        "",
        "x" * 9000,
    ):
        await made.refused(token)  # fmt: skip
    for typ in ("at+jwt", "dpop+jwt", "secevent+jwt"):
        await made.refused(made.assertion(header={"typ": typ}))


@pytest.mark.attack("P4")
async def test_strangers_cannot_make_us_fetch(made: FederatedWorld) -> None:
    await made.trust()
    other = made.assertion(iss="https://169.254.169.254")
    await made.refused(other)
    await made.refused(made.assertion(), client_id="nobody")
    await made.refused(made.assertion(), client_id="operator:root")
    assert made.issuer.hits == []


async def test_an_assertion_is_bound_to_the_key_that_used_it_first(each: FederatedWorld) -> None:
    await each.trust()
    assertion, key = each.assertion(), generate()
    await each.ask(assertion, key)
    await each.ask(assertion, key)
    await each.refused(assertion)


async def test_a_workload_that_starts_anew_has_as_many_keys_as_its_rule_says(
    each: FederatedWorld,
) -> None:
    await each.trust(max_keys=3)
    assertion, keys = each.assertion(), [generate() for _ in range(5)]
    answers = await asyncio.gather(
        *(each.ask(assertion, key) for key in keys), return_exceptions=True
    )
    taken = [key for key, a in zip(keys, answers, strict=True) if isinstance(a, TokenResponse)]
    assert 1 <= len(taken) <= 3  # of several at once some may have to come again
    for key in keys:
        if len(taken) < 3 and key not in taken:
            await each.ask(assertion, key)
            taken.append(key)
    for key in keys:
        if key in taken:
            await each.ask(assertion, key)
        else:
            await each.refused(assertion, key=key)


async def test_without_a_key_an_assertion_gets_nothing(made: FederatedWorld) -> None:
    await made.trust()
    form = {"grant_type": JWT_BEARER, "assertion": made.assertion(), "client_id": "a1",
            "authorization_details": made.world.form()["authorization_details"]}  # fmt: skip
    with pytest.raises(OAuthError) as caught:
        await made.service.token(form, None, TOKEN_URL)
    assert caught.value.error == "invalid_dpop_proof"


@pytest.mark.attack("T11")
async def test_a_rotated_issuer_key_and_a_flood_of_unknown_ones(made: FederatedWorld) -> None:
    await made.trust()
    await made.ask(made.assertion())
    made.issuer.keys["k2"] = make_key("ES256", "k2")
    made.ticks += 30_000
    await made.ask(made.assertion(kid="k2"))
    looked = len(made.issuer.hits)
    for n in range(50):
        kid = f"x{n}"
        made.issuer.keys[kid] = make_key("ES256", kid)
        await made.refused(made.assertion(kid=kid))
    assert len(made.issuer.hits) == looked


async def test_an_issuer_that_does_not_answer_is_no_yes(made: FederatedWorld) -> None:
    await made.trust()
    made.issuer.pages.clear()
    with pytest.raises(Unavailable):
        await made.ask(made.assertion())


async def test_removing_the_rule_ends_its_tokens_and_lets_nobody_in(made: FederatedWorld) -> None:
    kid = await made.trust()
    await made.ask(made.assertion())
    await made.world.client_keys.remove("a1", kid, actor="operator:root")
    await made.refused(made.assertion())


@pytest.mark.parametrize(
    ("claims", "more"),
    [({}, {}), ({"aud": (US,)}, {}), ({"iss": ("x",)}, {}), ({"repository": ("octo/*",)}, {}),
     (GITHUB, {"jwks_uri": "http://issuer.example/keys"}),
     (GITHUB, {"jwks_uri": "https://user@issuer.example/"})],
)  # fmt: skip
async def test_rules_that_would_let_anybody_in_are_refused(
    made: FederatedWorld, claims: dict[str, tuple[str, ...]], more: dict[str, Any]
) -> None:
    rule = Federated(made.issuer.url, US, claims, **more)
    with pytest.raises(Malformed):
        await made.credentials.add("a1", rule, actor="operator:root")


async def test_one_rule_is_one_agents(made: FederatedWorld) -> None:
    await made.trust()
    await made.world.registry.create_agent(
        agent_id="a2", owner="alice@example.com", tier="standard", actor="root"
    )
    rule = Federated(made.issuer.url, US, GITHUB)
    for agent in ("a1", "a2"):
        with pytest.raises(Conflict):
            await made.credentials.add(agent, rule, actor="operator:root")
