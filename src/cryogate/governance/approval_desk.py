"""Where operators decide: list, show, approve, take back, deny, grant ahead.

What nobody decides in time is swept by whoever sweeps parked jobs; until then it is shown as
expired, and no statement here can decide it.

Why a quorum is one: a vote takes the lock of the approval's row and names the version it has
judged, so votes are counted one after the other and two last voters cannot both believe to be
the first; the statement that accepts counts, in the database, the people whose yes stands and who
may still give it (`cryogate.governance.voters`).
"""

from __future__ import annotations

from dataclasses import replace

from cryogate.domain.approvals import ApprovalState, Terms
from cryogate.domain.errors import Conflict, Forbidden, Malformed, NotFound
from cryogate.domain.ids import APPROVAL, is_backend, is_slug, new_id
from cryogate.domain.money import Money
from cryogate.governance.approval_effects import JOB, STAGE, after_no, after_yes, still_parked
from cryogate.governance.approval_rows import (
    ApprovalRecord,
    approval_columns,
    approval_event,
    record,
)
from cryogate.governance.approvals import ApprovalRules
from cryogate.governance.paging import LATEST, Page, cut, decode_cursor, page_size
from cryogate.governance.people import require_note
from cryogate.governance.voters import Vote, Voter, Voters, own_vote
from cryogate.ports.approvals import Approval
from cryogate.ports.budgets import Ledger
from cryogate.ports.clock import Clock
from cryogate.ports.store import GuardFailed, SqlValue, Statement, Store, UnitOfWork

PENDING, MOVED, QUORUM, VOTER = (
    "approval.pending",
    "approval.moved",
    "approval.quorum",
    "approval.voter",
)
_OPEN = frozenset({ApprovalState.PENDING, ApprovalState.APPROVED})
_TRIES = 16


class ApprovalDesk:
    """Decisions by operators. Every ``actor`` is a logged-in operator's client id.

    ``allow_self_approval`` lets an operator decide about agents that it owns (H3). It
    is for deployments of one person.
    """

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        clock: Clock,
        *,
        rules: ApprovalRules | None = None,
        allow_self_approval: bool = False,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._clock = clock
        self._rules = rules or ApprovalRules()
        self._voters = Voters(store, allow_self_approval=allow_self_approval)

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
        found = [seen_at(record(row), now_ms) for row in await self._store.fetch(query, params)]
        return cut(found, limit, lambda r: (r.approval.requested_ms, r.approval.approval_id))

    async def get(self, approval_id: str) -> ApprovalRecord:
        """One approval.

        Raises:
            NotFound: no such approval.
        """
        row = await self._store.fetch_one("approval_by_id", {"approval_id": approval_id})
        if row is None:
            raise NotFound("no_such_approval", "there is no such approval")
        return seen_at(record(row), self._clock.now_ms())

    async def votes(self, found: ApprovalRecord) -> tuple[tuple[Vote, bool], ...]:
        """Who has said yes so far, and whether each yes still counts."""
        votes = await self._voters.votes(found.approval.approval_id)
        return tuple((vote, vote.voter.may(found.approval.role)) for vote in votes)

    async def approve(self, approval_id: str, actor: str, note: str = "") -> ApprovalRecord:
        """Say yes as ``actor``. With the last yes it needs, the request is decided, and its job
        queued or its agent promoted, in the same unit of work.

        Raises:
            Forbidden: the actor may not approve this: no operator, not in the role, the owner.
            NotFound: no such approval.
            Conflict: decided or expired already, this person has voted, or the job or agent is
                no longer what was to be approved.
        """
        for _ in range(_TRIES):
            found, now_ms = await self._open_request(approval_id, actor, note)
            approval = found.approval
            voter = await self._voters.approver(
                actor, approval.role, found.owner, approval.requested_by
            )
            votes = await self._voters.votes(approval_id)
            before, mine = self._voters.counted(found, votes), own_vote(voter, votes)
            if mine is not None and before < approval.quorum:
                raise Conflict("already_voted", "you have approved it; it needs somebody else too")
            vote = () if mine is not None else (_cast(approval_id, voter, note, now_ms),)
            action, then = "approval.voted", tuple[Statement, ...]()
            if before + len(vote) >= approval.quorum:
                action, then = "approval.approved", _accept(approval, actor, note, now_ms)
            event = approval_event(action, approval, found.owner, now_ms, actor=actor)
            statements = (_touch(found, now_ms), *vote, *then)
            try:
                await self._store.commit(UnitOfWork(statements, (event,)))
            except GuardFailed as failed:
                if failed.guard in (MOVED, QUORUM):
                    continue  # somebody voted, decided or lost a role meanwhile: judge anew
                raise await self._refusal(approval, failed) from failed
            return await self.get(approval_id)
        raise Conflict("changed_meanwhile", "this request changes too often; look at it again")

    async def take_back(self, approval_id: str, actor: str) -> ApprovalRecord:
        """Take back the actor's yes, while it has not decided anything.

        Raises:
            Forbidden: the actor is no operator.
            NotFound: no such approval.
            Conflict: decided or expired already, or the actor has not approved it.
        """
        for _ in range(_TRIES):
            found, now_ms = await self._open_request(approval_id, actor, "")
            voter = await self._voters.account(actor)
            params: dict[str, SqlValue] = {
                "approval_id": approval_id,
                "operator_id": voter.operator_id,
                "now_ms": now_ms,
            }
            event = approval_event(
                "approval.vote_withdrawn", found.approval, found.owner, now_ms, actor=actor
            )
            statements = (
                _touch(found, now_ms),
                Statement("withdraw_vote", params, guard=VOTER),
            )
            try:
                await self._store.commit(UnitOfWork(statements, (event,)))
            except GuardFailed as failed:
                if failed.guard == MOVED:
                    continue
                raise Conflict("no_vote", "you have not approved this request") from failed
            return await self.get(approval_id)
        raise Conflict("changed_meanwhile", "this request changes too often; look at it again")

    async def deny(self, approval_id: str, actor: str, note: str = "") -> ApprovalRecord:
        """Say no as ``actor``; the parked job is cancelled and its reservation given back.

        One no is enough, whoever has said yes. An owner may deny its own agent: a no needs no
        second person.

        Raises:
            Forbidden: the actor is no operator.
            NotFound: no such approval.
            Conflict: decided or expired already, or the job is not parked any more.
        """
        found, now_ms = await self._open_request(approval_id, actor, note)
        await self._voters.account(actor)
        approval = found.approval
        decide = deny_statement(approval, actor, note, now_ms)
        end = await after_no(self._store, self._ledger, approval, "approval denied", now_ms)
        event = approval_event("approval.denied", approval, found.owner, now_ms, actor=actor)
        try:
            await self._store.commit(UnitOfWork((decide, *end), (event,)))
        except GuardFailed as failed:
            raise await self._refusal(approval, failed) from failed
        return await self.get(approval_id)

    async def grant(self, terms: Terms, owner: str, actor: str, note: str = "") -> ApprovalRecord:
        """Approve ahead: one job on exactly these terms, once, before the approval expires.

        ``owner`` is the agent's owner as the registry has it. Where the terms demand more than
        one person, the request stays open until the others have agreed.

        Raises:
            Forbidden: the actor is no operator in the role, or owns the agent.
            Malformed: terms that no job could have.
        """
        require_note(note)
        demand = self._rules.demand(terms)
        voter = await self._voters.approver(actor, demand.role, owner, None)
        _check_terms(terms)
        now_ms, approval_id = self._clock.now_ms(), new_id(APPROVAL)
        approval = Approval(
            approval_id, ApprovalState.PENDING, terms, None, note, now_ms,
            now_ms + self._rules.ttl_ms, None, None, demand.quorum, demand.role,
        )  # fmt: skip
        columns = approval_columns(approval, owner, "{}", now_ms + self._rules.prompt_after_ms)
        statements = [
            Statement("grant_approval", columns),
            _cast(approval_id, voter, note, now_ms),
        ]
        events = [approval_event("approval.granted", approval, owner, now_ms, actor=actor)]
        if demand.quorum <= 1:
            statements += _accept(approval, actor, note, now_ms)
        else:
            events.append(approval_event("approval.requested", approval, owner, now_ms))
        try:
            await self._store.commit(UnitOfWork(tuple(statements), tuple(events)))
        except GuardFailed as failed:
            raise await self._refusal(approval, failed) from failed
        return await self.get(approval_id)

    async def withdraw(self, approval_id: str, actor: str) -> ApprovalRecord:
        """Take back an approval that waits to be used, whoever gave it.

        Raises:
            Forbidden: the actor is no operator.
            NotFound: no such approval.
            Conflict: it is used, over, or not approved yet (deny it then).
        """
        await self._voters.account(actor)
        found, now_ms = await self.get(approval_id), self._clock.now_ms()
        if found.approval.state is not ApprovalState.APPROVED:
            raise Conflict("approval_not_open", f"this approval is {found.approval.state.value}")
        params: dict[str, SqlValue] = {
            "approval_id": approval_id,
            "decided_by": actor,
            "now_ms": now_ms,
        }
        event = approval_event(
            "approval.withdrawn", found.approval, found.owner, now_ms, actor=actor
        )
        statement = Statement("withdraw_approval", params, guard=PENDING)
        try:
            await self._store.commit(UnitOfWork((statement,), (event,)))
        except GuardFailed as failed:
            raise Conflict("approval_decided", "this approval was used meanwhile") from failed
        return await self.get(approval_id)

    async def _open_request(
        self, approval_id: str, actor: str, note: str
    ) -> tuple[ApprovalRecord, int]:
        await self._voters.account(actor)
        require_note(note)
        found = await self.get(approval_id)
        _require_pending(found.approval)
        return found, self._clock.now_ms()

    async def _refusal(self, approval: Approval, failed: GuardFailed) -> Forbidden | Conflict:
        if failed.guard == VOTER:
            return Forbidden("operators_only", "only an active operator may do this")
        if failed.guard == STAGE:
            return Conflict("agent_changed", "the agent is inactive or in another stage now")
        if failed.guard != JOB or approval.job_id is None:
            return Conflict("approval_decided", "this request was decided or expired meanwhile")
        # a request whose job ended is closed; while the job is parked it stays open
        if await still_parked(self._store, approval.job_id):
            return Conflict("terms_changed", "the job is not what was asked to be approved")
        params: dict[str, SqlValue] = {
            "approval_id": approval.approval_id,
            "decided_by": None,
            "now_ms": self._clock.now_ms(),
        }
        await self._store.commit(UnitOfWork((Statement("withdraw_approval", params, None),), ()))
        return Conflict("job_ended", "the job is not parked any more")


def seen_at(found: ApprovalRecord, now_ms: int) -> ApprovalRecord:
    """``found`` as it counts now: an open one past its expiry is expired, swept or not."""
    approval = found.approval
    if approval.state in _OPEN and approval.expires_ms <= now_ms:
        return replace(found, approval=replace(approval, state=ApprovalState.EXPIRED))
    return found


def deny_statement(approval: Approval, actor: str, note: str, now_ms: int) -> Statement:
    """The no. Guard: `PENDING`."""
    return Statement("deny_approval", _decision(approval, actor, note, now_ms), guard=PENDING)


def _decision(approval: Approval, actor: str, note: str, now_ms: int) -> dict[str, SqlValue]:
    return {
        "approval_id": approval.approval_id,
        "decided_by": actor,
        "note": note,
        "terms_digest": approval.terms.digest(),
        "now_ms": now_ms,
    }


def _accept(approval: Approval, actor: str, note: str, now_ms: int) -> tuple[Statement, ...]:
    state, then = after_yes(approval, now_ms)
    params = {**_decision(approval, actor, note, now_ms), "state": state.value}
    return Statement("accept_approval", params, guard=QUORUM), *then


def _touch(found: ApprovalRecord, now_ms: int) -> Statement:
    params: dict[str, SqlValue] = {
        "approval_id": found.approval.approval_id,
        "terms_digest": found.approval.terms.digest(),
        "version": found.version,
        "now_ms": now_ms,
    }
    return Statement("touch_approval", params, guard=MOVED)


def _cast(approval_id: str, voter: Voter, note: str, now_ms: int) -> Statement:
    params: dict[str, SqlValue] = {
        "approval_id": approval_id,
        "person": voter.key,
        "operator_id": voter.operator_id,
        "note": note,
        "now_ms": now_ms,
    }
    return Statement("cast_vote", params, guard=VOTER)


def _require_pending(approval: Approval) -> None:
    if approval.state is ApprovalState.EXPIRED:
        raise Conflict("approval_expired", "this request has expired; the agent may ask again")
    if approval.state is not ApprovalState.PENDING:
        raise Conflict("approval_decided", f"this request is {approval.state.value} already")


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
