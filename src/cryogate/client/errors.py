"""Errors of the agent's side, under the project's one error tree.

::

    CryogateError
    ├── Refused          the server said no (4xx); carries every violation
    ├── Unavailable      no answer, or an answer that cannot be trusted (5xx, broken, cut off)
    ├── JobEnded         the job is over and there is no result
    └── WaitExpired      the job was still on its way when the caller's patience ended

No text here ever carries a token, a proof or a key: what the server sends is cut to size and
searched for the caller's own token before it becomes a message (S1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cryogate.domain import errors as domain
from cryogate.domain.decisions import Violation

if TYPE_CHECKING:
    from cryogate.client.models import Job


class Refused(domain.Refused):
    """A no from the server: HTTP ``status``, stable ``code``, ``title``, ``detail``, violations."""

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str,
        violations: Sequence[Violation] = (),
    ) -> None:
        super().__init__(code, detail, violations)
        self.status = status
        self.title = title


class Unavailable(domain.Unavailable):
    """There was no usable answer. ``status`` is None when there was none at all."""

    def __init__(self, detail: str, status: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status


class JobEnded(domain.CryogateError):
    """The job reached a final state other than ``done``."""

    def __init__(self, job: Job) -> None:
        why = f": {job.failure}" if job.failure else ""
        super().__init__(f"job {job.job_id} is {job.state}{why}")
        self.job = job


class WaitExpired(domain.CryogateError):
    """The job goes on; only the waiting ended."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"job {job.job_id} is still {job.state}")
        self.job = job


class StillUndecided(domain.CryogateError):
    """Nobody has decided yet; only the waiting ended."""

    def __init__(self, approval_id: str) -> None:
        super().__init__(f"nobody has decided about {approval_id} yet")
        self.approval_id = approval_id
