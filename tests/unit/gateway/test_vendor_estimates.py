"""A vendor's estimate comes from its adapter, with a lease of the experiment that asks."""

from __future__ import annotations

import pytest

from cryogate.circuits import Format, Program, parse_flat
from cryogate.credentials import EmbeddedLeases
from cryogate.domain.money import Money
from cryogate.gateway.vendor_estimates import VendorEstimates
from cryogate.ports.credentials import Lease
from cryogate.ports.pricing import Wanted
from cryogate.ports.provider import ProviderError
from cryogate.testing.clock import FakeClock
from cryogate.testing.provider import FakeProvider

PROGRAM = parse_flat(b"OPENQASM 2.0;\nqreg q[1];\n", Format.OPENQASM2)
CLOCK = FakeClock()
WANTED = Wanted("fake:qpu", PROGRAM, PROGRAM.facts, 100, "e1", "USD", 0)


class Estimating(FakeProvider):
    estimates = True

    async def estimate(self, backend: str, program: Program, shots: int, lease: Lease) -> Money:
        assert (backend, program, lease.scheme) == ("fake:qpu", PROGRAM, self.scheme)
        return Money(shots * 2, "USD")


async def test_the_adapter_is_asked_with_a_lease() -> None:
    asked = VendorEstimates(Estimating(), EmbeddedLeases(CLOCK), CLOCK)
    assert await asked.estimate(WANTED) == Money(200, "USD")


async def test_an_adapter_that_cannot_estimate_says_so() -> None:
    assert FakeProvider.estimates is False
    with pytest.raises(ProviderError):
        await VendorEstimates(FakeProvider(), EmbeddedLeases(CLOCK), CLOCK).estimate(WANTED)
