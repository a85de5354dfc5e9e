"""What watches the others: rates, signs of misuse, and the alerts that come of them."""

from __future__ import annotations

from cryogate.broker.signals import Signals
from cryogate.governance.alerts import AlertBook, AlertDesk
from cryogate.governance.rates import RateLimiter
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

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What operators see and do about alerts."""
        return AlertRoutes(self._desk).endpoints()


def _limiter(per_s: int, burst: int) -> RateLimiter | None:
    return RateLimiter(per_s, burst) if per_s else None
