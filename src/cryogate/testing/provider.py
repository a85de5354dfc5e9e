"""A vendor that does what a test tells it to, and remembers every call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from cryogate.circuits import Dialect, Program
from cryogate.ports.credentials import Lease
from cryogate.ports.provider import (
    Backend,
    Ended,
    Provider,
    ProviderError,
    RawResult,
    Submission,
    VendorState,
    VendorStatus,
)


class FakeProvider(Provider):
    """Accepts every job and finishes it when told to (``auto``: at once).

    ``before_submit`` runs at the start of each submission: a test looks at the world, changes
    it, or raises there. ``lose_answer`` makes the next submissions arrive without a receipt.
    With a ``dialect`` its backend is hardware.
    """

    def __init__(
        self, scheme: str = "local", *, auto: bool = True, dialect: Dialect | None = None
    ) -> None:
        self.scheme = scheme
        self.dialect = dialect
        self.auto = auto
        self.before_submit: Callable[[Submission], Awaitable[None]] | None = None
        self.lose_answer = 0
        self.cost_cents: int | None = 0
        self.submitted: list[Submission] = []
        self.cancelled: list[str] = []
        self.calls: list[str] = []
        self._jobs: dict[str, Submission] = {}
        self._status: dict[str, VendorStatus] = {}
        self._ended: dict[str, asyncio.Event] = {}

    async def backends(self, lease: Lease | None = None) -> Sequence[Backend]:
        """One device, ``SCHEME:fake``."""
        return (
            Backend(
                f"{self.scheme}:fake", self.scheme, self.dialect is None, 32, 10**6,
                frozenset({"h", "cx"}), frozenset(), dialect=self.dialect,
            ),
        )  # fmt: skip

    async def submit(self, submission: Submission, lease: Lease) -> str:
        """Accept; the same job again is the same vendor job."""
        self.calls.append("submit")
        if self.before_submit is not None:
            await self.before_submit(submission)
        self.submitted.append(submission)
        vendor_id = f"fake-{submission.job_id}"
        if vendor_id not in self._jobs:
            self._jobs[vendor_id] = submission
            self._status[vendor_id] = VendorStatus(VendorState.RUNNING)
            self._ended[vendor_id] = asyncio.Event()
            if self.auto:
                self.end(submission.job_id)
        if self.lose_answer:
            self.lose_answer -= 1
            raise ProviderError("the connection broke", sent=True, retryable=True)
        return vendor_id

    def ended(self, vendor_id: str) -> Ended | None:
        """With ``auto`` a job is over when it was submitted; its result must be asked for."""
        return Ended(self._status[vendor_id], None) if self.auto else None

    def end(self, job_id: str, state: VendorState = VendorState.DONE) -> None:
        """The vendor is done with the job."""
        vendor_id = f"fake-{job_id}"
        self._status[vendor_id] = VendorStatus(state, self.cost_cents, 7)
        self._ended[vendor_id].set()

    async def find(self, job_id: str, lease: Lease) -> str | None:
        """Its id if it was accepted."""
        self.calls.append("find")
        vendor_id = f"fake-{job_id}"
        return vendor_id if vendor_id in self._jobs else None

    async def status(self, vendor_id: str, lease: Lease) -> VendorStatus:
        """Where the job is."""
        return self._status[vendor_id]

    async def result(
        self, vendor_id: str, lease: Lease, program: Program | None = None
    ) -> RawResult:
        """All shots on the zero string."""
        job = self._jobs[vendor_id]
        return RawResult({"0" * job.program.clbits: job.shots}, job.shots)

    async def cancel(self, vendor_id: str, lease: Lease) -> None:
        """Take note, and stop the job."""
        self.cancelled.append(vendor_id)
        if not self._ended[vendor_id].is_set():
            self._status[vendor_id] = VendorStatus(VendorState.CANCELLED)
            self._ended[vendor_id].set()

    async def wait(self, vendor_id: str, lease: Lease) -> VendorStatus | None:
        """Until `end` or `cancel`."""
        await self._ended[vendor_id].wait()
        return self._status[vendor_id]
