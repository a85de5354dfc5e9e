"""An agent's own requests: where they stand, and what the agent does next.

An agent sees the requests of its own id in its token's experiment, and its promotions. Anything
else is not there (A1). It can take back what nobody has used; it can decide nothing.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from cryogate.domain.approvals import ApprovalKind, ApprovalState, PromotionTerms, ReleaseTerms
from cryogate.domain.errors import Conflict, NotFound
from cryogate.domain.ids import APPROVAL, is_minted
from cryogate.governance.approval_desk import seen_at
from cryogate.governance.approval_rows import ApprovalRecord, approval_event, record
from cryogate.governance.paging import LATEST, Page, cut, decode_cursor, page_size
from cryogate.ports.audit import rfc3339
from cryogate.ports.clock import Clock
from cryogate.ports.store import GuardFailed, SqlValue, Statement, Store, UnitOfWork

_POLL_S = 5
Step = Literal["wait", "submit", "poll_job", "read_result", "renew_token", "ask_again", "stop"]


class NextStep(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What happens next, for a program: do ``action``; ``why`` says the same to people.

    ``method`` and ``path`` are the request to make, ``after_s`` how long to wait before it, and
    ``until`` when the chance is over.
    """

    action: Step
    why: str
    method: str | None = None
    path: str | None = None
    after_s: int | None = None
    until: str | None = None


class OwnApproval(msgspec.Struct, frozen=True, kw_only=True):
    """A request as the agent that it is about sees it."""

    approval_id: str
    kind: str
    state: str
    reason: str
    job_id: str | None
    terms: msgspec.Raw
    terms_sha256: str
    quorum: int
    requested_at: str
    expires_at: str
    decided_at: str | None
    note: str | None
    next: NextStep


class ApprovalInbox:
    """Read and withdraw, for the agent that holds the token."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def get(self, agent_id: str, experiment_id: str, approval_id: str) -> OwnApproval:
        """One request.

        Raises:
            NotFound: absent, or of another agent or experiment; the two look the same (A1).
        """
        return own_view(await self._record(agent_id, experiment_id, approval_id))

    async def list(
        self, agent_id: str, experiment_id: str, cursor: str | None, limit: int
    ) -> Page[OwnApproval]:
        """The agent's requests, newest first.

        Raises:
            Malformed: a cursor or limit that is not one.
        """
        before_ms, before_id = decode_cursor(cursor) if cursor else LATEST
        params: dict[str, SqlValue] = {
            "agent_id": agent_id,
            "experiment_id": experiment_id,
            "before_ms": before_ms,
            "before_id": before_id,
            "limit": page_size(limit) + 1,
        }
        rows = await self._store.fetch("approvals_of_agent", params)
        now_ms = self._clock.now_ms()
        found = [seen_at(record(row), now_ms) for row in rows]
        page = cut(found, limit, lambda r: (r.approval.requested_ms, r.approval.approval_id))
        return Page(tuple(map(own_view, page.items)), page.next)

    async def withdraw(
        self, agent_id: str, experiment_id: str, approval_id: str
    ) -> tuple[OwnApproval, str | None]:
        """Take a request back; the job to be cancelled instead where it has one.

        Raises:
            NotFound: as for `get`.
            Conflict: it is used or over.
        """
        found = await self._record(agent_id, experiment_id, approval_id)
        approval, now_ms = found.approval, self._clock.now_ms()
        if approval.state not in (ApprovalState.PENDING, ApprovalState.APPROVED):
            raise Conflict("approval_decided", f"this request is {approval.state.value} already")
        if approval.job_id is not None:
            return own_view(found), approval.job_id
        params: dict[str, SqlValue] = {
            "approval_id": approval_id,
            "agent_id": agent_id,
            "now_ms": now_ms,
        }
        event = approval_event("approval.withdrawn", approval, found.owner, now_ms, actor=agent_id)
        statement = Statement("withdraw_own_approval", params, guard="approval.open")
        try:
            await self._store.commit(UnitOfWork((statement,), (event,)))
        except GuardFailed as failed:
            raise Conflict("approval_decided", "this request was decided meanwhile") from failed
        return own_view(await self._record(agent_id, experiment_id, approval_id)), None

    async def _record(self, agent_id: str, experiment_id: str, approval_id: str) -> ApprovalRecord:
        row = None
        if is_minted(approval_id, APPROVAL):
            row = await self._store.fetch_one("approval_by_id", {"approval_id": approval_id})
        if row is not None:
            found = record(row)
            terms = found.approval.terms
            mine = terms.agent_id == agent_id
            if mine and (isinstance(terms, PromotionTerms) or terms.experiment_id == experiment_id):
                return seen_at(found, self._clock.now_ms())
        raise NotFound("no_such_approval", "there is no such approval")


def own_view(found: ApprovalRecord) -> OwnApproval:
    """A record as its agent may see it: not who voted, only what was decided."""
    approval = found.approval
    return OwnApproval(
        approval_id=approval.approval_id,
        kind=approval.kind.value,
        state=approval.state.value,
        reason=approval.reason,
        job_id=approval.job_id,
        terms=msgspec.Raw(msgspec.json.encode(approval.terms)),
        terms_sha256=approval.terms.digest(),
        quorum=approval.quorum,
        requested_at=rfc3339(approval.requested_ms),
        expires_at=rfc3339(approval.expires_ms),
        decided_at=None if approval.decided_ms is None else rfc3339(approval.decided_ms),
        note=found.note,
        next=next_step(found),
    )


def next_step(found: ApprovalRecord) -> NextStep:
    """What the agent does now. Every state of every kind has exactly one answer."""
    approval = found.approval
    terms, until = approval.terms, rfc3339(approval.expires_ms)
    match approval.state:
        case ApprovalState.PENDING:
            who = "a person" if approval.quorum == 1 else f"{approval.quorum} people"
            return NextStep(
                action="wait",
                why=f"{who} must decide; look again, or follow the stream at …/events",
                method="GET",
                path=f"/v1/approvals/{approval.approval_id}",
                after_s=_POLL_S,
                until=until,
            )
        case ApprovalState.APPROVED if isinstance(terms, ReleaseTerms):
            return NextStep(
                action="read_result",
                why="approved: read the result once",
                method="GET",
                path=f"/v1/jobs/{terms.job_id}/result",
                until=until,
            )
        case ApprovalState.APPROVED:
            return NextStep(
                action="submit",
                why="approved: submit exactly this circuit, backend and number of shots",
                method="POST",
                path="/v1/jobs",
                until=until,
            )
        case ApprovalState.USED if approval.job_id is not None:
            return NextStep(
                action="poll_job",
                why="approved: the job is on its way",
                method="GET",
                path=f"/v1/jobs/{approval.job_id}",
                after_s=1,
            )
        case ApprovalState.USED if approval.kind is ApprovalKind.PROMOTION:
            return NextStep(
                action="renew_token",
                why="promoted: a new token can hold the new rights",
                method="POST",
                path="/oauth2/token",
            )
        case ApprovalState.USED:
            return NextStep(action="stop", why="this approval was used, and is good for one use")
        case ApprovalState.DENIED:
            return NextStep(action="stop", why="denied: do not ask for the same again")
        case ApprovalState.EXPIRED:
            return NextStep(action="ask_again", why="nobody decided in time, or it was not used")
        case ApprovalState.WITHDRAWN:
            return NextStep(action="ask_again", why="the request or the approval was taken back")
