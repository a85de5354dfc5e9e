"""Keys in a transit engine: the same promises as sealed ones, and no token when it fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.fakes.transit import TOKEN, FakeTransit
from tests.support.broker import TOKEN_URL, World, sqlite_world

from cryogate.broker.key_keeper import KeyKeeper
from cryogate.credentials import TransitKeys
from cryogate.domain.errors import Unavailable
from cryogate.domain.secrets import Secret
from cryogate.ports.keys import OVERLAP_MS
from cryogate.tokens.access import GATEWAY_AUDIENCE, AccessTokenVerifier
from cryogate.tokens.errors import BadSignature
from cryogate.tokens.jws import parse

pytestmark = pytest.mark.attack("T11")
LEAD_MS = 30_000


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with sqlite_world(tmp_path) as made:
        yield made


@pytest.fixture
def engine(world: World) -> Iterator[FakeTransit]:
    made = FakeTransit(world.clock)
    yield made
    made.close()


@pytest.fixture
async def keys(world: World, engine: FakeTransit) -> AsyncIterator[TransitKeys]:
    made = _keys(world, engine)
    await made.start()
    yield made
    await made.close()


def _keys(world: World, engine: FakeTransit, token: str = TOKEN) -> TransitKeys:
    return TransitKeys(
        engine.url, lambda: Secret(token.encode()), world.store, world.clock, name="tokens",
        lead_ms=LEAD_MS,
    )  # fmt: skip


def _verifier(world: World, keys: TransitKeys) -> AccessTokenVerifier:
    return AccessTokenVerifier(
        issuer="http://127.0.0.1:8642", audience=GATEWAY_AUDIENCE,
        public_jwks=keys.public_jwks, generation=keys.generation, clock_ms=world.clock.now_ms,
    )  # fmt: skip


def _kid(token: str) -> str:
    kid = parse(token)[0].kid
    assert kid is not None
    return kid


async def test_tokens_are_signed_there_and_verified_here(
    world: World, keys: TransitKeys, engine: FakeTransit
) -> None:
    world.service._mint._signer = keys
    token = (await world.service.token(world.form(), world.proof(), TOKEN_URL)).access_token
    assert _verifier(world, keys).verify(token).client_id == "a1"
    [key] = keys.keys()
    assert key.signs
    assert _kid(token) == key.kid
    assert engine.signed[0]["key_version"] == 1


async def test_rotation_publishes_first_and_serves_the_old_key_on(
    world: World, keys: TransitKeys
) -> None:
    verifier = _verifier(world, keys)
    first = await keys.sign({"typ": "at+jwt"}, b"{}")
    world.clock.advance(s=60)
    new = await keys.rotate("root")
    assert not new.signs
    assert set(keys.public_jwks()) == {_kid(first), new.kid}
    world.clock.advance(LEAD_MS - 1)
    assert _kid(await keys.sign({"typ": "x"}, b"{}")) == _kid(first)
    world.clock.advance(1)
    assert _kid(await keys.sign({"typ": "x"}, b"{}")) == new.kid
    generation = keys.generation()
    world.clock.advance(OVERLAP_MS)
    assert keys.generation() != generation
    assert set(keys.public_jwks()) == {new.kid}
    with pytest.raises(BadSignature):
        verifier.verify(first)
    [event] = (await world.events("signing_key.rotated"))[1:]
    assert event["actor_chain"] == ["root"]


async def test_an_emergency_ends_what_the_old_key_signed(world: World, keys: TransitKeys) -> None:
    first = await keys.sign({"typ": "x"}, b"{}")
    world.clock.advance(s=60)
    new = await keys.rotate("root", distrust_old=True)
    assert new.signs
    assert set(keys.public_jwks()) == {new.kid}
    assert _kid(first) != new.kid


async def test_the_keeper_rotates_on_schedule_and_hears_of_others(
    world: World, keys: TransitKeys, engine: FakeTransit
) -> None:
    keeper = KeyKeeper(keys, world.clock, 86_400_000)
    await keeper.turn()
    assert len(keys.keys()) == 1
    other = _keys(world, engine)
    await other.start()
    world.clock.advance(s=86_400)
    await KeyKeeper(other, world.clock, 86_400_000).turn()
    await keeper.turn()
    assert set(keys.public_jwks()) == set(other.public_jwks())
    assert len(keys.keys()) == 2
    await other.close()


@pytest.mark.parametrize("trouble", ["down", "token", "status", "wrong key", "version", "nonsense"])
async def test_without_a_good_signature_there_is_no_token(
    world: World, engine: FakeTransit, keys: TransitKeys, trouble: str
) -> None:
    match trouble:
        case "down":
            engine.close()
        case "token":
            keys._token = lambda: Secret(b"wrong")
        case "status":
            engine.status = 503
        case "wrong key":
            engine.sign_with = ec.generate_private_key(ec.SECP256R1())
        case "version":
            engine.answer_version = 7
        case _:
            engine.body = b"x" * 400_000
    with pytest.raises(Unavailable):
        await keys.sign({"typ": "at+jwt"}, b"{}")
    world.service._mint._signer = keys
    with pytest.raises(Unavailable):
        await world.service.token(world.form(), world.proof(), TOKEN_URL)


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"data":{"type":"ecdsa-p256","keys":{}}}',
                                  b'{"data":{"type":"ecdsa-p256","keys":{"1":{}}}}'])  # fmt: skip
async def test_a_key_set_that_cannot_be_read_starts_nothing(
    world: World, engine: FakeTransit, body: bytes
) -> None:
    engine.body = body
    made = _keys(world, engine)
    with pytest.raises(Unavailable):
        await made.start()
    await made.close()


async def test_another_kind_of_key_is_refused(world: World, engine: FakeTransit) -> None:
    engine.kind = "ed25519"
    made = _keys(world, engine)
    with pytest.raises(Unavailable):
        await made.start()
    await made.close()
