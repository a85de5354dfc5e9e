"""What a vendor said of a job that there is not yet."""

from __future__ import annotations

import msgspec


class VendorCheck(msgspec.Struct, frozen=True):
    """``state``: ``accepted``, ``refused``, ``not_asked`` or ``unknown``, and why."""

    state: str
    reasons: tuple[str, ...] = ()
