"""The key ring: sealed, rotated with overlap, published before it signs."""

from __future__ import annotations

import json

import pytest
from tests.support.broker import PlainSealer, World

from cryogate.broker.keys import KeyRing
from cryogate.domain.errors import Unavailable
from cryogate.domain.secrets import Secret
from cryogate.ports.keys import OVERLAP_MS
from cryogate.ports.store import StoreUnavailable
from cryogate.tokens.errors import BadSignature
from cryogate.tokens.jws import parse

pytestmark = pytest.mark.attack("T11")


async def test_keys_survive_a_restart_and_rest_sealed(each_world: World) -> None:
    world = each_world
    token = (await world.token()).access_token
    again = KeyRing(world.store, PlainSealer(), world.clock)
    await again.start()
    assert again.public_jwks() == world.ring.public_jwks()
    assert '"d"' not in json.dumps(again.document())
    world.verifier("qpu-gateway").verify(token)


async def test_a_retired_key_is_served_until_its_last_token_is_over(each_world: World) -> None:
    world = each_world
    [first] = world.ring.keys()
    token = (await world.token()).access_token
    generation = world.ring.generation()
    second = await world.ring.rotate("root")
    assert second.signs
    assert world.ring.generation() != generation
    world.gateway.verify(token)
    assert set(world.ring.public_jwks()) == {first.kid, second.kid}
    world.gateway.verify((await world.token()).access_token)
    world.clock.advance(OVERLAP_MS - 1)
    assert first.kid in world.ring.public_jwks()
    generation = world.ring.generation()
    world.clock.advance(1)
    assert world.ring.generation() != generation
    assert set(world.ring.public_jwks()) == {second.kid}
    [event] = (await world.events("signing_key.rotated"))[1:]
    assert event["actor_chain"] == ["root"]


async def test_a_distrusted_key_ends_its_tokens_at_once(world: World) -> None:
    token = (await world.token()).access_token
    world.gateway.verify(token)
    await world.ring.rotate("root", distrust_old=True)
    with pytest.raises(BadSignature):
        world.gateway.verify(token)
    world.gateway.verify((await world.token()).access_token)


async def test_a_new_key_is_known_everywhere_before_it_signs(each_world: World) -> None:
    world = each_world
    here, there = (
        KeyRing(world.store, PlainSealer(), world.clock, lead_ms=30_000) for _ in range(2)
    )
    await here.start()
    await there.start()
    [old] = here.keys()
    new = await here.rotate("root")
    assert not new.signs
    world.clock.advance(29_999)
    assert _kid(await here.sign({}, b"x")) == old.kid
    await there.refresh()
    world.clock.advance(1)
    assert _kid(await here.sign({}, b"x")) == _kid(await there.sign({}, b"x")) == new.kid
    assert set(there.public_jwks()) == {old.kid, new.kid}


async def test_another_master_key_or_an_exchanged_row_is_refused(world: World) -> None:
    class Other(PlainSealer):
        def open(self, sealed: str, context: str) -> Secret:
            raise ValueError("another master key")

    with pytest.raises(StoreUnavailable, match="master key"):
        await KeyRing(world.store, Other(), world.clock).start()
    [key] = world.ring.keys()
    await world.ring.rotate("root")
    await world.run("broker_test_swap_seals", kid=key.kid)
    with pytest.raises(StoreUnavailable):
        await KeyRing(world.store, PlainSealer(), world.clock).start()


async def test_without_a_key_nothing_is_signed(world: World) -> None:
    with pytest.raises(Unavailable):
        await KeyRing(world.store, PlainSealer(), world.clock).sign({}, b"x")


def _kid(token: str) -> str:
    kid = parse(token)[0].kid
    assert kid is not None
    return kid
