"""Every part of one process, made from the bottom up, started in that order, stopped in the other.

`ground` (adapters) → `identity` (broker) → `governance` (money and people) → `road` (gateway) →
here. `cryogate.startup` is about a process; this package is about parts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp

from cryogate import __version__
from cryogate.audit.log import AuditLog
from cryogate.audit.provenance import Provenances
from cryogate.audit.sweeping import HeadSweeper
from cryogate.broker.key_keeper import CHANNEL as KEYS_CHANNEL
from cryogate.broker.revocation_view import CHANNEL
from cryogate.config import Config
from cryogate.config.secret_files import read_secret
from cryogate.domain.errors import Unavailable
from cryogate.outbound.addresses import networks
from cryogate.ports.clock import Clock, SystemClock
from cryogate.server.app import build_app
from cryogate.server.application import Application
from cryogate.server.endpoints import Endpoint
from cryogate.server.metrics import MetricsRoutes, RequestMeter
from cryogate.server.ops_routes import OpsRoutes
from cryogate.server.rate_gate import RateGate
from cryogate.server.sink_routes import SinkRoutes
from cryogate.server.tracing import RequestTracer
from cryogate.sinks.letters import LetterDesk
from cryogate.storage import Sweeper
from cryogate.wiring.governance import Governance
from cryogate.wiring.ground import Ground
from cryogate.wiring.heads import open_heads
from cryogate.wiring.identity import Identity
from cryogate.wiring.logbook import log_endpoints, open_log, open_provenances, tell_auditors
from cryogate.wiring.metrics import Metrics
from cryogate.wiring.outside import Outside
from cryogate.wiring.policy import Policies
from cryogate.wiring.road import Road
from cryogate.wiring.sinks import open_feeders
from cryogate.wiring.telling import Telling
from cryogate.wiring.vault import Vault, master_keys
from cryogate.wiring.vendor_limits import tell
from cryogate.wiring.watch import Watch

log = logging.getLogger("cryogate")
_CERTIFICATES_S = 2.0
_TLS_FILES_S = 30.0
_KEYS_S = 1.0
_SHREDS_S = 2.0
_SOFT_LIMITS_S = 2.0
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class Deployment:
    """Every part of one process. ``base_url`` is where clients find it: the issuer."""

    def __init__(self, config: Config, base_url: str, clock: Clock | None = None) -> None:
        self.config = config
        self.base_url = base_url
        self.ground = Ground(config, base_url, clock or SystemClock(), master_keys(config))
        self.policies = Policies(self.ground)
        self.watch = Watch(self.ground)
        self.identity = Identity(self.ground, self.watch)
        self.vault = Vault(self.ground, self.watch)
        self.governance = Governance(self.ground, self.watch.alerts, self.vault.leases)
        self.road = Road(
            self.ground, self.governance, self.identity.revocations, self.watch, self.vault.leases
        )
        self.telling = Telling(self.ground, self.governance.desk)
        self.feeders = open_feeders(self.ground, self.watch.alerts)
        self._metrics = Metrics(
            store=self.ground.store,
            clock=self.ground.clock,
            audit=lambda: self.audit,
            feeders=self.feeders,
            revocation_age_ms=self.identity.revocations.age_ms,
            exporter=self.ground.tracing.exporter,
            late_ms=lambda: self.outside.late_ms() if self.outside else {},
        )
        self._ops = OpsRoutes(
            {"database": self._probe_store, "log": self._probe_log},
            __version__,
            {"providers": self.road.dispatcher.degraded},
        )
        self.audit: AuditLog | None = None
        self.provenances: Provenances | None = None
        self.outside: Outside | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self._exit = AsyncExitStack()

    async def open(self) -> None:
        """Open the store, the keys and the log; nothing is served or dispatched yet.

        Raises:
            CryogateError: something cannot be used; the text says what and the way out.
        """
        ground = self.ground
        await ground.store.open()
        self._exit.push_async_callback(ground.store.close)
        self._exit.push_async_callback(ground.fetcher.close)
        self._exit.push_async_callback(ground.tracing.close)
        self._exit.push_async_callback(self.policies.close)
        await self.policies.start()
        await self.identity.keys.start()
        heads = open_heads(self.config, ground.clock)
        self._exit.push_async_callback(heads.close)
        await heads.open()
        self.audit = await open_log(ground, heads)
        self.outside = Outside(ground, self.audit, self.watch.alerts)
        self._exit.push_async_callback(self.outside.close)
        self.provenances = await open_provenances(ground)
        await self.telling.open()
        await self.audit.start()
        self._exit.push_async_callback(self.audit.close)
        await self.identity.revocations.refresh()
        await self.identity.credentials.refresh()
        await self.governance.ledger.refresh()
        if self.identity.shared_proofs is not None:
            await self.identity.shared_proofs.start()

    def tell_auditors(self) -> None:
        """Write the public keys beside the state, after `open`; raises as `tell_auditors`."""
        if self.audit is not None and self.provenances is not None:
            tell_auditors(self.config.state, self.audit, self.provenances)

    def app(self) -> ASGIApp:
        """The ASGI application; call after `open`."""
        if self.audit is None or self.provenances is None or self.outside is None:
            raise RuntimeError("open the deployment first")
        endpoints = (
            *self.road.endpoints(),
            *self.identity.endpoints(),
            *self.watch.endpoints(),
            *self.vault.endpoints(),
            *self.governance.endpoints(self.road.dispatcher, self.road.changes),
            *self.policies.endpoints(),
            *self._ops.endpoints(),
            *self.telling.endpoints(),
            *log_endpoints(self.ground, self.road, self.audit, self.provenances, self.outside),
            *self._metrics_endpoints(),
            *SinkRoutes(LetterDesk(self.ground.store, self.ground.clock, self.feeders)).endpoints(),
            *self.identity.people.endpoints(
                self.identity.registry,
                self.identity.devices,
                self.governance,
                self.road.dispatcher,
                self.audit,
            ),
        )
        scheme = urlsplit(self.base_url).scheme
        app = build_app(endpoints, self.identity.auth, self._hosts(), scheme, self._lifespan)
        app = RateGate(app, self.watch.addresses, networks(self.config.server.proxies))
        if self.ground.tracing.tracer is not None:
            app = RequestTracer(app, self.ground.tracing.tracer)
        if self.config.metrics.token_file:
            app = self._metrics.meter = RequestMeter(app)
        return app

    def _metrics_endpoints(self) -> tuple[Endpoint, ...]:
        path = self.config.metrics.token_file
        if not path:
            return ()
        token = read_secret("metrics.token_file", path)
        return MetricsRoutes(token, self._metrics.gather).endpoints()

    def _hosts(self) -> frozenset[str]:
        url = urlsplit(self.base_url)
        names = {url.netloc}
        if url.hostname in ("127.0.0.1", "localhost", "::1") and url.port is not None:
            names |= {f"{host}:{url.port}" for host in _LOOPBACK}
        return frozenset(names)

    @asynccontextmanager
    async def _lifespan(self, app: Application) -> AsyncIterator[None]:
        await self.start()
        try:
            yield
        finally:
            await self.close()

    async def start(self) -> None:
        """Begin dispatching, following revocations and sequencing the log."""
        ground, dispatcher = self.ground, self.road.dispatcher
        for provider in ground.providers.values():
            self._exit.push_async_callback(provider.close)
        await self.vault.leases.start()
        ground.registry.connect(self.vault.device_leases, self.watch.alerts)
        await ground.registry.refresh()
        tell(ground.devices.values())
        if self.road.parsers is not None:
            self._exit.push_async_callback(self.road.parsers.close)
        self._exit.push_async_callback(self.vault.close)
        await self.watch.holds.refresh()
        await dispatcher.start()
        self._exit.push_async_callback(dispatcher.close)
        assert self.audit is not None  # noqa: S101 - app() has checked
        self._run(self.audit.run(), "audit log")
        for name, work in self.outside.tasks() if self.outside else ():
            self._run(work, name)
        self._run(ground.store.follow(_SHREDS_S), "keys of experiments")
        self._run(HeadSweeper(ground.store, ground.clock).run(), "old heads")
        revocations = self.identity.revocations
        revocations.subscribe(dispatcher.heed)
        self._run(ground.notices.listen(CHANNEL, revocations.heard), "notices")
        follow = revocations.follow(self.config.revocations.poll_ms / 1000)
        self._run(follow, "revocations")
        self._run(self.policies.follow(), "policy")
        for emitter in self.identity.ssf.emitters:
            revocations.subscribe(emitter.nudge)
            self._run(emitter.run(), "security events")
        keeper = self.identity.keeper
        self._run(ground.notices.listen(KEYS_CHANNEL, keeper.nudge), "notices of keys")
        self._run(keeper.run(_KEYS_S), "signing keys")
        self._run(self.watch.signals.run(), "signals")
        self._run(self.watch.alerts.run(), "alerts")
        self._run(self.watch.holds.follow(), "holds")
        self._run(self.vault.leases.run(), "leases")
        self._run(ground.registry.run(self.config.providers.refresh_s), "devices")
        self._run(self.watch.detector.run(), "detector")
        if self.watch.submits.counts:
            self._run(self.watch.submits.run(), "jobs in flight")
        self._run(dispatcher.run(), "dispatcher")
        if self.identity.shared_proofs is not None:
            self._run(self.identity.shared_proofs.sweep(), "used proofs")
        keep_ms = self.config.tokens.keep_days * 86_400_000
        self._run(Sweeper(ground.store, ground.clock, keep_ms).run(), "sweeping")
        if ground.tls is not None:
            self._run(self.identity.credentials.follow(_CERTIFICATES_S), "certificates")
            self._run(ground.tls.follow(_TLS_FILES_S), "TLS files")
        self._run(self.telling.prompter.run(), "reminders")
        if self.telling.devices is not None:
            self._run(self.telling.devices.run(), "device approvals")
        if self.telling.outbox is not None:
            self._run(self.telling.outbox.run(), "outbox")
        if ground.tracing.exporter is not None:
            self._run(ground.tracing.exporter.run(), "traces")
        for feeder in self.feeders:
            self._run(feeder.run(), f"sink {feeder.name}")
        self._run(self.governance.soft_limits.run(_SOFT_LIMITS_S), "soft limits")

    def _run(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(_tell)
        self._tasks.append(task)

    def drain(self) -> None:
        """End what would otherwise go on for minutes: the process is about to stop."""
        self.road.streams.drain()

    async def close(self) -> None:
        """Stop in the other order: no new dispatch, then the log's last head, then the store."""
        await self.road.dispatcher.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.identity.replicas is not None:
            with contextlib.suppress(Unavailable):  # then others wait for this replica once
                await self.identity.replicas.leave()
        await self._exit.aclose()

    async def _probe_store(self) -> None:
        await self.ground.store.fetch(
            "signing_keys_by_purpose", {"purpose": "token", "after_ms": 0}
        )

    async def _probe_log(self) -> None:
        if self.audit is None or self.audit.trouble is not None:
            raise RuntimeError("the log does not get on")


def _tell(task: asyncio.Task[Any]) -> None:
    """A background part that ends by itself has failed, and must not do so in silence."""
    if not task.cancelled() and task.exception() is not None:
        log.critical("%s has stopped", task.get_name(), exc_info=task.exception())
