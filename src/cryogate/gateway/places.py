"""Where jobs stand in their vendors' queues, as this process last heard. Told, never decided on."""

from __future__ import annotations

import msgspec

from cryogate.ports.provider import VendorStatus

_MOST = 10**12
_WAITING = 10_000


class Place(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a vendor says of the wait; what it does not say is left out."""

    queue_position: int | None = None
    eta_ms: int | None = None


class Places:
    """By job id, for jobs that this process watches at a vendor."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._waits: dict[str, str] = {}

    def hear(self, job_id: str, status: VendorStatus) -> bool:
        """Keep what is a number and not absurd; True when it is news."""
        place = Place(
            queue_position=_plausible(status.queue_position), eta_ms=_plausible(status.eta_ms)
        )
        if place == self._places.get(job_id, Place()):
            return False
        self._places[job_id] = place
        return True

    def wait_for(self, job_id: str, what: str) -> bool:
        """The job is queued here and waits for ``what``; True when it is news."""
        if self._waits.get(job_id) == what:
            return False
        self._waits[job_id] = what
        while len(self._waits) > _WAITING:
            del self._waits[next(iter(self._waits))]
        return True

    def goes_on(self, job_id: str) -> None:
        """Nothing holds the job up any more."""
        self._waits.pop(job_id, None)

    def waits(self, job_id: str) -> str | None:
        """What a queued job waits for beside its turn, as far as this process knows."""
        return self._waits.get(job_id)

    def drop(self, job_id: str) -> None:
        """The job is not watched here any more."""
        self._places.pop(job_id, None)

    def get(self, job_id: str) -> Place | None:
        """The last word, or None."""
        return self._places.get(job_id)


def _plausible(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= _MOST else None
