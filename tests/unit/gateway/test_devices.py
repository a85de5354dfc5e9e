"""What vendors say of their devices is remembered, and not believed for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from cryogate.circuits import Dialect
from cryogate.credentials import EmbeddedLeases
from cryogate.domain.decisions import Scalar
from cryogate.gateway.devices import STALE, DeviceRegistry
from cryogate.gateway.leases import Leases
from cryogate.ports.alerts import Alerts, Severity
from cryogate.ports.credentials import Lease
from cryogate.ports.provider import Backend
from cryogate.testing.clock import FakeClock
from cryogate.testing.provider import FakeProvider


class Told(Alerts):
    def __init__(self) -> None:
        self.kinds: list[tuple[str, str]] = []

    def tell(
        self, kind: str, subject: str, severity: Severity, evidence: Mapping[str, Scalar]
    ) -> None:
        self.kinds.append((kind, subject))


class Vendor(FakeProvider):
    def __init__(self) -> None:
        super().__init__("vend", dialect=Dialect.OPENQASM2)
        self.down = False
        self.asked = 0
        self.asked_twice = asyncio.Event()
        self.extra: list[Backend] = []

    async def backends(self, lease: Lease | None = None) -> Sequence[Backend]:
        self.asked += 1
        if self.asked == 2:
            self.asked_twice.set()
        if self.down:
            raise ConnectionError
        return [*await super().backends(), *self.extra]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def made(clock: FakeClock, vendor: Vendor) -> tuple[DeviceRegistry, Told]:
    registry, told = (
        DeviceRegistry({"local": FakeProvider(), "vend": vendor}, clock, stale_ms=600_000),
        Told(),
    )
    registry.connect(Leases(EmbeddedLeases(clock), clock, 300), told)
    return registry, told


async def test_a_vendor_that_falls_silent_becomes_stale_and_comes_back(clock: FakeClock) -> None:
    vendor = Vendor()
    registry, told = made(clock, vendor)
    await registry.refresh()
    assert registry.devices()["vend:fake"].status == "online"
    assert registry.devices()["vend:fake"].seen_ms == clock.now_ms()
    vendor.down = True
    clock.advance(s=599)
    await registry.refresh()
    assert registry.devices()["vend:fake"].status == "online"
    assert told.kinds == [("no_devices", "vend")]
    clock.advance(s=2)
    await registry.refresh("vend")
    assert registry.devices()["vend:fake"].status == STALE
    assert registry.devices()["local:fake"].status == "online"
    vendor.down = False
    await registry.refresh("vend")
    assert registry.devices()["vend:fake"].status == "online"


@pytest.mark.attack("S3")
async def test_a_vendor_declares_only_its_own_well_formed_devices(clock: FakeClock) -> None:
    vendor = Vendor()
    registry, _ = made(clock, vendor)
    good = (await vendor.backends())[0]
    vendor.extra = [
        replace(good, name="local:fake", scheme="local"), replace(good, name="vend:A B"),
        replace(good, name="other:x"), replace(good, name="vend:zero", qubits=0),
    ]  # fmt: skip
    await registry.refresh()
    assert set(registry.devices()) == {"local:fake", "vend:fake"}
    assert registry.devices()["local:fake"].simulator
    vendor.extra = [replace(good, name=f"vend:d{n}") for n in range(1001)]
    await registry.refresh()
    assert len(registry.devices()) == 2, "what was said before stays"


async def test_the_loop_asks_vendors_only(clock: FakeClock) -> None:
    vendor = Vendor()
    registry, _ = made(clock, vendor)
    running = asyncio.create_task(registry.run(0.001))
    async with asyncio.timeout(10):
        await vendor.asked_twice.wait()
    running.cancel()
    assert set(registry.devices()) == {"vend:fake"}
