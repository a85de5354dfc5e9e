"""Where operators decide: list, show, approve, deny, grant ahead.

What nobody decides in time is swept by whoever sweeps parked jobs; until then it is shown as
expired, and no statement here can decide it.
"""

from __future__ import annotations

from dataclasses import replace

from cryogate.domain.approvals import ApprovalState, Terms
from cryogate.domain.errors import Conflict, Forbidden, Malformed, NotFound
from cryogate.domain.ids import APPROVAL, is_backend, is_slug, new_id
from cryogate.domain.jobs import JobState
from cryogate.domain.money import Money
from cryogate.governance.approvals import (
    DAY_MS,
    JOB,
    PENDING,
    ApprovalRecord,
    approval_columns,
    approval_event,
    record,
)
from cryogate.governance.paging import LATEST, Page, cut, decode_cursor, page_size
from cryogate.governance.people import require_note, require_operator, same_person
from cryogate.governance.rows import maybe_text, number, text
from cryogate.ports.approvals import Approval
from cryogate.ports.budgets import Hold, Ledger
from cryogate.ports.clock import Clock
from cryogate.ports.store import GuardFailed, Row, SqlValue, Statement, Store, UnitOfWork

_OPEN = frozenset({ApprovalState.PENDING, ApprovalState.APPROVED})


class ApprovalDesk:
    """Decisions by operators.

    ``allow_self_approval`` lets an operator decide about agents that it owns (H3). It
    is for deployments of one person.
    """

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        clock: Clock,
        *,
        ttl_ms: int = DAY_MS,
        allow_self_approval: bool = False,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._clock = clock
        self._ttl_ms = ttl_ms
        self._allow_self_approval = allow_self_approval

    async def list(
        self, state: ApprovalState | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[ApprovalRecord]:
        """Approvals, newest first. Requests past their expiry are not ``pending`` any more.

        Raises:
            Malformed: a cursor or limit that is not one.
        """
        before_ms, before_id = decode_cursor(cursor) if cursor else LATEST
        params: dict[str, SqlValue] = {
            "before_ms": before_ms,
            "before_id": before_id,
            "limit": page_size(limit) + 1,
        }
        now_ms = self._clock.now_ms()
        if state is None:
            query = "approvals_page"
        elif state is ApprovalState.EXPIRED:
            query = "approvals_page_expired"
            params["now_ms"] = now_ms
        else:
            query = "approvals_page_in_state"
            params["state"] = state.value
            params["open_after_ms"] = now_ms if state in _OPEN else -1
        found = [_seen(record(row), now_ms) for row in await self._store.fetch(query, params)]
        return cut(found, limit, lambda r: (r.approval.requested_ms, r.approval.approval_id))

    async def get(self, approval_id: str) -> ApprovalRecord:
        """One approval.

        Raises:
            NotFound: no such approval.
        """
        row = await self._store.fetch_one("approval_by_id", {"approval_id": approval_id})
        if row is None:
            raise NotFound("no_such_approval", "there is no such approval")
        return _seen(record(row), self._clock.now_ms())

    async def approve(self, approval_id: str, actor: str, note: str = "") -> ApprovalRecord:
        """Say yes as ``actor``; the parked job is queued in the same unit of work.

        Raises:
            Forbidden: the actor is no operator, or owns the agent.
            NotFound: no such approval.
            Conflict: decided or expired already, or the job is no longer what was to be approved.
        """
        found, now_ms = await self._open_request(approval_id, actor, note)
        approval = found.approval
        if not self._allow_self_approval and same_person(actor, found.owner):
            raise Forbidden("self_approval", "the agent's owner cannot approve its work")
        if approval.job_id is None:
            statements: tuple[Statement, ...] = (
                self._decide(approval, ApprovalState.APPROVED, actor, note, now_ms),
            )
        else:
            statements = (
                self._decide(approval, ApprovalState.USED, actor, note, now_ms),
                self._unpark(approval, approval.job_id, now_ms),
            )
        event = approval_event("approval.approved", approval, found.owner, now_ms, actor=actor)
        return await self._commit(approval, UnitOfWork(statements, (event,)))

    async def deny(self, approval_id: str, actor: str, note: str = "") -> ApprovalRecord:
        """Say no as ``actor``; the parked job is cancelled and its reservation given back.

        An owner may deny its own agent: a no needs no second person.

        Raises:
            Forbidden: the actor is no operator.
            NotFound: no such approval.
            Conflict: decided or expired already, or the job is not parked any more.
        """
        found, now_ms = await self._open_request(approval_id, actor, note)
        approval = found.approval
        decide = self._decide(approval, ApprovalState.DENIED, actor, note, now_ms)
        end = await self._end_job(approval, JobState.CANCELLED, "approval denied", now_ms)
        event = approval_event("approval.denied", approval, found.owner, now_ms, actor=actor)
        return await self._commit(approval, UnitOfWork((decide, *end), (event,)))

    async def grant(self, terms: Terms, owner: str, actor: str, note: str = "") -> ApprovalRecord:
        """Approve ahead: one job on exactly these terms, once, before the approval expires.

        ``owner`` is the agent's owner as the registry has it.

        Raises:
            Forbidden: the actor is no operator, or owns the agent.
            Malformed: terms that no job could have.
        """
        require_operator(actor)
        require_note(note)
        if not self._allow_self_approval and same_person(actor, owner):
            raise Forbidden("self_approval", "the agent's owner cannot approve its work")
        _check_terms(terms)
        now_ms, approval_id = self._clock.now_ms(), new_id(APPROVAL)
        columns = approval_columns(approval_id, terms, owner, note, now_ms, self._ttl_ms)
        statement = Statement(
            "grant_approval",
            {**columns, "decided_by": actor, "decided_ms": now_ms, "note": note},
        )
        approval = Approval(
            approval_id, ApprovalState.APPROVED, terms, None, note, now_ms,
            now_ms + self._ttl_ms, actor, now_ms,
        )  # fmt: skip
        event = approval_event("approval.granted", approval, owner, now_ms, actor=actor)
        await self._store.commit(UnitOfWork((statement,), (event,)))
        return ApprovalRecord(approval, owner, note)

    async def _open_request(
        self, approval_id: str, actor: str, note: str
    ) -> tuple[ApprovalRecord, int]:
        require_operator(actor)
        require_note(note)
        found = await self.get(approval_id)
        _require_pending(found.approval)
        return found, self._clock.now_ms()

    @staticmethod
    def _decide(
        approval: Approval, state: ApprovalState, actor: str, note: str, now_ms: int
    ) -> Statement:
        return Statement(
            "decide_approval",
            {
                "approval_id": approval.approval_id,
                "state": state.value,
                "decided_by": actor,
                "note": note,
                "terms_digest": approval.terms.digest(),
                "now_ms": now_ms,
            },
            guard=PENDING,
        )

    @staticmethod
    def _unpark(approval: Approval, job_id: str, now_ms: int) -> Statement:
        terms = approval.terms
        return Statement(
            "unpark_approved_job",
            {
                "job_id": job_id,
                "approval_id": approval.approval_id,
                "agent_id": terms.agent_id,
                "experiment_id": terms.experiment_id,
                "circuit_sha256": terms.circuit_sha256,
                "backend": terms.backend,
                "shots": terms.shots,
                "currency": terms.currency,
                "cost_ceiling_cents": terms.cost_ceiling_cents,
                "now_ms": now_ms,
            },
            guard=JOB,
        )

    async def _end_job(
        self, approval: Approval, state: JobState, failure: str, now_ms: int
    ) -> tuple[Statement, ...]:
        """End the parked job and give its hold back; nothing if it is not parked any more."""
        if approval.job_id is None:
            return ()
        row = await self._store.fetch_one("parked_job", {"job_id": approval.job_id})
        if row is None or row["state"] != JobState.PARKED:
            return ()
        end = Statement(
            "end_parked_job",
            {
                "job_id": approval.job_id,
                "approval_id": approval.approval_id,
                "state": state.value,
                "failure": failure,
                "now_ms": now_ms,
            },
            guard=JOB,
        )
        return end, *self._ledger.release(_hold(row), now_ms)

    async def _commit(self, approval: Approval, work: UnitOfWork) -> ApprovalRecord:
        try:
            await self._store.commit(work)
        except GuardFailed as failed:
            if failed.guard == JOB and approval.job_id is not None:
                raise await self._withdrawn(approval, approval.job_id) from failed
            raise Conflict(
                "approval_decided", "this request was decided or expired meanwhile"
            ) from failed
        return await self.get(approval.approval_id)

    async def _withdrawn(self, approval: Approval, job_id: str) -> Conflict:
        """Close a request whose job ended, and say so; leave it open while the job is parked."""
        row = await self._store.fetch_one("parked_job", {"job_id": job_id})
        if row is None or row["state"] != JobState.PARKED:
            now_ms = self._clock.now_ms()
            statement = Statement(
                "withdraw_approval", {"approval_id": approval.approval_id, "now_ms": now_ms}, None
            )
            await self._store.commit(UnitOfWork((statement,), ()))
            return Conflict("job_ended", "the job is not parked any more")
        return Conflict("terms_changed", "the job is not what was asked to be approved")


def _seen(found: ApprovalRecord, now_ms: int) -> ApprovalRecord:
    """``found`` as it counts now: an open one past its expiry is expired, swept or not."""
    approval = found.approval
    if approval.state in _OPEN and approval.expires_ms <= now_ms:
        return replace(found, approval=replace(approval, state=ApprovalState.EXPIRED))
    return found


def _require_pending(approval: Approval) -> None:
    if approval.state is ApprovalState.EXPIRED:
        raise Conflict("approval_expired", "this request has expired; the agent may ask again")
    if approval.state is not ApprovalState.PENDING:
        raise Conflict("approval_decided", f"this request is {approval.state.value} already")


def _hold(row: Row) -> Hold:
    return Hold(
        job_id=text(row, "job_id"),
        experiment_id=text(row, "experiment_id"),
        token_id=text(row, "token_id"),
        session_id=maybe_text(row, "session_id"),
        cost=Money(number(row, "cost_bound_cents"), text(row, "currency")),
        shots=number(row, "shots"),
    )


def _check_terms(terms: Terms) -> None:
    digest_ok = len(terms.circuit_sha256) == 64 and not set(terms.circuit_sha256) - set(
        "0123456789abcdef"
    )
    names_ok = (
        is_slug(terms.agent_id) and is_slug(terms.experiment_id) and is_backend(terms.backend)
    )
    if not (digest_ok and names_ok and terms.shots > 0 and terms.cost_ceiling_cents >= 0):
        raise Malformed("malformed_terms", "these terms cannot be those of a job")
    Money(terms.cost_ceiling_cents, terms.currency)
