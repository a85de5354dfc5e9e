"""Status lists: one place for each token, and bits that say what the view says."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest
from tests.support.broker import ISSUER, OWNER, World

from cryogate.broker.status_list import PLACES, TYPE, StatusLists, StatusPlaces
from cryogate.ports.revocations import RevokedKind
from cryogate.tokens import jws
from cryogate.tokens.errors import WrongToken
from cryogate.tokens.keys import load_public


def place_of(token: str) -> tuple[str, int]:
    """What a verifier reads in a token, without any code of ours."""
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    found = claims["status"]["status_list"]
    return found["uri"], found["idx"]


def read_list(text: str, world: World) -> dict[str, Any]:
    header, parts = jws.parse(text)
    assert header.typ == TYPE
    key = load_public(world.ring.public_jwks()[header.kid or ""])
    claims: dict[str, Any] = json.loads(parts.verify(header, key, {"ES256"}))
    return claims


def bit(claims: dict[str, Any], index: int) -> int:
    assert claims["status_list"]["bits"] == 1
    packed = claims["status_list"]["lst"]
    raw = zlib.decompress(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
    assert len(raw) == PLACES // 8
    return raw[index // 8] >> index % 8 & 1


async def fresh(world: World, list_id: int) -> dict[str, Any]:
    """A list as it is made now, whatever is kept."""
    lists = StatusLists(world.store, world.ring, world.view, world.clock, ISSUER)
    text = await lists.token(list_id)
    assert text is not None
    return read_list(text, world)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(RevokedKind.TOKEN, ""), (RevokedKind.AGENT, "a1"), (RevokedKind.ALL, "*"),
     (RevokedKind.KEY, ""), (RevokedKind.EXPERIMENT, "e1"), (RevokedKind.OWNER, OWNER)],
)  # fmt: skip
async def test_a_bit_says_what_the_view_says(
    each_world: World, kind: RevokedKind, name: str
) -> None:
    world = each_world
    one, other = [(await world.token()).access_token for _ in range(2)]
    (where, place), (_, neighbour) = place_of(one), place_of(other)
    list_id = int(where.rpartition("/")[2])
    assert where == f"{ISSUER}/oauth2/status/{list_id}"
    before = await fresh(world, list_id)
    assert before["sub"] == where
    assert before["iss"] == ISSUER
    assert before["exp"] > before["iat"] == world.now_s
    assert (bit(before, place), bit(before, neighbour)) == (0, 0)
    if kind is RevokedKind.TOKEN:
        name = world.subject(one).token_id
    elif kind is RevokedKind.KEY:
        name = world.agent_key.kid
    await world.revocations.revoke(kind, name, "r", "root")
    after = await fresh(world, list_id)
    for token in (one, other):
        said = world.view.revoked(world.subject(token)) is not None
        assert bit(after, place_of(token)[1]) == int(said)
    assert (bit(after, place), bit(after, neighbour)) == (1, int(kind is not RevokedKind.TOKEN))


async def test_no_two_tokens_share_a_place(world: World) -> None:
    places = StatusPlaces(world.store, world.clock, ISSUER)
    seen = {await places.next() for _ in range(PLACES + 100)}
    assert len(seen) == PLACES + 100
    assert len({list_id for list_id, _ in seen}) == 2
    other = StatusPlaces(world.store, world.clock, ISSUER)
    assert (await other.next())[0] not in {list_id for list_id, _ in seen}


async def test_a_list_is_made_once_for_everybody(world: World) -> None:
    token = (await world.token()).access_token
    list_id = int(place_of(token)[0].rpartition("/")[2])
    assert await world.lists.token(list_id) is (await world.lists.token(list_id))
    assert await world.lists.token(list_id + 7) is None
    assert await world.lists.lists() == (place_of(token)[0],)
    world.clock.advance(s=3600)
    assert await world.lists.lists() == ()


@pytest.mark.attack("T2")
async def test_a_status_list_is_no_access_token(world: World) -> None:
    token = (await world.token()).access_token
    text = await world.lists.token(int(place_of(token)[0].rpartition("/")[2]))
    assert text is not None
    for verifier in (world.gateway, world.admin):
        with pytest.raises(WrongToken):
            verifier.verify(text)


async def test_who_is_let_in_again_gets_a_token_that_is_good_in_the_list(world: World) -> None:
    old = (await world.token()).access_token
    await world.revocations.revoke(RevokedKind.AGENT, "a1", "r", "root")
    await world.registry.update_agent("a1", actor="root", active=True)
    new = (await world.token()).access_token
    (where, before), (_, after) = place_of(old), place_of(new)
    claims = await fresh(world, int(where.rpartition("/")[2]))
    assert (bit(claims, before), bit(claims, after)) == (1, 0)
