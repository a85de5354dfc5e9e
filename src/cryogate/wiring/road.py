"""The road to a backend: the checks in their order, the dispatcher, and what agents call."""

from __future__ import annotations

from collections.abc import Callable

from cryogate.circuits import SECOND_OPINION_ENTRYPOINT, GuardedPool, ParseLimits, WorkerLimits
from cryogate.circuits.loading import RICH_ENTRYPOINT
from cryogate.domain.events import Event
from cryogate.gateway.accepting import Acceptor
from cryogate.gateway.asking import Asking
from cryogate.gateway.changes import JobChanges
from cryogate.gateway.checks.brakes import BrakesCheck
from cryogate.gateway.checks.circuit import CircuitCheck
from cryogate.gateway.checks.device_limits import DeviceLimitsCheck
from cryogate.gateway.checks.held import HeldCheck
from cryogate.gateway.checks.policy import PolicyCheck
from cryogate.gateway.checks.price import PriceCheck
from cryogate.gateway.checks.standing import StandingCheck
from cryogate.gateway.checks.token_limits import TokenLimitsCheck
from cryogate.gateway.dispatch import Dispatcher, DispatchLimits
from cryogate.gateway.jobs import JobService
from cryogate.gateway.likeness import Likenesses
from cryogate.gateway.pipeline import Pipeline
from cryogate.gateway.places import Places
from cryogate.gateway.refusals import JobRefusals
from cryogate.gateway.release import ResultService
from cryogate.gateway.second_reading import SecondReader
from cryogate.gateway.sessions import SessionService
from cryogate.gateway.simulated import SimulatedBefore
from cryogate.gateway.vendor_checks import VendorChecks
from cryogate.gateway.vendor_lies import VendorAlarm
from cryogate.governance.approval_inbox import ApprovalInbox
from cryogate.ports.credentials import LeaseIssuer
from cryogate.ports.revocations import RevocationView
from cryogate.server.agent_routes import AgentRoutes
from cryogate.server.approval_routes import ApprovalRoutes
from cryogate.server.endpoints import Endpoint
from cryogate.server.likeness_routes import LikenessRoutes
from cryogate.server.streams import Streams
from cryogate.wiring.governance import Governance
from cryogate.wiring.ground import Ground
from cryogate.wiring.watch import Watch

#: The other parsers are slow and hungry, and read only what we wrote.
_READER = WorkerLimits(memory_bytes=4 << 30, cpu_seconds=60)


class Road:
    """Pipeline, job service and dispatcher of one process."""

    def __init__(
        self,
        ground: Ground,
        governance: Governance,
        revocations: RevocationView,
        watch: Watch,
        leases: LeaseIssuer,
    ) -> None:
        config, store, clock = ground.config, ground.store, ground.clock
        self.parsers = None
        if config.circuits.workers:
            self.parsers = GuardedPool(RICH_ENTRYPOINT, size=config.circuits.workers)
        limits = ParseLimits(
            max_bytes=config.circuits.max_bytes,
            max_qubits=config.circuits.max_qubits,
            max_operations=config.circuits.max_operations,
        )
        policy = ground.tracing.policy(ground.policy)
        pipeline = Pipeline(
            ground.tracing.checks(
                (
                    BrakesCheck(watch.holds, watch.submits),
                    StandingCheck(),
                    CircuitCheck(limits, self.parsers),
                    TokenLimitsCheck(),
                    DeviceLimitsCheck(),
                    PriceCheck(governance.prices, governance.ledger),
                    PolicyCheck(policy, ground.denials, SimulatedBefore(store)),
                    HeldCheck(watch.holds),
                )
            )
        )
        self.changes = changes = JobChanges()
        self.streams = Streams(changes, revocations, clock)
        places, alarm = Places(), VendorAlarm(watch.alerts)
        reader = SecondReader(
            GuardedPool(SECOND_OPINION_ENTRYPOINT, limits=_READER, request_timeout_s=60.0)
        )
        checks = VendorChecks(
            store=store,
            clock=clock,
            providers=ground.providers,
            leases=leases,
            reader=reader,
            revoked=lambda case: (
                revocations.revoked(case.caller.subject(case.request.session_id)) is not None
            ),
        )
        self.dispatcher = Dispatcher(
            store=store,
            clock=clock,
            providers=ground.providers,
            leases=leases,
            ledger=governance.ledger,
            revocations=revocations,
            changes=changes,
            places=places,
            heartbeats=_shared(config.store_url) > 1,
            merge=_shared(config.store_url),
            devices=lambda: ground.devices,
            reader=reader,
            replica_id=ground.replica_id,
            spans=ground.tracing.spans,
            told=_both(governance.alarm.tell, alarm.tell),
            opened=alarm.left_alone,
            limits=DispatchLimits(
                lease_ttl_s=config.secrets.lease_ttl_s,
                retry_max_ms=config.providers.retry_max_s * 1000,
                questions_per_s=config.providers.questions_per_s,
            ),
        )
        self.jobs = jobs = JobService(
            store=store,
            clock=clock,
            pipeline=pipeline,
            ledger=governance.ledger,
            acceptor=ground.tracing.acceptor(
                Acceptor(store, governance.ledger, most=_shared(config.store_url))
            ),
            approvals=governance.approvals,
            revocations=revocations,
            devices=lambda: ground.devices,
            handover=self.dispatcher.handover,
            accepted=self.dispatcher.poke,
            refusals=JobRefusals(store, ground.denials),
            hooks=ground.hooks,
            checks=checks,
        )
        results = ResultService(store, clock, ground.policy, governance.approvals)
        self.approval_routes = ApprovalRoutes(
            inbox=ApprovalInbox(store, clock),
            asking=Asking(
                store=store,
                clock=clock,
                pipeline=pipeline,
                approvals=governance.approvals,
                devices=lambda: ground.devices,
                raw_demand=results.raw_demand,
            ),
            cancel=self.dispatcher.cancel,
            changes=changes,
            streams=self.streams,
            max_body=config.server.max_body_bytes,
        )
        self._likeness_routes = LikenessRoutes(
            Likenesses(store), limits, self.parsers, config.server.max_body_bytes
        )
        self.agent_routes = AgentRoutes(
            jobs=jobs,
            sessions=SessionService(store, clock, ground.policy),
            results=results,
            cancel=self.dispatcher.cancel,
            changes=changes,
            streams=self.streams,
            places=places,
            devices=lambda: ground.devices,
            max_body=config.server.max_body_bytes,
        )

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What agents call, hot ones first, and what operators ask about circuits."""
        return (
            *self.agent_routes.endpoints(),
            *self.approval_routes.endpoints(),
            *self._likeness_routes.endpoints(),
        )


def _both(*tell: Callable[[Event], None]) -> Callable[[Event], None]:
    def told(event: Event) -> None:
        for one in tell:
            one(event)

    return told


def _shared(store_url: str) -> int:
    """How many acceptances share a transaction. SQLite's one writer groups them by itself."""
    return 1 if store_url.startswith("sqlite:") else 64
