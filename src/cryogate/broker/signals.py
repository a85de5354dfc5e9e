"""Signs that somebody else uses a client's name or key, told as alerts.

| kind | told when | severity |
|---|---|---|
| ``new_address`` | a client proves itself from a new network, and others are known | low |
| ``proof_failures`` | `FAILURES` failed proofs in its name within a minute | high |
| ``impossible_rate`` | it was held back `HELD_BACK` times within a minute | medium |

They stop nothing: what is wrong is refused where it is wrong, and policy and operators decide what
follows. Everything here is bounded, and a request waits for none of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from contextvars import ContextVar
from ipaddress import ip_address, ip_network
from typing import Final

from cryogate.domain.decisions import Scalar
from cryogate.domain.errors import Unavailable
from cryogate.ports.alerts import Alerts, Severity
from cryogate.ports.clock import Clock
from cryogate.ports.store import SqlValue, Statement, Store, UnitOfWork

log = logging.getLogger("cryogate.broker")

#: The address that the present request came from. The server sets it.
ADDRESS: Final[ContextVar[str]] = ContextVar("address", default="")
FAILURES: Final = 10
HELD_BACK: Final = 20
WINDOW_MS: Final = 60_000
_MAX_CLIENTS: Final = 4096
_MAX_NETWORKS: Final = 64
_MAX_WAITING: Final = 256


def network_of(address: str) -> str:
    """The network of an address: its /24 or /48. Empty when it is none."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if found.version == 6 and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return str(ip_network((found, 24 if found.version == 4 else 48), strict=False))


class Counts:
    """Occurrences per key within a window that began with the first; bounded."""

    def __init__(self, window_ms: int = WINDOW_MS) -> None:
        self._window_ms = window_ms
        self._seen: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def add(self, key: str, now_ms: int) -> int:
        """How many there are in the window, this one included."""
        began_ms, count = self._seen.pop(key, (now_ms, 0))
        if now_ms - began_ms >= self._window_ms:
            began_ms, count = now_ms, 0
        self._seen[key] = (began_ms, count + 1)
        if len(self._seen) > _MAX_CLIENTS:
            self._seen.popitem(last=False)
        return count + 1


class Signals:
    """Watches what clients do. All but `run` and `settle` are cheap and never raise."""

    def __init__(self, alerts: Alerts, store: Store, clock: Clock) -> None:
        self._alerts, self._store, self._clock = alerts, store, clock
        self._failures, self._held_back = Counts(), Counts()
        self._networks: OrderedDict[str, set[str]] = OrderedDict()
        self._new: deque[tuple[str, str]] = deque(maxlen=_MAX_WAITING)
        self._wake = asyncio.Event()

    def proven(self, client_id: str) -> None:
        """A client proved who it is."""
        network = network_of(ADDRESS.get())
        known = self._networks.get(client_id)
        if network and (known is None or network not in known):
            self._new.append((client_id, network))
            self._wake.set()

    def failed(self, client_id: str) -> None:
        """Somebody failed to prove to be this client, or to hold the key of its token."""
        count = self._failures.add(client_id, self._clock.now_ms())
        if count >= FAILURES:
            evidence: dict[str, Scalar] = {
                "within_a_minute": count,
                "network": network_of(ADDRESS.get()),
            }
            self._alerts.tell("proof_failures", client_id, Severity.HIGH, evidence)

    def held_back(self, client_id: str) -> None:
        """A client asked faster than it may."""
        count = self._held_back.add(client_id, self._clock.now_ms())
        if count >= HELD_BACK:
            evidence: dict[str, Scalar] = {
                "within_a_minute": count,
                "network": network_of(ADDRESS.get()),
            }
            self._alerts.tell("impossible_rate", client_id, Severity.MEDIUM, evidence)

    async def run(self) -> None:
        """Look up networks as they come, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.settle()
            except Unavailable:
                log.warning("networks of clients cannot be looked up now", exc_info=True)

    async def settle(self) -> None:
        """Look up every network that is new to this process.

        Raises:
            StoreUnavailable: the rest is looked up when more comes.
        """
        while self._new:
            client_id, network = self._new[0]
            await self._look_up(client_id, network)
            self._new.popleft()

    async def _look_up(self, client_id: str, network: str) -> None:
        rows = await self._store.fetch(
            "client_networks", {"client_id": client_id, "limit": _MAX_NETWORKS}
        )
        known = {str(row["network"]) for row in rows}
        if network not in known:
            if known:
                evidence: dict[str, Scalar] = {"network": network, "networks_known": len(known)}
                self._alerts.tell("new_address", client_id, Severity.LOW, evidence)
            if len(known) < _MAX_NETWORKS:
                params: dict[str, SqlValue] = {"client_id": client_id, "network": network,
                          "first_ms": self._clock.now_ms()}  # fmt: skip
                await self._store.commit(
                    UnitOfWork((Statement("client_network_add", params, rows=None),))
                )
            known.add(network)
        self._networks[client_id] = known
        self._networks.move_to_end(client_id)
        if len(self._networks) > _MAX_CLIENTS:
            self._networks.popitem(last=False)
