"""Job states and the only moves between them."""

from __future__ import annotations

from enum import StrEnum


class JobState(StrEnum):
    """Where a job is. The last five are final."""

    PARKED = "parked"
    QUEUED = "queued"
    DISPATCHING = "dispatching"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REVOKED = "revoked"

    @property
    def final(self) -> bool:
        """Whether the job can never move again."""
        return not MOVES[self]


_END = frozenset({JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED, JobState.REVOKED})

# A job is accepted into PARKED or QUEUED; "received" is the request before the transaction that
# accepts it, so it is never stored. DISPATCHING never goes back to QUEUED by itself: after a
# crash the vendor is asked first (`Provider.find`), or a job could run twice.
MOVES: dict[JobState, frozenset[JobState]] = {
    JobState.PARKED: frozenset({JobState.QUEUED}) | _END,
    JobState.QUEUED: frozenset({JobState.DISPATCHING}) | _END,
    JobState.DISPATCHING: frozenset({JobState.RUNNING, JobState.QUEUED, JobState.DONE}) | _END,
    JobState.RUNNING: frozenset({JobState.DONE}) | _END,
    JobState.DONE: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
    JobState.EXPIRED: frozenset(),
    JobState.REVOKED: frozenset(),
}


def may_move(old: JobState, new: JobState) -> bool:
    """Whether ``old → new`` is a move that exists."""
    return new in MOVES[old]
