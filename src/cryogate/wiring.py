"""The composition root: the only module that knows every part.

`Deployment` makes the parts from the bottom up, hands each what it needs, starts them in that
order and stops them in the other. `cryogate.startup` is about a process; this is about parts.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.types import ASGIApp

from cryogate import __version__
from cryogate.audit.heads import FileHeadStore
from cryogate.audit.keys import load_or_create as open_log_key
from cryogate.audit.log import AuditLog
from cryogate.broker.authn import ClientAuthenticator
from cryogate.broker.client_keys import ClientKeys
from cryogate.broker.introspect import Introspection
from cryogate.broker.issue import TokenService
from cryogate.broker.keys import KeyRing
from cryogate.broker.registry import Registry
from cryogate.broker.revocation_view import FollowedRevocations
from cryogate.broker.revoke import RevocationService
from cryogate.circuits import GuardedPool, ParseLimits
from cryogate.circuits.loading import RICH_ENTRYPOINT
from cryogate.config import Config
from cryogate.credentials import EmbeddedLeases, FileSealer
from cryogate.gateway.changes import JobChanges
from cryogate.gateway.checks.circuit import CircuitCheck
from cryogate.gateway.checks.device_limits import DeviceLimitsCheck
from cryogate.gateway.checks.policy import PolicyCheck
from cryogate.gateway.checks.price import PriceCheck
from cryogate.gateway.checks.standing import StandingCheck
from cryogate.gateway.checks.token_limits import TokenLimitsCheck
from cryogate.gateway.dispatch import Dispatcher
from cryogate.gateway.jobs import JobService
from cryogate.gateway.overview import Overview
from cryogate.gateway.pipeline import Pipeline
from cryogate.gateway.release import ResultService
from cryogate.gateway.sessions import SessionService
from cryogate.governance.approval_desk import ApprovalDesk
from cryogate.governance.approvals import SqlApprovals
from cryogate.governance.budget_admin import BudgetAdmin
from cryogate.governance.budgets import SqlLedger
from cryogate.governance.experiments import ExperimentAdmin
from cryogate.governance.pricing import default_price_book, load_price_book
from cryogate.policies import open_engine
from cryogate.ports.clock import Clock, SystemClock
from cryogate.ports.provider import Backend, Provider
from cryogate.providers import PROVIDERS
from cryogate.server.agent_routes import AgentRoutes
from cryogate.server.app import build_app
from cryogate.server.audit_routes import AuditRoutes
from cryogate.server.oauth_routes import OAuthRoutes
from cryogate.server.operator_routes import OperatorRoutes
from cryogate.server.ops_routes import OpsRoutes
from cryogate.server.registry_routes import RegistryRoutes
from cryogate.server.resource_auth import ResourceAuth
from cryogate.storage import open_store
from cryogate.tokens.access import ADMIN_AUDIENCE, GATEWAY_AUDIENCE, AccessTokenVerifier
from cryogate.tokens.dpop import ProofVerifier
from cryogate.tokens.guard import ResourceGuard
from cryogate.tokens.nonces import NonceSource
from cryogate.tokens.replay import ReplayWindow

log = logging.getLogger("cryogate")
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class Deployment:
    """Every part of one process. ``base_url`` is where clients find it: the issuer."""

    def __init__(self, config: Config, base_url: str, clock: Clock | None = None) -> None:
        self.config = config
        self.base_url = base_url
        self.clock = clock = clock or SystemClock()
        state = config.state
        # -- adapters: each one knows one thing outside
        self.store = store = open_store(config.store_url, clock)
        self.sealer = FileSealer(state / "master.key")
        self.policy = open_engine(
            config.policy.engine, config.bundle, config.policy.opa_url, config.policy.timeout_ms
        )
        self.providers: dict[str, Provider] = {s: make() for s, make in PROVIDERS.items()}
        self.devices: dict[str, Backend] = {}
        book = config.prices.book
        prices = load_price_book(Path(book).read_bytes(), book) if book else default_price_book()
        # -- who are you, and is it still allowed
        self.keys = keys = KeyRing(store, self.sealer, clock)
        self.revocations = FollowedRevocations(
            store, clock, max_age_ms=config.revocations.max_age_ms
        )
        self.registry = Registry(store, clock)
        proofs = ProofVerifier(
            clock_ms=clock.now_ms,
            replay=ReplayWindow(not_before_s=clock.now_ms() // 1000),
            nonces=NonceSource(),
            max_age_s=config.tokens.proof_window_s,
        )
        verifiers = tuple(
            AccessTokenVerifier(
                issuer=base_url,
                audience=audience,
                public_jwks=keys.public_jwks,
                generation=keys.generation,
                clock_ms=clock.now_ms,
            )
            for audience in (GATEWAY_AUDIENCE, ADMIN_AUDIENCE)
        )
        self.auth = ResourceAuth(
            agents=ResourceGuard(verifiers[0], proofs),
            operators=ResourceGuard(verifiers[1], proofs),
            revocations=self.revocations,
            find_operator=self.registry.find_operator,
            base_url=base_url,
        )
        clients = ClientAuthenticator(store, clock, base_url)
        # -- money and people
        ledger = SqlLedger(store)
        approvals = SqlApprovals(
            store,
            ttl_ms=config.approvals.expiry_s * 1000,
            max_pending=config.approvals.pending_per_agent,
        )
        # -- the road to a backend
        self.parsers = None
        if config.circuits.workers:
            self.parsers = GuardedPool(RICH_ENTRYPOINT, size=config.circuits.workers)
        limits = ParseLimits(
            max_bytes=config.circuits.max_bytes,
            max_qubits=config.circuits.max_qubits,
            max_operations=config.circuits.max_operations,
        )
        pipeline = Pipeline(
            (
                StandingCheck(),
                CircuitCheck(limits, self.parsers),
                TokenLimitsCheck(),
                DeviceLimitsCheck(),
                PriceCheck(prices),
                PolicyCheck(self.policy),
            )
        )
        changes = JobChanges()
        self.dispatcher = Dispatcher(
            store=store,
            clock=clock,
            providers=self.providers,
            leases=EmbeddedLeases(clock),
            ledger=ledger,
            revocations=self.revocations,
            changes=changes,
            replica_id=_replica(config),
        )
        jobs = JobService(
            store=store,
            clock=clock,
            pipeline=pipeline,
            ledger=ledger,
            approvals=approvals,
            revocations=self.revocations,
            devices=lambda: self.devices,
            accepted=self.dispatcher.poke,
        )
        # -- the API, hot endpoints first
        agent_routes = AgentRoutes(
            jobs=jobs,
            sessions=SessionService(store, clock, self.policy),
            results=ResultService(store, clock, self.policy),
            cancel=self.dispatcher.cancel,
            changes=changes,
            devices=lambda: self.devices,
            max_body=config.server.max_body_bytes,
        )
        oauth_routes = OAuthRoutes(
            tokens=TokenService(
                store=store,
                policy=self.policy,
                signer=keys,
                clients=clients,
                proofs=proofs,
                clock=clock,
                issuer=base_url,
                default_ttl_s=config.tokens.default_ttl_s,
                max_ttl_s=config.tokens.max_ttl_s,
            ),
            revocations=RevocationService(store, self.revocations, clock, clients, verifiers),
            introspection=Introspection(store, clients, verifiers, self.revocations),
            keys=keys,
            store=store,
            clock=clock,
            issuer=base_url,
        )
        operator_routes = OperatorRoutes(
            experiments=ExperimentAdmin(store, clock),
            budgets=BudgetAdmin(store, clock),
            approvals=ApprovalDesk(
                store,
                ledger,
                clock,
                ttl_ms=config.approvals.expiry_s * 1000,
                allow_self_approval=config.approvals.insecure_self_approval,
            ),
            overview=Overview(store),
            policy=self.policy,
            cancel=self.dispatcher.cancel,
            devices=lambda: self.devices,
            wake=self.dispatcher.poke,
        )
        registry_routes = RegistryRoutes(self.registry, ClientKeys(store, clock, self.revocations))
        ops_routes = OpsRoutes({"database": self._probe_store, "log": self._probe_log}, __version__)
        self._before_log = (
            agent_routes, oauth_routes, operator_routes, registry_routes, ops_routes
        )  # fmt: skip
        self.audit: AuditLog | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self._exit = AsyncExitStack()

    async def open(self) -> None:
        """Open the store, the keys and the log; nothing is served or dispatched yet.

        Raises:
            CryogateError: something cannot be used; the text says what and the way out.
        """
        await self.store.open()
        self._exit.push_async_callback(self.store.close)
        await self.keys.start()
        signer = await open_log_key(self.store, self.sealer, self.clock, self.config.audit.origin)
        heads = FileHeadStore(self.config.heads)
        self.audit = AuditLog(self.store, self.clock, signer, heads, self.config.audit.origin)
        await self.audit.start()
        self._exit.push_async_callback(self.audit.close)
        await self.revocations.refresh()

    def app(self) -> ASGIApp:
        """The ASGI application; call after `open`."""
        if self.audit is None:
            raise RuntimeError("open the deployment first")
        endpoints = [e for part in self._before_log for e in part.endpoints()]
        endpoints += AuditRoutes(self.audit).endpoints()
        return build_app(endpoints, self.auth, self._hosts(), self._lifespan)

    def _hosts(self) -> frozenset[str]:
        url = urlsplit(self.base_url)
        names = {url.netloc}
        if url.hostname in ("127.0.0.1", "localhost", "::1") and url.port is not None:
            names |= {f"{host}:{url.port}" for host in _LOOPBACK}
        return frozenset(names)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        await self.start()
        try:
            yield
        finally:
            await self.close()

    async def start(self) -> None:
        """Begin dispatching, following revocations and sequencing the log."""
        for provider in self.providers.values():
            self._exit.push_async_callback(provider.close)
            self.devices |= {device.name: device for device in await provider.backends()}
        if self.parsers is not None:
            self._exit.push_async_callback(self.parsers.close)
        await self.dispatcher.start()
        self._exit.push_async_callback(self.dispatcher.close)
        assert self.audit is not None  # noqa: S101 - app() has checked
        self._run(self.audit.run(), "audit log")
        self._run(self.revocations.follow(self.config.revocations.poll_ms / 1000), "revocations")
        self._run(self.dispatcher.run(), "dispatcher")

    def _run(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(_tell)
        self._tasks.append(task)

    async def close(self) -> None:
        """Stop in the other order: no new dispatch, then the log's last head, then the store."""
        await self.dispatcher.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._exit.aclose()

    async def _probe_store(self) -> None:
        await self.store.fetch("signing_keys_by_purpose", {"purpose": "token", "after_ms": 0})

    async def _probe_log(self) -> None:
        if self.audit is None or self.audit.trouble is not None:
            raise RuntimeError("the log does not get on")


def _replica(config: Config) -> str:
    """This process's name in claims.

    SQLite admits one process, so a restart may take its predecessor's claims back at once; on
    PostgreSQL another replica may be alive under any name but a fresh one.
    """
    return "single" if config.store_url.startswith("sqlite:") else secrets.token_hex(8)


def _tell(task: asyncio.Task[Any]) -> None:
    """A background part that ends by itself has failed, and must not do so in silence."""
    if not task.cancelled() and task.exception() is not None:
        log.critical("%s has stopped", task.get_name(), exc_info=task.exception())
