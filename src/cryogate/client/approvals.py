"""Asking people, as an agent: for a job ahead of time, for a raw result, and how it stands."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from cryogate.client.errors import StillUndecided
from cryogate.client.messages import Call
from cryogate.client.sources import format_of, read_source
from cryogate.domain.errors import Malformed
from cryogate.domain.ids import APPROVAL, is_minted

Source = str | os.PathLike[str]
_LEAST_POLL_S, _MOST_POLL_S = 0.5, 30.0


class NextStep(msgspec.Struct, frozen=True, kw_only=True):
    """What to do next: ``wait``, ``submit``, ``poll_job``, ``read_result``, ``renew_token``,
    ``ask_again`` or ``stop``; how, and until when."""

    action: str
    why: str = ""
    method: str | None = None
    path: str | None = None
    after_s: int | None = None
    until: str | None = None


class ApprovalRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request for a human decision, as the agent that it is about sees it."""

    approval_id: str
    kind: str
    state: str
    next: NextStep
    reason: str = ""
    job_id: str | None = None
    terms: Mapping[str, Any] = msgspec.field(default_factory=dict)
    terms_sha256: str = ""
    quorum: int = 1
    requested_at: str | None = None
    expires_at: str | None = None
    decided_at: str | None = None
    note: str | None = None


class _Page(msgspec.Struct, frozen=True):
    items: tuple[ApprovalRequest, ...] = ()
    next: str | None = None


class ApprovalCalls:
    """``client.approvals``. Nothing here decides anything."""

    def __init__(self, get: Callable[[Call, Any], Any]) -> None:
        self._get = get

    def ask(
        self, program: Source, backend: str, shots: int, reason: str, *, notation: str = ""
    ) -> ApprovalRequest:
        """Ask for a yes to exactly this job. Asking again for the same gives the same request."""
        source = read_source(program)
        text = {"format": notation or format_of(source), "source": source}
        body = {"kind": "job", "backend": backend, "program": text, "shots": shots,
                "reason": reason}  # fmt: skip
        return self._one(Call("POST", "/v1/approvals", body))

    def ask_raw(self, job_id: str, reason: str) -> ApprovalRequest:
        """Ask for one reading of a job's raw result."""
        body = {"kind": "release", "job_id": job_id, "reason": reason}
        return self._one(Call("POST", "/v1/approvals", body))

    def show(self, approval_id: str) -> ApprovalRequest:
        """A request as it stands."""
        return self._one(Call("GET", _path(approval_id)))

    def list(
        self, limit: int = 50, after: str | None = None
    ) -> tuple[tuple[ApprovalRequest, ...], str | None]:
        """The agent's own requests, newest first, and the cursor of the next page."""
        query = urlencode({"limit": limit, **({"after": after} if after else {})})
        page: _Page = self._get(Call("GET", f"/v1/approvals?{query}"), _Page)
        return page.items, page.next

    def retract(self, approval_id: str) -> ApprovalRequest:
        """Take a request back; a parked job ends with it."""
        return self._one(Call("POST", _path(approval_id) + "/withdraw", repeatable=False))

    def wait(self, approval_id: str, *, timeout_s: float | None = None) -> ApprovalRequest:
        """Wait until somebody has decided, or nobody can any more.

        Raises:
            StillUndecided: ``timeout_s`` seconds were not enough.
        """
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            found = self.show(approval_id)
            if found.next.action != "wait":
                return found
            pause = min(_MOST_POLL_S, max(_LEAST_POLL_S, float(found.next.after_s or 0)))
            if end is not None:
                left = end - time.monotonic()
                if left <= 0:
                    raise StillUndecided(approval_id)
                pause = min(pause, left)
            time.sleep(pause)

    def _one(self, call: Call) -> ApprovalRequest:
        found: ApprovalRequest = self._get(call, ApprovalRequest)
        return found


def _path(approval_id: str) -> str:
    # Only a minted id goes into a path, so no id can lead to another endpoint.
    if not is_minted(approval_id, APPROVAL):
        raise Malformed("malformed_id", "an approval id is apr_ and 26 letters and digits")
    return f"/v1/approvals/{approval_id}"
