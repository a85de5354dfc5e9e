"""What watches the others: rates, signs of misuse, and the alerts that come of them."""

from __future__ import annotations

from cryogate.broker.signals import Signals
from cryogate.config.sections import Alerts, Limits
from cryogate.governance.alerts import AlertBook, AlertDesk
from cryogate.governance.detector import Detector
from cryogate.governance.holds import FollowedHolds
from cryogate.governance.rates import RateLimiter
from cryogate.governance.submit_limits import Brakes, MemoryLimits
from cryogate.ports.alerts import Severity
from cryogate.ports.clock import monotonic_ms
from cryogate.ports.holds import HoldKind
from cryogate.server.alert_routes import AlertRoutes
from cryogate.server.endpoints import Endpoint
from cryogate.wiring.ground import Ground


class Watch:
    """Made before the parts that are watched."""

    def __init__(self, ground: Ground) -> None:
        limits = ground.config.limits
        self.alerts = AlertBook(ground.store, ground.clock)
        self.signals = Signals(self.alerts, ground.store, ground.clock)
        self.addresses = _limiter(limits.address_per_s, limits.address_burst)
        self.clients = _limiter(limits.client_per_s, limits.client_burst)
        self._desk = AlertDesk(ground.store, ground.clock)
        self.holds = FollowedHolds(ground.store)
        self.detector = Detector(
            ground.store, ground.clock, _actions(ground.config.alerts), self.holds.refresh
        )
        self.submits = MemoryLimits(ground.store, _brakes(limits), monotonic_ms, self._held_back)

    def _held_back(self, agent_id: str, limit: str) -> None:
        self.alerts.tell("held_back", agent_id, Severity.LOW, {"limit": limit})

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What operators see and do about alerts."""
        return AlertRoutes(self._desk).endpoints()


def _actions(config: Alerts) -> dict[str, HoldKind]:
    """Which kinds of alert hold their agent, and how."""
    found = {name: getattr(config, name) for name in config.__struct_fields__}
    return {
        name.removeprefix("on_"): HoldKind(what) for name, what in found.items() if what != "notify"
    }


def _brakes(limits: Limits) -> Brakes:
    return Brakes(
        agent_per_min=limits.agent_jobs_per_min,
        agent_burst=limits.agent_jobs_burst,
        backend_per_min=limits.backend_jobs_per_min,
        backend_burst=limits.backend_jobs_burst,
        in_flight_per_agent=limits.agent_jobs_in_flight,
        in_flight_per_backend=limits.backend_jobs_in_flight,
    )


def _limiter(per_s: int, burst: int) -> RateLimiter | None:
    return RateLimiter(per_s, burst) if per_s else None
