"""A whole broker over one store: an agent ``a1``, an experiment ``e1``, an operator ``root``."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cryogate.broker.authn import ClientAuthenticator
from cryogate.broker.client_keys import ClientKeys
from cryogate.broker.introspect import Introspection
from cryogate.broker.issue import TokenResponse, TokenService
from cryogate.broker.keys import KeyRing
from cryogate.broker.registry import Registry
from cryogate.broker.revocation_view import FollowedRevocations
from cryogate.broker.revoke import RevocationService
from cryogate.broker.status_list import StatusLists, StatusPlaces
from cryogate.domain.agents import Role
from cryogate.domain.secrets import Secret
from cryogate.governance.denials import RecentDenials
from cryogate.ports.credentials import Sealer
from cryogate.ports.revocations import Subject
from cryogate.ports.store import SqlValue, Statement, Store, UnitOfWork
from cryogate.storage import PostgresStore, SqliteStore
from cryogate.storage.statements import SQL_DIR
from cryogate.testing.clock import FakeClock
from cryogate.testing.policy import FakePolicy
from cryogate.tokens.access import ADMIN_AUDIENCE, GATEWAY_AUDIENCE, AccessTokenVerifier
from cryogate.tokens.assertion import ASSERTION_TYPE, make_assertion
from cryogate.tokens.dpop import ProofVerifier, make_proof
from cryogate.tokens.guard import ResourceGuard
from cryogate.tokens.keys import SigningKey, generate
from cryogate.tokens.nonces import NonceSource
from cryogate.tokens.replay import ReplayWindow

ISSUER = "http://127.0.0.1:8642"
TOKEN_URL = ISSUER + "/oauth2/token"
RESOURCE = ISSUER + "/v1/jobs"
OWNER = "alice@example.com"


class PlainSealer(Sealer):
    """Binds the context and hides nothing: for tests of who may open what."""

    def seal(self, value: Secret, context: str) -> str:
        return base64.b64encode(context.encode() + b"\0" + value.reveal()).decode()

    def open(self, sealed: str, context: str) -> Secret:
        bound, _, value = base64.b64decode(sealed).partition(b"\0")
        if bound != context.encode():
            raise ValueError("sealed for something else")
        return Secret(value)


class Ticks:
    """A monotonic clock that moves when told."""

    def __init__(self) -> None:
        self.ms = 0

    def __call__(self) -> int:
        return self.ms


class World:
    """Every service of the broker, and helpers that act as its clients."""

    def __init__(self, store: Store, clock: FakeClock) -> None:
        self.store, self.clock, self.ticks = store, clock, Ticks()
        self.policy = FakePolicy()
        self.view = FollowedRevocations(store, clock, monotonic_ms=self.ticks)
        self.registry = Registry(store, clock)
        self.client_keys = ClientKeys(store, clock, self.view)
        self.ring = KeyRing(store, PlainSealer(), clock)
        self.clients = ClientAuthenticator(store, clock, ISSUER)
        self.replay = ReplayWindow(not_before_s=0)
        self.proofs = ProofVerifier(clock_ms=clock.now_ms, replay=self.replay, nonces=NonceSource())
        self.gateway, self.admin = (self.verifier(a) for a in (GATEWAY_AUDIENCE, ADMIN_AUDIENCE))
        self.guard = ResourceGuard(self.gateway, self.proofs)
        verifiers = (self.gateway, self.admin)
        self.revocations = RevocationService(store, self.view, clock, self.clients, verifiers)
        self.introspection = Introspection(
            store, self.clients, verifiers, self.view,
            signer=self.ring, clock=clock, issuer=ISSUER,
        )  # fmt: skip
        self.places = StatusPlaces(store, clock, ISSUER)
        self.lists = StatusLists(store, self.ring, self.view, clock, ISSUER)
        self.service = TokenService(
            denials=RecentDenials(),
            store=store,
            policy=self.policy,
            signer=self.ring,
            clients=self.clients,
            proofs=self.proofs,
            clock=clock,
            issuer=ISSUER,
            view=self.view,
            places=self.places,
            tokens=self.gateway,
        )
        self.agent_key, self.operator_key = generate(), generate()
        self.agent_keys = {"a1": self.agent_key}

    def verifier(self, audience: str) -> AccessTokenVerifier:
        return AccessTokenVerifier(
            issuer=ISSUER,
            audience=audience,
            public_jwks=self.ring.public_jwks,
            generation=self.ring.generation,
            clock_ms=self.clock.now_ms,
        )

    async def setup(self) -> None:
        await self.ring.start()
        await self.view.refresh()
        await self.add_experiment("e1")
        await self.registry.create_agent(
            agent_id="a1", owner=OWNER, tier="standard", roles=[Role.SUBMIT_ONLY], actor="root",
            jwk=self.agent_key.public.jwk(),
        )  # fmt: skip
        await self.registry.create_operator(
            operator_id="root", roles=["admin"], jwk=self.operator_key.public.jwk(), actor="setup"
        )

    async def run(self, name: str, **params: SqlValue) -> None:
        await self.store.commit(UnitOfWork((Statement(name, params),)))

    async def add_experiment(self, name: str, **changes: SqlValue) -> None:
        now_ms = self.clock.now_ms()
        budget = {k: changes.pop(k) for k in ("limit_cents", "limit_shots") if k in changes}
        values: dict[str, SqlValue] = {
            "experiment_id": name, "purpose": "p", "classification": "poc", "owner": OWNER,
            "cost_center": "", "opens_ms": 0, "closes_ms": now_ms + 10**8,
            "allowed_agents": '["a1"]', "allowed_backends": '["local:aer","local:null"]',
            "release": "raw", "created_ms": now_ms, **changes,
        }  # fmt: skip
        await self.run("insert_experiment", **values)
        limits = {"limit_cents": 10_000, "limit_shots": 1_000_000, **budget}
        await self.run("insert_budget", experiment_id=name, currency="USD", **limits)

    @property
    def now_s(self) -> int:
        return self.clock.now_ms() // 1000

    def assertion(self, **changes: Any) -> str:
        values: dict[str, Any] = {
            "key": self.agent_key, "client_id": "a1", "audience": ISSUER, "now": self.now_s,
            **changes,
        }  # fmt: skip
        return make_assertion(
            values.pop("key"), values.pop("client_id"), values.pop("audience"), **values
        )

    def form(self, details: Any = None, **changes: str) -> dict[str, str]:
        asked = {"type": "qpu_experiment", "experiment_id": "e1"} if details is None else details
        text = asked if isinstance(asked, str) else json.dumps([asked])
        return {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self.assertion(),
            "authorization_details": text,
            **changes,
        }

    def admin_form(self, **changes: str) -> dict[str, str]:
        form = self.form(**{
            "scope": "admin",
            "client_assertion": self.assertion(key=self.operator_key, client_id="operator:root"),
            **changes,
        })  # fmt: skip
        del form["authorization_details"]
        return form

    def proof(self, key: SigningKey | None = None, **changes: Any) -> str:
        values: dict[str, Any] = {"htm": "POST", "htu": TOKEN_URL, "now": self.now_s, **changes}
        return make_proof(key or self.agent_key, values.pop("htm"), values.pop("htu"), **values)

    async def token(self, details: Any = None, **changes: str) -> TokenResponse:
        return await self.service.token(self.form(details, **changes), self.proof(), TOKEN_URL)

    async def admin_token(self) -> TokenResponse:
        return await self.service.token(self.admin_form(), self.proof(self.operator_key), TOKEN_URL)

    def subject(self, token: str, audience: AccessTokenVerifier | None = None) -> Subject:
        held = (audience or self.gateway).verify(token)
        experiment = held.grant.experiment_id if held.grant else ""
        return Subject(held.token_id, held.subject, held.owner, experiment, held.issued_ms)

    async def events(self, action: str) -> list[dict[str, Any]]:
        rows = await self.store.fetch("broker_test_events", {"action": action})
        return [json.loads(str(row["body"])) for row in rows]


@asynccontextmanager
async def sqlite_world(folder: Path) -> AsyncIterator[World]:
    clock = FakeClock()
    store = SqliteStore(folder / "test.db", clock, sql_directories=_directories())
    await store.open()
    world = World(store, clock)
    await world.setup()
    yield world
    await store.close()


@asynccontextmanager
async def postgres_world(dsn: str) -> AsyncIterator[World]:
    clock = FakeClock()
    store = PostgresStore(dsn, clock, sql_directories=_directories())
    await store.open()
    world = World(store, clock)
    await world.setup()
    yield world
    await store.close()


def _directories() -> tuple[Path, ...]:
    return SQL_DIR, Path(__file__).parent / "broker_sql"
