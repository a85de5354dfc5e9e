"""Braket's spending limits: an operator sets them, we look at them.

AWS holds every task against its device's limit as it is made, and refuses it when its price is
above what is left. Our role has no right to make, change or end a limit, since whoever has it can
lift one: so these hold even if this program is taken over.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from cryogate.ports.provider import Control, VendorLimit
from cryogate.providers import braket_wire as wire


def in_force(
    found: Iterable[wire.SpendingLimit], device_arn: str, now_ms: int
) -> tuple[VendorLimit, ...]:
    """The limits that hold for the device now."""
    return tuple(
        VendorLimit(
            Control.MAX_COST,
            "device",
            "USD",
            _cents(limit.spending_limit, ROUND_FLOOR),
            _cents(limit.total_spend, ROUND_CEILING) + _cents(limit.queued_spend, ROUND_CEILING),
            None if limit.time_period is None else int(limit.time_period.end_at * 1000),
        )
        for limit in found
        if limit.device_arn == device_arn and _now(limit.time_period, now_ms)
    )


def _now(period: wire.Period | None, now_ms: int) -> bool:
    return period is None or period.start_at * 1000 <= now_ms < period.end_at * 1000


def _cents(dollars: str, rounding: str) -> int:
    return int((Decimal(dollars) * 100).to_integral_value(rounding))
