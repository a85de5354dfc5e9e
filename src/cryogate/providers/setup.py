"""What an adapter is made from."""

from __future__ import annotations

from dataclasses import dataclass

from cryogate.config import Config
from cryogate.ports.clock import Clock
from cryogate.ports.pricing import PriceBook


@dataclass(frozen=True, slots=True)
class Setup:
    """The configuration, the clock and the prices; credentials come later, as leases."""

    config: Config
    clock: Clock
    book: PriceBook | None = None
