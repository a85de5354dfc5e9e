"""The devices that there are: asked for now and then, remembered, and not believed for ever.

(1) Every provider is asked by itself, so that one which is down takes no other along.
(2) What a provider said last is kept while it does not answer. A device of a vendor that has not
    been heard of for `stale_ms` gets the status ``stale``, and no job is accepted for it: its
    limits, its calibration and whether it is online are not known any more.
(3) A provider may declare only devices of its own scheme, under well-formed names.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from cryogate.domain.ids import is_backend
from cryogate.gateway.leases import Leases
from cryogate.ports.alerts import Alerts, Severity
from cryogate.ports.clock import Clock
from cryogate.ports.credentials import LeaseTerms
from cryogate.ports.provider import Backend, Provider

log = logging.getLogger("cryogate.devices")
STALE: Final = "stale"
_LOCAL: Final = "local"
_ASK_S: Final = 30.0
_MOST: Final = 1000


class DeviceRegistry:
    """The devices of one process. `devices` is asked on every job and never waits."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        clock: Clock,
        *,
        stale_ms: int,
    ) -> None:
        self._providers, self._clock, self._stale_ms = providers, clock, stale_ms
        self._said: dict[str, Sequence[Backend]] = {}
        self._devices: Mapping[str, Backend] = {}
        self._alerts: Alerts | None = None
        self._leases: Leases | None = None

    def connect(self, leases: Leases, alerts: Alerts) -> None:
        """Give what asking needs; both are made after the registry."""
        self._leases, self._alerts = leases, alerts

    def devices(self) -> Mapping[str, Backend]:
        """By name, as of the last look."""
        return self._devices

    async def refresh(self, *schemes: str) -> None:
        """Ask every provider, or those of ``schemes``. Never raises."""
        asked = schemes or tuple(self._providers)
        await asyncio.gather(*(self._ask(scheme) for scheme in asked))
        now_ms = self._clock.now_ms()
        self._devices = {
            device.name: self._aged(device, now_ms)
            for scheme in self._providers
            for device in self._said.get(scheme, ())
        }

    async def run(self, interval_s: float) -> None:
        """`refresh` until cancelled, vendors only: simulators here do not change."""
        remote = tuple(scheme for scheme in self._providers if scheme != _LOCAL)
        while remote:
            await asyncio.sleep(interval_s)
            await self.refresh(*remote)

    async def _ask(self, scheme: str) -> None:
        provider = self._providers[scheme]
        try:
            async with asyncio.timeout(_ASK_S):
                lease = None
                if provider.lists_with_lease:
                    if self._leases is None:
                        return
                    lease = await self._leases.get(LeaseTerms(scheme))
                found = await provider.backends(lease)
            self._said[scheme] = self._checked(scheme, found)  # (3)
        except Exception as error:
            log.warning("%s does not say which devices it has: %r", scheme, error)
            if self._alerts is not None:
                evidence = {"scheme": scheme, "error": type(error).__name__}
                self._alerts.tell("no_devices", scheme, Severity.MEDIUM, evidence)

    def _checked(self, scheme: str, found: Sequence[Backend]) -> Sequence[Backend]:
        if len(found) > _MOST:
            raise ValueError("too many devices")
        now_ms, kept = self._clock.now_ms(), []
        for device in found:
            own = device.scheme == scheme and device.name.startswith(f"{scheme}:")
            if own and is_backend(device.name) and device.qubits > 0 and device.max_shots > 0:
                kept.append(replace(device, seen_ms=now_ms))
            else:
                log.warning("%s names a device that cannot be: left out", scheme)
        return kept

    def _aged(self, device: Backend, now_ms: int) -> Backend:
        if device.scheme == _LOCAL or device.seen_ms is None:
            return device
        return replace(device, status=STALE) if now_ms - device.seen_ms > self._stale_ms else device
