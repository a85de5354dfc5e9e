"""Introspection, metadata and forms."""

from __future__ import annotations

import pytest
from tests.support.broker import ISSUER, World

from cryogate.broker.metadata import metadata
from cryogate.broker.oauth import OAuthError, read_form
from cryogate.ports.revocations import RevokedKind, StaleRevocations
from cryogate.tokens.assertion import ASSERTION_TYPE
from cryogate.tokens.keys import generate

ENDPOINT = ISSUER + "/oauth2/introspect"


async def _ask(world: World, token: str, assertion: str | None = None) -> dict[str, object]:
    form = {
        "token": token,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion or world.assertion(),
    }
    return await world.introspection.introspect(form, ENDPOINT)


def _root(world: World) -> str:
    return world.assertion(key=world.operator_key, client_id="operator:root")


async def test_the_truth_for_its_own_client_and_for_operators(world: World) -> None:
    token = (await world.token()).access_token
    mine = await _ask(world, token)
    assert mine == await _ask(world, token, _root(world))
    assert mine["active"] is True
    assert mine["sub"] == "a1"
    assert mine["cnf"] == {"jkt": world.agent_key.kid}
    admin = (await world.admin_token()).access_token
    assert (await _ask(world, admin, _root(world)))["scope"] == "admin"


async def test_nothing_for_anybody_else(world: World) -> None:
    token, admin = (await world.token()).access_token, (await world.admin_token()).access_token
    key = generate()
    await world.registry.create_agent(
        agent_id="a2", owner="bob", tier="standard", jwk=key.public.jwk(), actor="root"
    )
    inactive = {"active": False}
    assert await _ask(world, token, world.assertion(key=key, client_id="a2")) == inactive
    assert await _ask(world, admin) == inactive
    assert await _ask(world, "nonsense") == inactive
    assert await _ask(world, token[:-4] + "AAAA") == inactive


async def test_expired_and_revoked_tokens_are_inactive(world: World) -> None:
    token = (await world.token()).access_token
    other = world.subject((await world.token()).access_token)
    await world.revocations.revoke(RevokedKind.TOKEN, other.token_id, "r", "root")
    assert (await _ask(world, token))["active"] is True
    subject = world.subject(token)
    await world.revocations.revoke(RevokedKind.TOKEN, subject.token_id, "r", "root")
    assert await _ask(world, token) == {"active": False}
    third = (await world.token()).access_token
    world.clock.advance(s=300)
    assert await _ask(world, third) == {"active": False}


async def test_an_inactive_agent_learns_nothing(world: World) -> None:
    token = (await world.token()).access_token
    await world.registry.update_agent("a1", actor="root", active=False)
    assert await _ask(world, token) == {"active": False}


@pytest.mark.attack("R3")
async def test_a_stale_view_says_nothing(world: World) -> None:
    token = (await world.token()).access_token
    world.ticks.ms += 60_000
    with pytest.raises(StaleRevocations):
        await _ask(world, token)


async def test_an_assertion_is_good_once_here_too(world: World) -> None:
    assertion = world.assertion()
    await _ask(world, "x", assertion)
    with pytest.raises(OAuthError):
        await _ask(world, "x", assertion)
    with pytest.raises(OAuthError):
        await world.token(client_assertion=assertion)


def test_metadata_names_what_there_is() -> None:
    document = metadata(ISSUER, ("client_credentials",))
    assert document["token_endpoint"] == ISSUER + "/oauth2/token"
    assert document["introspection_endpoint"] == ENDPOINT
    assert "none" not in str(document)


@pytest.mark.parametrize(
    "body",
    [b"a=1&a=2", b"a", b"a=1&&b=2", b"\xff=1", b"a=%ff", b"a=1;b=2&c" , b"x=" + b"y" * 40_000,
     "&".join(f"f{n}=1" for n in range(17)).encode()],
)  # fmt: skip
def test_hostile_forms(body: bytes) -> None:
    with pytest.raises(OAuthError):
        read_form(body)


def test_a_form_is_read_once_and_errors_are_printable() -> None:
    assert read_form(b"a=1&b=%2B+x&c=") == {"a": "1", "b": "+ x", "c": ""}
    error = OAuthError("invalid_request", 'say "\\\u2028\n')
    assert error.document()["error_description"] == "say '''''"[: len("say '''''") - 1]
    assert error.headers()["cache-control"] == "no-store"
