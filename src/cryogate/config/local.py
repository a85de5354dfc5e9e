"""The simulators on this machine, and the noise that some of them have."""

from __future__ import annotations

from typing import Annotated

import msgspec

from cryogate.config.sections import Section

#: Names of backends after ``local:noisy-``.
ProfileName = Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z0-9-]{0,31}\Z")]
Chance = Annotated[float, msgspec.Meta(ge=0, le=0.5)]


class NoiseTable(Section, frozen=True, kw_only=True):
    """One noisy simulator, ``local:noisy-NAME``: how often each kind of step goes wrong."""

    name: ProfileName
    one_qubit_error: Chance
    two_qubit_error: Chance
    readout_error: Chance
    reset_error: Chance = 0.0
    qubits: Annotated[int, msgspec.Meta(ge=1, le=20)] = 12
    max_shots: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 10_000


#: Of the order of what makers publish for their devices, and no device's calibration.
SHIPPED = (
    NoiseTable(
        name="superconducting",
        one_qubit_error=3e-4,
        two_qubit_error=5e-3,
        readout_error=1.5e-2,
        reset_error=1e-2,
    ),
    NoiseTable(
        name="trapped-ion",
        one_qubit_error=1e-4,
        two_qubit_error=2e-3,
        readout_error=3e-3,
        reset_error=1e-3,
    ),
)


class Local(Section, frozen=True, kw_only=True):
    """``profiles`` are those of the shipped ones that are offered; ``noise`` are own ones.

    ``seed``: the same circuit with the same shots gives the same counts. None: they are drawn anew.
    """

    profiles: tuple[ProfileName, ...] = ("superconducting", "trapped-ion")
    noise: tuple[NoiseTable, ...] = ()
    seed: Annotated[int, msgspec.Meta(ge=0, le=1 << 53)] | None = None

    def offered(self) -> tuple[NoiseTable, ...]:
        """Every noisy simulator. An own profile replaces a shipped one of its name."""
        own = {table.name: table for table in self.noise}
        shipped = {t.name: t for t in SHIPPED if t.name in self.profiles}
        return tuple((shipped | own).values())
