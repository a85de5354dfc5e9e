"""Whether a circuit ran on a simulator before: looked up only for jobs that go to hardware."""

from __future__ import annotations

from cryogate.gateway.case import Case
from cryogate.ports.store import ReadStore


class SimulatedBefore:
    """Answers for the very circuit (its fingerprint) in the very experiment."""

    def __init__(self, store: ReadStore) -> None:
        self._store = store

    async def __call__(self, case: Case) -> bool | None:
        """True or False for a job on hardware, None for one that is on a simulator anyway.

        A backend that is not known as a simulator now does not count as one.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        if case.backend is None or case.backend.simulator or case.program is None:
            return None
        rows = await self._store.fetch(
            "backends_that_ran",
            {
                "experiment_id": case.standing.experiment.experiment_id,
                "circuit_sha256": case.program.fingerprint,
            },
        )
        devices = (case.devices.get(str(row["backend"])) for row in rows)
        return any(device is not None and device.simulator for device in devices)
