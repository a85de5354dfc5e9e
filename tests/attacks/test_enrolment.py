"""How keys come to agents, and what does not get one registered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from tests.support.broker import ISSUER, TOKEN_URL, World, postgres_world, sqlite_world

from cryogate.broker.authn import DAY_MS, ClientAuthenticator, KeyAge
from cryogate.broker.device import (
    DEVICE_CODE,
    INTERVAL_S,
    LIFE_S,
    MAX_PENDING,
    MAX_WRONG,
    DeviceAnswer,
    DeviceFlow,
)
from cryogate.broker.enrolment import Invitations
from cryogate.broker.issue import TokenResponse, TokenService
from cryogate.broker.key_rotation import KeyRotation
from cryogate.broker.metadata import DEVICE_PATH, ENROL_PATH, ROTATE_PATH
from cryogate.broker.oauth import OAuthError
from cryogate.broker.possession import Possession
from cryogate.domain.errors import Conflict, Forbidden, NotFound
from cryogate.governance.denials import RecentDenials
from cryogate.tokens.assertion import ASSERTION_TYPE
from cryogate.tokens.keys import SigningKey, generate

ENROL, ROTATE, DEVICE = (ISSUER + path for path in (ENROL_PATH, ROTATE_PATH, DEVICE_PATH))
ROOT = "operator:root"


class Enrolment:
    """A broker and everything that registers keys."""

    def __init__(self, world: World) -> None:
        self.world = world
        possession = Possession(world.proofs)
        self.clients = ClientAuthenticator(
            world.store, world.clock, ISSUER, key_age=KeyAge(90 * DAY_MS, 14 * DAY_MS)
        )
        self.invitations = Invitations(world.store, world.clock, possession)
        self.rotation = KeyRotation(world.store, world.clock, self.clients, possession)
        self.devices = DeviceFlow(world.store, world.clock, possession, ISSUER + "/device")
        self.service = TokenService(
            store=world.store, policy=world.policy, signer=world.ring, clients=self.clients,
            proofs=world.proofs, clock=world.clock, issuer=ISSUER, denials=RecentDenials(),
            devices=self.devices,
        )  # fmt: skip

    async def enrol(self, code: str, key: SigningKey | None = None) -> str:
        proof = self.world.proof(key or generate(), htu=ENROL)
        return (await self.invitations.enrol({"code": code}, proof, ENROL)).agent_id

    async def rotate(self, old: SigningKey, new: SigningKey, **changes: str) -> None:
        form = {
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self.world.assertion(key=old),
            **changes,
        }
        await self.rotation.rotate(form, self.world.proof(new, htu=ROTATE), ROTATE)

    async def token(self, key: SigningKey) -> TokenResponse:
        form = self.world.form(client_assertion=self.world.assertion(key=key))
        return await self.service.token(form, self.world.proof(key), TOKEN_URL)

    async def start(self, key: SigningKey, name: str = "desk") -> DeviceAnswer:
        return await self.devices.start(
            {"client_id": name}, self.world.proof(key, htu=DEVICE), DEVICE, "192.0.2.7"
        )

    async def poll(self, key: SigningKey, answer: DeviceAnswer, **changes: Any) -> TokenResponse:
        form = {"grant_type": DEVICE_CODE, "device_code": answer.device_code, "client_id": "desk",
                "authorization_details": self.world.form()["authorization_details"],
                **changes}  # fmt: skip
        return await self.service.token(form, self.world.proof(key), TOKEN_URL)

    async def polled(self, key: SigningKey, answer: DeviceAnswer, **changes: Any) -> str:
        with pytest.raises(OAuthError) as caught:
            await self.poll(key, answer, **changes)
        return caught.value.error


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Enrolment]:
    async with sqlite_world(tmp_path) as world:
        yield Enrolment(world)


@pytest.fixture(params=["sqlite", "postgres"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AbstractAsyncContextManager[World]:
    if request.param == "sqlite":
        return sqlite_world(tmp_path)
    return postgres_world(request.getfixturevalue("postgres_dsn"))


@pytest.fixture
async def each(opened: AbstractAsyncContextManager[World]) -> AsyncIterator[Enrolment]:
    async with opened as world:
        yield Enrolment(world)


# -- one-time codes --------------------------------------------------------------------------


async def test_a_code_registers_one_key_once(each: Enrolment) -> None:
    code = (await each.invitations.invite("a1", 3600, actor=ROOT)).code
    keys = [generate() for _ in range(5)]
    answers = await asyncio.gather(*(each.enrol(code, k) for k in keys), return_exceptions=True)
    assert [a for a in answers if a == "a1"] == ["a1"]
    refused = [a for a in answers if isinstance(a, OAuthError)]
    assert [r.error for r in refused] == ["invalid_grant"] * 4
    registered = [
        k for k in keys if k.kid in {c.kid for c in await each.world.client_keys.list("a1")}
    ]
    assert len(registered) == 1
    assert (await each.token(registered[0])).token_type == "DPoP"
    [event] = await each.world.events("agent.enrolled")
    assert code.rsplit("-", 1)[1] not in str(event)


async def test_wrong_codes_all_get_one_answer_and_spend_nothing(made: Enrolment) -> None:
    code = (await made.invitations.invite("a1", 60, actor=ROOT)).code
    place, secret = code.rsplit("-", 1)
    said = set()
    for wrong in ("", "x", code + "0", code.upper(), f"{place}-{secret[:-1]}0"[:-1] + "z",
                  f"cg-{'0' * 10}-{secret}", f"{place}-{'0' * 26}", secret):  # fmt: skip
        if wrong == code:
            continue
        with pytest.raises(OAuthError) as caught:
            await made.enrol(wrong)
        said.add((caught.value.error, caught.value.description, caught.value.status))
    assert len(said) == 1
    with pytest.raises(OAuthError):  # no proof of the key
        await made.invitations.enrol({"code": code}, None, ENROL)
    with pytest.raises(OAuthError):  # a proof for another place
        await made.invitations.enrol({"code": code}, made.world.proof(generate()), ENROL)
    assert await made.enrol(code) == "a1"


async def test_a_code_ends_with_its_time_and_with_its_agent(made: Enrolment) -> None:
    late = (await made.invitations.invite("a1", 60, actor=ROOT)).code
    made.world.clock.advance(60_000)
    with pytest.raises(OAuthError):
        await made.enrol(late)
    code = (await made.invitations.invite("a1", 60, actor=ROOT)).code
    await made.world.registry.update_agent("a1", active=False, actor=ROOT)
    with pytest.raises(OAuthError):
        await made.enrol(code)
    with pytest.raises(Conflict):
        await made.invitations.invite("a1", 60, actor=ROOT)


async def test_a_key_of_another_client_is_not_enrolled(made: Enrolment) -> None:
    code = (await made.invitations.invite("a1", 60, actor=ROOT)).code
    with pytest.raises(OAuthError):
        await made.enrol(code, made.world.operator_key)
    assert await made.enrol(code) == "a1"


async def test_an_invitation_can_make_its_agent(made: Enrolment) -> None:
    draft = made.world.registry.draft_agent(
        agent_id="new", owner="bob@example.com", tier="sandbox", actor=ROOT
    )
    code = (await made.invitations.invite("new", 60, actor=ROOT, draft=draft)).code
    assert await made.enrol(code) == "new"
    with pytest.raises(Conflict):
        await made.invitations.invite("new", 60, actor=ROOT, draft=draft)
    with pytest.raises(NotFound):
        await made.invitations.invite("nobody", 60, actor=ROOT)


# -- rotation --------------------------------------------------------------------------------


async def test_an_agent_replaces_its_key_with_proof_of_both(each: Enrolment) -> None:
    old, new = each.world.agent_key, generate()
    before = await each.token(old)
    await each.rotate(old, new)
    assert [k.kid for k in await each.world.client_keys.list("a1")] == [new.kid]
    assert (await each.token(new)).access_token
    with pytest.raises(OAuthError):
        await each.token(old)
    # what is under way does not die of it
    assert each.world.view.revoked(each.world.subject(before.access_token)) is None


async def test_neither_key_alone_replaces_anything(made: Enrolment) -> None:
    old, new, thief = made.world.agent_key, generate(), generate()
    for first, second in ((thief, new), (old, old)):
        with pytest.raises(OAuthError):
            await made.rotate(first, second)
    form = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": made.world.assertion()}
    with pytest.raises(OAuthError):
        await made.rotation.rotate(form, None, ROTATE)
    with pytest.raises(OAuthError):  # a proof that was made for a token
        await made.rotation.rotate(form, made.world.proof(new), ROTATE)
    with pytest.raises(OAuthError):  # somebody else's key
        await made.rotate(old, made.world.operator_key)
    assert [k.kid for k in await made.world.client_keys.list("a1")] == [old.kid]


async def test_an_assertion_rotates_once(made: Enrolment) -> None:
    assertion = made.world.assertion()
    await made.rotate(made.world.agent_key, generate(), client_assertion=assertion)
    with pytest.raises(OAuthError):
        await made.rotate(made.world.agent_key, generate(), client_assertion=assertion)


@pytest.mark.attack("T12")
async def test_a_key_warns_before_it_is_refused_for_its_age(made: Enrolment) -> None:
    key = made.world.agent_key
    await made.world.run("broker_test_prolong", closes_ms=made.world.clock.now_ms() + 10**11)
    assert (await made.token(key)).client_key_expires_in is None
    made.world.clock.advance(76 * DAY_MS - 1)
    assert (await made.token(key)).client_key_expires_in is None
    made.world.clock.advance(1)
    assert (await made.token(key)).client_key_expires_in == 14 * 86_400
    made.world.clock.advance(14 * DAY_MS - 1)
    assert (await made.token(key)).client_key_expires_in in (0, 1)
    made.world.clock.advance(1)
    with pytest.raises(OAuthError) as caught:
        await made.token(key)
    assert caught.value.error == "invalid_client"
    with pytest.raises(OAuthError):
        await made.rotate(key, generate())


# -- device flow -----------------------------------------------------------------------------


async def _approved(made: Enrolment, answer: DeviceAnswer) -> None:
    await made.devices.approve(answer.user_code, "a1", actor=ROOT)


@pytest.mark.attack("T10")
async def test_a_device_waits_for_a_person_and_then_holds_its_own_key(each: Enrolment) -> None:
    key = generate()
    answer = await each.start(key)
    each.world.clock.advance(INTERVAL_S * 1000)
    assert await each.polled(key, answer) == "authorization_pending"
    seen = await each.devices.look(answer.user_code.lower().replace("-", " "), actor=ROOT)
    assert (seen.client_id, seen.kid, seen.address) == ("desk", key.kid, "192.0.2.7")
    await _approved(each, answer)
    token = await each.poll(key, answer)
    assert (token.token_type, token.client_id) == ("DPoP", "a1")
    assert await each.polled(key, answer) == "invalid_grant"  # replayed
    assert (await each.token(key)).access_token  # an ordinary client from now on
    [event] = await each.world.events("device.approved")
    assert event["actor_chain"] == [ROOT]


@pytest.mark.attack("T10")
async def test_a_device_code_is_nothing_without_its_key(made: Enrolment) -> None:
    key = generate()
    answer = await made.start(key)
    await _approved(made, answer)
    assert await made.polled(generate(), answer) == "invalid_grant"
    for guess in ("", "x", "A" * 43, answer.device_code[:-1] + "_"):
        if guess != answer.device_code:
            assert await made.polled(key, answer, device_code=guess) == "invalid_grant"
    assert await made.polled(key, answer, client_id="other") == "invalid_grant"
    assert (await made.poll(key, answer)).client_id == "a1"


@pytest.mark.attack("T10")
async def test_polling_too_fast_makes_the_interval_longer(made: Enrolment) -> None:
    key = generate()
    answer = await made.start(key)
    made.world.clock.advance(INTERVAL_S * 1000 - 1)
    assert await made.polled(key, answer) == "slow_down"
    made.world.clock.advance(INTERVAL_S * 1000)
    assert await made.polled(key, answer) == "slow_down"
    made.world.clock.advance((INTERVAL_S + 10) * 1000)
    assert await made.polled(key, answer) == "authorization_pending"


@pytest.mark.attack("T10")
async def test_a_code_expires_is_denied_and_is_decided_once(made: Enrolment) -> None:
    key = generate()
    answer = await made.start(key)
    await made.devices.deny(answer.user_code, actor=ROOT)
    assert await made.polled(key, answer) == "access_denied"
    with pytest.raises(NotFound):
        await _approved(made, answer)
    again = await made.start(key)
    made.world.clock.advance(LIFE_S * 1000)
    assert await made.polled(key, again) == "expired_token"
    with pytest.raises(NotFound):
        await _approved(made, again)
    assert key.kid not in {k.kid for k in await made.world.client_keys.list("a1")}


@pytest.mark.attack("T10")
async def test_user_codes_cannot_be_tried_out(made: Enrolment) -> None:
    answer = await made.start(generate())
    for _ in range(MAX_WRONG):
        with pytest.raises(NotFound):
            await made.devices.look("BBBB-BBBB", actor=ROOT)
    with pytest.raises(Forbidden):
        await made.devices.look(answer.user_code, actor=ROOT)
    made.world.clock.advance(60_000)
    assert (await made.devices.look(answer.user_code, actor=ROOT)).client_id == "desk"


@pytest.mark.attack("T10")
async def test_only_so_many_devices_wait(made: Enrolment) -> None:
    key = generate()
    for _ in range(MAX_PENDING):
        await made.start(key)
    with pytest.raises(OAuthError) as caught:
        await made.start(key)
    assert caught.value.status == 503
    made.world.clock.advance(LIFE_S * 1000)
    await made.start(key)


async def test_without_a_proof_no_device_waits(made: Enrolment) -> None:
    with pytest.raises(OAuthError):
        await made.devices.start({"client_id": "desk"}, None, DEVICE, "")
    for name in ("", "Desk", "operator:root", "../x", "desk\u202e"):
        with pytest.raises(OAuthError):
            await made.start(generate(), name)
