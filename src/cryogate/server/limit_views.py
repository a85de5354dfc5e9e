"""The limits of a device at its vendor, as operators see them."""

from __future__ import annotations

from cryogate.domain.money import Money
from cryogate.ports.audit import rfc3339
from cryogate.ports.provider import Backend, VendorLimit


def described(limit: VendorLimit) -> str:
    """One line for people."""
    who = "set on every job" if limit.by_gateway else "set by an operator"
    if limit.most is None:
        return f"the job's reservation per {limit.per}, {who}"
    text = f"{_amount(limit.most, limit.unit)} per {limit.per}, {who}"
    if limit.used is not None:
        text += f", {_amount(limit.used, limit.unit)} used"
    if limit.until_ms is not None:
        text += f", until {rfc3339(limit.until_ms)}"
    return text


def limits_view(device: Backend) -> list[dict[str, object]]:
    """What operators see of a device's limits."""
    return [
        {
            "control": limit.control.value,
            "per": limit.per,
            "unit": limit.unit,
            "most": limit.most,
            "used": limit.used,
            "until": None if limit.until_ms is None else rfc3339(limit.until_ms),
            "set_by": "gateway" if limit.by_gateway else "operator",
            "text": described(limit),
        }
        for limit in device.vendor_limits
    ]


def _amount(number: int, unit: str) -> str:
    return f"{number} s" if unit == "seconds" else str(Money(number, unit))
