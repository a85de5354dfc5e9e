"""Shared signals: an identity provider's events end rights here, and ours reach our receivers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from tests.fakes.issuer import FakeIssuer, fake_issuer, make_key
from tests.support.broker import ISSUER, OWNER, World, sqlite_world

from cryogate.broker.humans.claims import ClaimRules
from cryogate.broker.humans.federated import FederatedPeople
from cryogate.broker.humans.sessions import HumanSessions
from cryogate.broker.security_events import (
    CAEP,
    CREDENTIAL_CHANGE,
    MEDIA_TYPE,
    SESSION_REVOKED,
    VERIFICATION,
)
from cryogate.broker.ssf_emit import SsfEmitter
from cryogate.broker.ssf_receive import SetRefused, SsfReceiver
from cryogate.domain.decisions import Scalar
from cryogate.domain.errors import Unavailable
from cryogate.domain.secrets import Secret
from cryogate.outbound.addresses import networks
from cryogate.outbound.fetcher import Fetcher
from cryogate.outbound.issuers import IssuerKeys
from cryogate.ports.alerts import Alerts, Severity
from cryogate.ports.clock import monotonic_ms
from cryogate.ports.revocations import RevokedKind
from cryogate.server.endpoints import Public
from cryogate.server.ssf_routes import SsfRoutes
from cryogate.tokens import jws
from cryogate.tokens.errors import WrongToken
from cryogate.tokens.keys import load_public

AUDIENCE = ISSUER + "/ssf/events"
SECRET = "s3cret-of-the-transmitter"
EMAIL = {"format": "email", "email": OWNER}


class Told(Alerts):
    def __init__(self) -> None:
        self.all: list[tuple[str, str]] = []

    def tell(
        self, kind: str, subject: str, severity: Severity, evidence: Mapping[str, Scalar]
    ) -> None:
        self.all.append((kind, subject))


@dataclass
class Scene:
    world: World
    idp: FakeIssuer
    receiver: SsfReceiver
    sessions: HumanSessions
    told: Told

    def set(self, event: str = SESSION_REVOKED, detail: Any = None, **changes: Any) -> str:
        """A SET as an identity provider makes it, to be bent."""
        header = {"typ": "secevent+jwt", **changes.pop("header", {})}
        values = {
            "sub": ..., "exp": ..., "nbf": ..., "iat": self.world.now_s, "jti": "set-1",
            "aud": AUDIENCE, "sub_id": EMAIL,
            "events": {event: {"event_timestamp": self.world.now_s} if detail is None else detail},
            **changes,
        }  # fmt: skip
        return self.idp.token(changes.pop("kid", "k1"), header, **values)

    async def push(self, token: str, authorization: str = f"Bearer {SECRET}") -> None:
        await self.receiver.receive(token, authorization)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with sqlite_world(tmp_path) as world, fake_issuer(tmp_path) as idp:
        fetcher = Fetcher(allowed=networks(["127.0.0.0/8"]), ca_file=idp.ca_file)
        told = Told()
        sessions = HumanSessions(world.store, world.clock, idle_ms=3_600_000, life_ms=3_600_000)
        async with fetcher:
            yield Scene(
                world, idp,
                SsfReceiver(
                    store=world.store, clock=world.clock,
                    keys=IssuerKeys(fetcher, monotonic_ms), revocations=world.revocations,
                    sessions=sessions, alerts=told, issuer=idp.url, audience=AUDIENCE,
                    secret=Secret(SECRET.encode()),
                ),
                sessions, told,
            )  # fmt: skip


@pytest.mark.attack("R1")
@pytest.mark.parametrize(
    ("event", "detail"),
    [(SESSION_REVOKED, {}),
     (CREDENTIAL_CHANGE, {"credential_type": "pin", "change_type": "revoke"}),
     (CREDENTIAL_CHANGE, {"credential_type": "pin", "change_type": "delete"})],
)  # fmt: skip
async def test_what_the_identity_provider_revokes_ends_here(
    scene: Scene, event: str, detail: dict[str, str]
) -> None:
    subject = scene.world.subject((await scene.world.token()).access_token)
    await scene.push(scene.set(event, detail))
    assert scene.world.view.revoked(subject) is RevokedKind.OWNER
    [told] = await scene.world.events("security_event.received")
    assert told["actor_chain"] == [f"ssf:{scene.idp.url}"]
    assert scene.told.all == [("security_event", OWNER)]


async def test_an_older_or_a_complex_subject_is_understood(scene: Scene) -> None:
    older = {"subject": {"format": "email", "email": OWNER.upper()}}
    await scene.push(scene.set(SESSION_REVOKED, older, jti="s1", sub_id=...))
    device = {"format": "opaque", "id": "x"}
    user = {"format": "complex", "user": EMAIL, "device": device}
    await scene.push(scene.set(SESSION_REVOKED, {}, jti="s2", sub_id=user))
    rows = await scene.world.revocations.page()
    assert [(row["kind"], row["subject"]) for row in rows] == [("owner", OWNER)] * 2


async def test_a_set_that_comes_again_does_nothing_again(scene: Scene) -> None:
    token = scene.set()
    for _ in range(3):
        await scene.push(token)
    assert len(await scene.world.revocations.page()) == 1
    assert len(await scene.world.events("security_event.received")) == 1


async def test_a_persons_sessions_end(scene: Scene) -> None:
    rules = ClaimRules("groups", {"admins": "auditor"}, "preferred_username")
    people = FederatedPeople(scene.world.store, scene.world.clock, scene.sessions, rules)
    opening = await people.sign_in(
        scene.idp.url, "u-1", {"preferred_username": "ada", "groups": ["admins"],
                               "email": "ada@example.com", "email_verified": True},
    )  # fmt: skip
    assert await scene.sessions.find(opening.secret) is not None
    about = {"format": "iss_sub", "iss": scene.idp.url, "sub": "u-1"}
    await scene.push(scene.set(SESSION_REVOKED, {}, sub_id=about))
    assert await scene.sessions.find(opening.secret) is None


@pytest.mark.parametrize(
    ("event", "detail", "about"),
    [(CREDENTIAL_CHANGE, {"change_type": "create"}, EMAIL), (VERIFICATION, {"state": "x"}, EMAIL),
     (CAEP + "device-compliance-change", {}, EMAIL),
     (SESSION_REVOKED, {}, {"format": "opaque", "id": "x"}),
     (SESSION_REVOKED, {}, {"format": "iss_sub", "iss": "https://else.example", "sub": "u-1"}),
     (SESSION_REVOKED, {}, {"format": "email", "email": 7})],
)  # fmt: skip
async def test_what_asks_for_nothing_here_is_taken_and_ends_nothing(
    scene: Scene, event: str, detail: dict[str, str], about: dict[str, Any]
) -> None:
    await scene.push(scene.set(event, detail, sub_id=about))
    assert await scene.world.revocations.page() == ()
    assert len(await scene.world.events("security_event.received")) == 1


@pytest.mark.attack("T1", "T2")
@pytest.mark.parametrize(
    ("err", "changes"),
    [("invalid_audience", {"aud": "https://else.example"}), ("invalid_audience", {"aud": ...}),
     ("invalid_issuer", {"iss": "https://else.example"}),
     ("invalid_request", {"header": {"typ": "JWT"}}),
     ("invalid_request", {"header": {"typ": "at+jwt"}}),
     ("invalid_request", {"header": {"jku": "https://else.example/keys"}}),
     ("invalid_request", {"iat": ...}), ("invalid_request", {"iat": 1}),
     ("invalid_request", {"iat": 2**40}), ("invalid_request", {"jti": ...}),
     ("invalid_request", {"jti": ""}), ("invalid_request", {"exp": 2**40}),
     ("invalid_request", {"sub": "ada"}), ("invalid_request", {"events": {}}),
     ("invalid_request", {"events": {SESSION_REVOKED: {}, CREDENTIAL_CHANGE: {}}}),
     ("invalid_request", {"events": {SESSION_REVOKED: "yes"}}),
     ("invalid_request", {"events": [SESSION_REVOKED]})],
)  # fmt: skip
async def test_what_is_no_set_for_us_is_refused_in_the_rfcs_words(
    scene: Scene, err: str, changes: dict[str, Any]
) -> None:
    with pytest.raises(SetRefused) as refused:
        await scene.push(scene.set(**changes))
    assert refused.value.code == err
    assert await scene.world.revocations.page() == ()


async def test_another_key_and_another_sender_are_refused(scene: Scene) -> None:
    token = scene.set()
    scene.idp.keys["k1"] = make_key("RS256", "k1")
    with pytest.raises(SetRefused) as refused:
        await scene.push(token)
    assert refused.value.code == "invalid_key"
    for shown in ("", "Bearer ", f"Bearer {SECRET}x", SECRET, f"Basic {SECRET}"):
        with pytest.raises(SetRefused) as refused:
            await scene.push(scene.set(), shown)
        assert refused.value.code == "authentication_failed"
    with pytest.raises(SetRefused):
        await scene.push("nonsense")


@pytest.mark.attack("P4")
async def test_keys_that_cannot_be_had_make_the_transmitter_come_again(scene: Scene) -> None:
    scene.idp.pages["/keys"] = lambda: (302, {"location": "http://169.254.169.254/"}, b"")
    with pytest.raises(Unavailable):
        await scene.push(scene.set())
    assert await scene.world.revocations.page() == ()


async def test_the_endpoint_answers_as_rfc_8935_says(scene: Scene) -> None:
    class Heard(SsfReceiver):
        def __init__(self) -> None:
            self.seen: list[str] = []

        async def receive(self, token: str, authorization: str) -> None:
            self.seen.append(token)
            if token != "good":
                raise SetRefused("invalid_key", "the signature does not hold")

    endpoints = [e for e in SsfRoutes(Heard(), ISSUER).endpoints() if isinstance(e, Public)]
    app = Starlette(routes=[Route(e.path, e.handler, methods=[e.method]) for e in endpoints])
    sent = {"content-type": MEDIA_TYPE}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=ISSUER) as http:
        assert (await http.post("/ssf/events", content=b"good", headers=sent)).status_code == 202
        answer = await http.post("/ssf/events", content=b"bad", headers=sent)
        assert (answer.status_code, answer.json()["err"]) == (400, "invalid_key")
        answer = await http.post("/ssf/events", content=b"good")
        assert (answer.status_code, answer.json()["err"]) == (400, "invalid_request")
        found = (await http.get("/.well-known/ssf-configuration")).json()
    assert found["issuer"] == ISSUER
    assert found["delivery_methods_supported"] == ["urn:ietf:rfc:8935"]


@dataclass
class Answer:
    status: int


class Inbox:
    """A receiver; it answers what it is told to."""

    def __init__(self) -> None:
        self.answers: list[int | Exception] = []
        self.got: list[tuple[Mapping[str, str], str]] = []

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        assert (method, url) == ("POST", "https://soc.example/events")
        self.got.append((headers, body.decode()))
        answer = self.answers.pop(0) if self.answers else 202
        if isinstance(answer, Exception):
            raise answer
        return Answer(answer)


def emitter(world: World, inbox: Inbox, told: Told) -> SsfEmitter:
    return SsfEmitter(
        store=world.store, clock=world.clock, signer=world.ring, alerts=told, send=inbox.send,
        issuer=ISSUER, url="https://soc.example/events", audience="https://soc.example/events",
        secret=Secret(b"tok"),
    )  # fmt: skip


def opened(world: World, token: str) -> dict[str, Any]:
    header, parts = jws.parse(token)
    assert header.typ == "secevent+jwt"
    key = load_public(world.ring.public_jwks()[header.kid or ""])
    claims: dict[str, Any] = json.loads(parts.verify(header, key, {"ES256"}))
    return claims


async def test_our_revocations_are_told_in_caeps_words(scene: Scene) -> None:
    world, inbox = scene.world, Inbox()
    token = (await world.token()).access_token
    out = emitter(world, inbox, scene.told)
    await out.begin()
    token_id = world.subject(token).token_id
    for kind, name in (
        (RevokedKind.TOKEN, token_id), (RevokedKind.AGENT, "a1"), (RevokedKind.OWNER, OWNER),
        (RevokedKind.KEY, world.agent_key.kid), (RevokedKind.ALL, "*"),
    ):  # fmt: skip
        await world.revocations.revoke(kind, name, "suspicious", "root")
    assert not await out.turn()
    claims = [opened(world, text) for _, text in inbox.got]
    told = [(c["sub_id"], next(iter(c["events"]))) for c in claims]
    assert told[0] == ({"format": "jwt_id", "iss": ISSUER, "jti": token_id}, SESSION_REVOKED)
    assert told[1] == ({"format": "iss_sub", "iss": ISSUER, "sub": "a1"}, SESSION_REVOKED)
    assert told[2] == (EMAIL, SESSION_REVOKED)
    key = {"format": "opaque", "id": f"key:{world.agent_key.kid}"}
    assert (key, CREDENTIAL_CHANGE) in told
    assert told[-1] == ({"format": "opaque", "id": "all:*"}, SESSION_REVOKED)
    assert len({c["jti"] for c in claims}) == len(claims)
    for fields in claims:
        assert fields["aud"] == "https://soc.example/events"
        assert not {"exp", "sub"} & fields.keys()
    headers, text = inbox.got[0]
    assert headers["authorization"] == "Bearer tok"
    assert headers["content-type"] == MEDIA_TYPE
    with pytest.raises(WrongToken):
        world.gateway.verify(text)


async def test_nothing_is_lost_while_the_receiver_is_away(scene: Scene) -> None:
    world, inbox = scene.world, Inbox()
    out = emitter(world, inbox, scene.told)
    await out.begin()
    await world.revocations.revoke(RevokedKind.AGENT, "a1", "r", "root")
    inbox.answers = [Unavailable("away"), 503, 401]
    for _ in range(3):
        with pytest.raises(Unavailable):
            await out.turn()
    again = emitter(world, inbox, scene.told)  # as after a restart
    await again.begin()
    assert not await again.turn()
    jtis = {opened(world, text)["jti"] for _, text in inbox.got}
    assert len(inbox.got) == 4
    assert len(jtis) == 1  # one event, however often it was sent
    await again.turn()
    assert len(inbox.got) == 4


async def test_an_event_that_is_refused_for_good_holds_up_no_other(scene: Scene) -> None:
    world, inbox = scene.world, Inbox()
    out = emitter(world, inbox, scene.told)
    await out.begin()
    await world.revocations.revoke(RevokedKind.AGENT, "a1", "r", "root")
    await world.revocations.revoke(RevokedKind.OWNER, OWNER, "r", "root")
    inbox.answers = [400]
    assert not await out.turn()
    assert len(inbox.got) == 2
    assert scene.told.all == [("security_event_refused", "https://soc.example/events")]


async def test_what_was_before_is_not_told(scene: Scene) -> None:
    world, inbox = scene.world, Inbox()
    await world.revocations.revoke(RevokedKind.AGENT, "a1", "r", "root")
    out = emitter(world, inbox, scene.told)
    await out.begin()
    assert not await out.turn()
    assert inbox.got == []
