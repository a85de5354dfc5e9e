"""Client assertions that must not be accepted (RFC 7523)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jwk as jose
from joserfc import jws as jose_jws
from tests.support.broker import ISSUER, TOKEN_URL, World, sqlite_world
from tests.support.tokens import compact

from cryogate.broker.oauth import OAuthError
from cryogate.tokens.assertion import ASSERTION_TYPE
from cryogate.tokens.keys import generate


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with sqlite_world(tmp_path) as made:
        yield made


def _claims(world: World, **changes: Any) -> dict[str, Any]:
    values = {
        "iss": "a1", "sub": "a1", "aud": ISSUER, "exp": world.now_s + 60, "iat": world.now_s,
        "jti": generate().kid, **changes,
    }  # fmt: skip
    return {name: value for name, value in values.items() if value is not ...}


def _made(world: World, header: dict[str, Any] | None = None, **changes: Any) -> str:
    head = {"typ": "JWT", "alg": "ES256", "kid": world.agent_key.kid, **(header or {})}
    return compact(
        {k: v for k, v in head.items() if v is not ...}, _claims(world, **changes), world.agent_key
    )


async def _refused(world: World, assertion: str, **changes: str) -> OAuthError:
    with pytest.raises(OAuthError) as caught:
        await world.token(client_assertion=assertion, **changes)
    return caught.value


async def test_accepted_forms(world: World) -> None:
    for header in ({}, {"typ": ...}, {"typ": "client-authentication+jwt"}, {"kid": ...}):
        await world.token(client_assertion=_made(world, header))
    await world.token(client_assertion=_made(world, aud=TOKEN_URL))
    await world.token(client_assertion=_made(world, nbf=world.now_s, other="ignored"))
    await world.token(client_assertion=_made(world), client_id="a1")


@pytest.mark.attack("T1", "T2")
@pytest.mark.parametrize(
    "header",
    [{"alg": "none"}, {"alg": "HS256"}, {"alg": "ES384"}, {"alg": "EdDSA"}, {"typ": "at+jwt"},
     {"typ": "dpop+jwt"}, {"jku": "https://evil.example"}, {"crit": ["exp"]}, {"kid": "other"},
     {"jwk": generate().public.jwk()}],
)  # fmt: skip
async def test_headers(world: World, header: dict[str, Any]) -> None:
    assert (await _refused(world, _made(world, header))).error == "invalid_client"


@pytest.mark.attack("T3", "T12")
@pytest.mark.parametrize(
    "change",
    [
        {"aud": "https://other.example"}, {"aud": [ISSUER]}, {"aud": [ISSUER, "x"]}, {"aud": ...},
        {"aud": ISSUER + "/"}, {"aud": ISSUER + "/oauth2/revoke"}, {"iss": "a2"}, {"sub": "a2"},
        {"iss": ISSUER}, {"exp": ...}, {"exp": "9999999999"}, {"jti": ...}, {"jti": ""},
        {"jti": "j" * 129}, {"sub": ..., "iss": ...},
    ],
)  # fmt: skip
async def test_claims(world: World, change: dict[str, Any]) -> None:
    assert (await _refused(world, _made(world, **change))).error == "invalid_client"


@pytest.mark.attack("T12")
async def test_times(world: World) -> None:
    now = world.now_s
    changes: tuple[dict[str, Any], ...] = (
        {"exp": now}, {"exp": now - 1}, {"exp": now + 306}, {"iat": now + 6}, {"nbf": now + 6},
    )  # fmt: skip
    for change in changes:
        assert (await _refused(world, _made(world, **change))).error == "invalid_client"
    await world.token(client_assertion=_made(world, exp=now + 300))


@pytest.mark.attack("T5")
async def test_an_assertion_is_good_once(world: World) -> None:
    assertion = _made(world)
    await world.token(client_assertion=assertion)
    refusal = await _refused(world, assertion)
    assert refusal.error == "invalid_client"
    assert len(await world.store.fetch(
        "tokens_by_agent", {"agent_id": "a1", "before_ms": 2**60, "limit": 9}
    )) == 1  # fmt: skip
    assert (await world.events("token.refused"))[0]["decision_reasons"][0] == "invalid_client"


async def test_strangers_learn_nothing_about_who_exists(world: World) -> None:
    stranger = generate()
    answers = [
        (await _refused(world, world.assertion(key=stranger, client_id=name))).document()
        for name in ("a1", "nobody", "operator:root", "operator:nobody", "NOT A NAME")
    ]
    answers.append((await _refused(world, "x.y.z")).document())
    answers.append((await _refused(world, _made(world), client_id="a2")).document())
    assert all(answer == answers[0] for answer in answers)


async def test_a_key_speaks_for_its_own_client_only(world: World) -> None:
    theirs = world.assertion(key=world.operator_key)
    assert (await _refused(world, theirs)).error == "invalid_client"
    mine = world.assertion(client_id="operator:root")
    with pytest.raises(OAuthError):
        await world.service.token(world.admin_form(client_assertion=mine), world.proof(), TOKEN_URL)


async def test_without_an_assertion(world: World) -> None:
    form = world.form()
    for change in (
        {"client_assertion_type": "x"}, {"client_assertion_type": ASSERTION_TYPE + " "}
    ):  # fmt: skip
        with pytest.raises(OAuthError) as caught:
            await world.service.token({**form, **change}, world.proof(), TOKEN_URL)
        assert caught.value.error == "invalid_request"
    del form["client_assertion"]
    with pytest.raises(OAuthError):
        await world.service.token(form, world.proof(), TOKEN_URL)


@pytest.mark.parametrize("alg", ["RS256", "PS256", "Ed25519"])
async def test_clients_may_bring_other_kinds_of_keys(world: World, alg: str) -> None:
    key: Any
    if alg == "Ed25519":
        key = jose.OKPKey.generate_key("Ed25519")
    else:
        key = jose.RSAKey.import_key(rsa.generate_private_key(65537, 2048))
    await world.client_keys.add("a1", dict(key.as_dict(private=False)), actor="root")
    assertion = jose_jws.serialize_compact(
        dict[str, Any](alg=alg), json.dumps(_claims(world)), key, algorithms=[alg]
    )
    await world.token(client_assertion=assertion)
