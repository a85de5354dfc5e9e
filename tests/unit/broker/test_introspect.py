"""Introspection, metadata and forms."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from tests.support.broker import ISSUER, World

from cryogate.broker.metadata import metadata
from cryogate.broker.oauth import OAuthError, read_form
from cryogate.ports.revocations import RevokedKind, StaleRevocations
from cryogate.tokens import jws
from cryogate.tokens.assertion import ASSERTION_TYPE
from cryogate.tokens.errors import WrongToken
from cryogate.tokens.keys import generate, load_public

ENDPOINT = ISSUER + "/oauth2/introspect"


async def _ask(world: World, token: str, assertion: str | None = None) -> Mapping[str, object]:
    form = {
        "token": token,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion or world.assertion(),
    }
    _, answer = await world.introspection.introspect(form, ENDPOINT)
    return answer


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
     "&".join(f"f{n}=1" for n in range(33)).encode()],
)  # fmt: skip
def test_hostile_forms(body: bytes) -> None:
    with pytest.raises(OAuthError):
        read_form(body)


def test_a_form_is_read_once_and_errors_are_printable() -> None:
    assert read_form(b"a=1&b=%2B+x&c=") == {"a": "1", "b": "+ x", "c": ""}
    error = OAuthError("invalid_request", 'say "\\\u2028\n')
    assert error.document()["error_description"] == "say '''''"[: len("say '''''") - 1]
    assert error.headers()["cache-control"] == "no-store"


@pytest.mark.attack("T2")
async def test_a_signed_answer_is_for_who_asked_and_is_no_access_token(world: World) -> None:
    token = (await world.token()).access_token
    answer = await _ask(world, token)
    text = await world.introspection.signed(answer, "a1")
    header, parts = jws.parse(text)
    assert header.typ == "token-introspection+jwt"
    key = load_public(world.ring.public_jwks()[header.kid or ""])
    claims = json.loads(parts.verify(header, key, {"ES256"}))
    assert claims["iss"] == ISSUER
    assert claims["aud"] == "a1"
    assert claims["token_introspection"] == json.loads(json.dumps(answer))
    assert not {"sub", "exp"} & claims.keys()  # RFC 9701 section 5: it must not pass for a token
    with pytest.raises(WrongToken):
        world.gateway.verify(text)


async def test_an_operators_token_asks_without_a_write(world: World) -> None:
    token = (await world.token()).access_token
    assert world.introspection.look({"token": token})["active"] is True
    assert world.introspection.look({"token": "x"}) == {"active": False}
    for form in ({}, {"token": ""}, {"token": token, "client_id": "a1"}):
        with pytest.raises(OAuthError):
            world.introspection.look(form)
