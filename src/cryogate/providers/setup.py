"""What an adapter is made from."""

from __future__ import annotations

from dataclasses import dataclass

from cryogate.config import Config
from cryogate.ports.clock import Clock


@dataclass(frozen=True, slots=True)
class Setup:
    """The configuration and the clock; credentials come later, as leases."""

    config: Config
    clock: Clock
