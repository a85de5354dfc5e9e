"""Jobs that go from their acceptance straight into this process's hands.

A job that is accepted while nothing else waits need not be queued, found and claimed: the
statement that makes its row also names this process as its claimant. Where nothing is left to be
checked either (the backend takes the very program that was checked, with no text of it that a
second parser would have to read), the same transaction holds the intent event, so the vendor is
called one commit after the request came in and not three.

Why that is as safe as the long way: the row is made only if, in that transaction, nothing revokes
the caller and the experiment is open, which is what `dispatch_intend` asks; the claim has a fence
and an end like every other; the intent is on disk before the vendor hears of the job (L3); and
`send` asks once more what was revoked meanwhile. When nobody can say whether the transaction was
done, nothing is sent: the claim runs out, and the job is found again like one whose claimant died.
"""

from __future__ import annotations

from typing import NamedTuple

from cryogate.circuits import Program
from cryogate.gateway.dispatch_desk import Desk
from cryogate.gateway.dispatch_hands import Hands
from cryogate.gateway.dispatch_job import Job
from cryogate.gateway.dispatch_send import remember
from cryogate.ports.provider import Submission
from cryogate.ports.store import SqlValue


class Ticket(NamedTuple):
    """Room for one job, and the claim that it is to be made with.

    ``intended``: the transaction that accepts the job is to hold its intent event too.
    """

    scheme: str
    owner: str
    made_ms: int
    until_ms: int
    intended: bool

    def claim(self) -> dict[str, SqlValue]:
        """The columns of the row that is made with it."""
        return {
            "claimed_by": self.owner,
            "claim_fence": 1,
            "claim_until_ms": self.until_ms,
        }


class Handover:
    """Gives tickets. ``open`` is kept by the dispatcher: False while older jobs wait their turn."""

    def __init__(self, desk: Desk, hands: Hands) -> None:
        self._desk, self._hands = desk, hands
        self.open = False

    def offer(self, backend: str) -> Ticket | None:
        """A ticket for a job of this backend that is about to be accepted, or None: queue it.

        Whoever has one gives it to `take` or to `decline`.
        """
        desk = self._desk
        device = desk.devices().get(backend)
        if not self.open or device is None or device.scheme not in desk.providers:
            return None
        scheme = device.scheme
        if not desk.breakers.closed(scheme) or not self._hands.promise(scheme):
            return None
        now_ms = desk.clock.now_ms()
        until_ms = now_ms + desk.limits.claim_ms
        return Ticket(scheme, desk.owner, now_ms, until_ms, device.dialect is None)

    def take(self, ticket: Ticket, job: Job, program: Program) -> None:
        """Carry the job that was accepted with this ticket."""
        desk = self._desk
        if desk.clock.now_ms() - ticket.made_ms > desk.limits.claim_ms // 2:
            # This process stood still, and its claim may end during the call.
            self.decline(ticket)
            return
        remember(desk, program)
        ready = None
        if ticket.intended:
            ready = Submission(
                job.job_id, job.backend, program, job.shots, job.experiment_id,
                job.ceiling_cents, b"",
            )  # fmt: skip
        self._hands.begin(job, ready, promised=True)

    def decline(self, ticket: Ticket) -> None:
        """Nothing was accepted with this ticket, or nobody knows."""
        self._hands.break_promise(ticket.scheme)
