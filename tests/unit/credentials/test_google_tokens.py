"""Google's tokens: of a key, of a workload, of another account; and what fails closed."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cryogate.credentials import GooglePlaces, GoogleTokens
from cryogate.dev.google import ACCOUNT, AUDIENCE, RUNNER, GoogleFake
from cryogate.dev.serving import served
from cryogate.domain.secrets import Secret
from cryogate.ports.clock import SystemClock
from cryogate.ports.credentials import LeaseTerms, LeaseUnavailable, RootSecrets

TERMS = LeaseTerms("google", "google:willow_pink", "e1", "a1")


class Root(RootSecrets):
    def __init__(self, value: object) -> None:
        self._value = value

    async def value(self, scheme: str, experiment_id: str) -> Secret:
        return Secret(json.dumps(self._value).encode())


class World:
    def __init__(self, fake: GoogleFake, url: str) -> None:
        self.fake, self.url = fake, url
        self.made: list[GoogleTokens] = []

    def tokens(self, root: object = None, **more: str) -> GoogleTokens:
        places = GooglePlaces(
            token_url=f"{self.url}/token", sts_url=f"{self.url}/v1/token", iam_url=self.url, **more
        )
        given = self.fake.key_file() if root is None else root
        found = GoogleTokens(secrets=Root(given), clock=SystemClock(), places=places)
        self.made.append(found)
        return found


@pytest.fixture
async def world() -> AsyncIterator[World]:
    fake = GoogleFake()
    with served(fake.app) as url:
        made = World(fake, url)
        yield made
        for tokens in made.made:
            await tokens.close()


@pytest.mark.attack("S1")
async def test_a_key_signs_an_assertion_and_is_sent_nowhere(world: World) -> None:
    minted = await world.tokens().mint("lea_1", TERMS, 300)
    assert world.fake.tokens[minted.secret.text()] == ACCOUNT
    assert minted.expires_ms <= SystemClock().now_ms() + 3_600_000
    assert minted.handle not in minted.secret.text()
    [(_, path, _, body)] = world.fake.faults.seen
    assert path == "/token", "the address that the key's file names is not used"
    key = world.fake.key_file()["private_key"]
    assert base64.b64decode("".join(key.splitlines()[1:-1]))[40:60] not in body
    assert b"PRIVATE" not in body


async def test_a_workload_needs_no_secret(world: World, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(world.fake.workload + "\n")
    file.chmod(0o600)
    tokens = world.tokens({}, audience=AUDIENCE, token_file=str(file))
    minted = await tokens.mint("lea_1", TERMS, 300)
    assert world.fake.tokens[minted.secret.text()] == "workload"
    file.write_text("another")
    with pytest.raises(LeaseUnavailable, match="400"):
        await tokens.mint("lea_1", TERMS, 300)
    file.unlink()
    with pytest.raises(LeaseUnavailable, match="token_file"):
        await tokens.mint("lea_1", TERMS, 300)


async def test_a_token_of_another_account_lives_as_long_as_the_lease(world: World) -> None:
    minted = await world.tokens(service_account=RUNNER).mint("lea_1", TERMS, 300)
    assert world.fake.tokens[minted.secret.text()] == RUNNER
    assert world.fake.lives == ["300s"]
    left_ms = minted.expires_ms - SystemClock().now_ms()
    assert 290_000 < left_ms <= 300_000
    with pytest.raises(LeaseUnavailable, match="403"):
        await world.tokens(service_account=ACCOUNT).mint("lea_1", TERMS, 300)


@pytest.mark.attack("S1")
@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"private_key": f"-----BEGIN PRIVATE KEY-----\nsecret-canary\n{'x' * 64}"}, "no private"),
        ({"private_key": ""}, "not JSON with"),
        ({"client_email": "a b"}, "not JSON with"),
        ({"private_key_id": "other"}, "400"),
    ],
)  # fmt: skip
async def test_a_key_that_cannot_be_used_says_so_and_shows_nothing(
    world: World, change: dict[str, str], why: str
) -> None:
    with pytest.raises(LeaseUnavailable, match=why) as told:
        await world.tokens({**world.fake.key_file(), **change}).mint("lea_1", TERMS, 300)
    assert "secret-canary" not in repr(told.value)
    assert told.value.__cause__ is None


@pytest.mark.attack("S3")
@pytest.mark.parametrize(("kind", "value"), [("malformed", 0), ("redirect", 0), ("status", 503)])
async def test_a_service_that_fails_gives_no_lease(world: World, kind: str, value: int) -> None:
    world.fake.faults.add(kind, value, path="/token")
    with pytest.raises(LeaseUnavailable):
        await world.tokens().mint("lea_1", TERMS, 300)
    world.fake.faults.add(kind, value, path="/v1/projects")
    with pytest.raises(LeaseUnavailable):
        await world.tokens(service_account=RUNNER).mint("lea_1", TERMS, 300)
