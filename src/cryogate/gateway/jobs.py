"""Accepting jobs: checks, then one transaction for reservation, job and intent event.

Numbered as in ``docs/life-of-a-request.md``: (1) to (5) are `Pipeline`, (6) and (7) are here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from cryogate.domain.decisions import Allow, Decision, Deny, ObligationKind
from cryogate.domain.errors import (
    Conflict,
    Forbidden,
    NotFound,
    Refused,
    Throttled,
    Unauthenticated,
)
from cryogate.domain.events import Event, Outcome
from cryogate.domain.experiments import Release
from cryogate.domain.ids import JOB, is_minted, new_id
from cryogate.domain.jobs import JobState
from cryogate.gateway.accepting import Acceptance, Acceptor
from cryogate.gateway.caller import Caller
from cryogate.gateway.case import Case, known, payer_of, price_of
from cryogate.gateway.dispatch_job import Job
from cryogate.gateway.estimates import estimate_view, facts_view
from cryogate.gateway.handover import Handover
from cryogate.gateway.pipeline import Pipeline
from cryogate.gateway.refusals import JobRefusals
from cryogate.gateway.requests import EstimateRequest, JobRequest, PreviewRequest
from cryogate.gateway.standing import Standings, text
from cryogate.gateway.vendor_checks import VendorChecks
from cryogate.gateway.verdicts import demand_of, refusal_of, terms_of
from cryogate.gateway.views import (
    EstimateView,
    JobPage,
    JobView,
    job_view,
)
from cryogate.outbound.hooks import Hooks, host_of
from cryogate.ports.approvals import Approvals
from cryogate.ports.budgets import Hold, Ledger, Payer
from cryogate.ports.clock import Clock
from cryogate.ports.policy import Action
from cryogate.ports.provider import Backend
from cryogate.ports.revocations import RevocationView
from cryogate.ports.store import (
    AlreadyExists,
    GuardFailed,
    SqlValue,
    Statement,
    Store,
)

_NEWEST = 2**62


class JobService:
    """Everything an agent can do with jobs, except reading results."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        pipeline: Pipeline,
        ledger: Ledger,
        acceptor: Acceptor,
        approvals: Approvals,
        revocations: RevocationView,
        devices: Callable[[], Mapping[str, Backend]],
        handover: Handover,
        accepted: Callable[[], None],
        refusals: JobRefusals,
        checks: VendorChecks,
        hooks: Hooks,
    ) -> None:
        self._store = store
        self._standings = Standings(store)
        self._clock = clock
        self._pipeline = pipeline
        self._ledger = ledger
        self._acceptor = acceptor
        self._approvals = approvals
        self._revocations = revocations
        self._devices = devices
        self._handover = handover
        self._accepted = accepted
        self._refusals = refusals
        self._checks = checks
        self._hooks = hooks

    async def submit(self, caller: Caller, request: JobRequest) -> tuple[JobView, bool]:
        """Accept a job, or return the one that this idempotency key already made.

        Returns the job and whether it is new.

        Raises:
            Refused: with every violation found; a refusal is recorded as an event.
            Unavailable: somebody who must answer did not; nothing was reserved.
        """
        digest = request.digest()
        if request.webhook is not None:
            self._hooks.check(request.webhook)
        if request.idempotency_key is not None:
            earlier = await self._earlier(caller, request.idempotency_key, digest)
            if earlier is not None:
                return earlier, False
        case, decision = await self._judge(caller, request, "job:submit")
        if not isinstance(decision, Allow):
            raise refusal_of(decision)
        return await self._accept(case, decision, request, digest)

    async def estimate(self, caller: Caller, request: PreviewRequest) -> EstimateView:
        """What `submit` would say, and what it would cost. Reserves and spends nothing."""
        case, decision = await self._judge(caller, request, "job:estimate")
        view = estimate_view(case, decision)
        if not request.check_vendor:
            return view
        return msgspec.structs.replace(view, vendor=await self._checks.ask(case, decision))

    async def job(self, caller: Caller, job_id: str) -> JobView:
        """One of the caller's jobs.

        Raises:
            NotFound: absent, or of another agent or experiment; the two look the same (A1).
        """
        row = None
        if is_minted(job_id, JOB):
            row = await self._store.fetch_one("job_view", {"job_id": job_id})
        if (
            row is None
            or row["agent_id"] != caller.agent_id
            or row["experiment_id"] != caller.grant.experiment_id
        ):
            raise NotFound("job_not_found", "no such job")
        return job_view(row)

    async def jobs(self, caller: Caller, limit: int, cursor: tuple[int, str] | None) -> JobPage:
        """The caller's jobs of this experiment, newest first."""
        before_ms, before_id = cursor or (_NEWEST, "")
        rows = await self._store.fetch(
            "jobs_of_agent",
            {
                "agent_id": caller.agent_id,
                "experiment_id": caller.grant.experiment_id,
                "before_ms": before_ms,
                "before_id": before_id,
                "limit": limit + 1,
            },
        )
        items = tuple(job_view(row) for row in rows[:limit])
        more = None
        if len(rows) > limit:
            last = rows[limit - 1]
            more = f"{last['created_ms']}.{last['job_id']}"
        return JobPage(items, more)

    # -- (1) to (5) ------------------------------------------------------------------------

    async def _judge(
        self, caller: Caller, request: EstimateRequest, action: Action
    ) -> tuple[Case, Decision]:
        now_ms = self._clock.now_ms()
        standing = await self._standings.read(caller, request.session_id)
        await self._ledger.know(standing.budget.epoch)
        if request.session_id is not None and self._revocations.revoked(
            caller.subject(request.session_id)
        ):
            raise Unauthenticated("revoked", "the session has been revoked")
        case = Case(caller, request, action, now_ms, standing, self._devices())
        try:
            decision = await self._pipeline.run(case)
        except Throttled:
            raise  # too much is answered, not recorded: a flood must not become one in the log
        except Refused as refusal:
            await self._record_refusal(case, (refusal.code,), "")
            raise
        if isinstance(decision, Deny) and action == "job:submit":
            await self._record_refusal(case, decision.reasons, decision.policy_digest)
        return case, decision

    async def _record_refusal(self, case: Case, reasons: tuple[str, ...], policy: str) -> None:
        noun = "job" if case.action == "job:submit" else "estimate"
        event = _event(case, f"{noun}.refused", Outcome.REFUSED, reasons, policy)
        await self._refusals.record(case, event)

    # -- (6) and (7) -----------------------------------------------------------------------

    async def _accept(
        self, case: Case, decision: Allow, request: JobRequest, digest: str
    ) -> tuple[JobView, bool]:
        caller, now_ms = case.caller, case.now_ms
        quote, program = known(case.quote, "price"), known(case.program, "program")
        job_id = new_id(JOB)
        state, approval_id = JobState.QUEUED, None
        extra: tuple[Statement, ...] = ()
        events: tuple[Event, ...] = ()
        if decision.obliges(ObligationKind.APPROVAL):
            # (6) a human's yes to exactly these terms, or the job waits for one
            terms, least = terms_of(case), demand_of(decision)
            approved = await self._approvals.find_approved(terms, now_ms, least)
            if approved is not None:
                approval_id = approved.approval_id
                extra = self._approvals.use(approval_id, terms, now_ms)
            else:
                state = JobState.PARKED
                why = "; ".join(
                    o.reason for o in decision.obligations if o.kind is ObligationKind.APPROVAL
                )
                approval_id, extra, events = self._approvals.open(
                    terms, job_id, caller.owner, why, now_ms, least=least
                )
        reasons = decision.reasons
        if request.webhook is not None:
            hook: dict[str, SqlValue] = {"job_id": job_id, "url": request.webhook}
            extra = (*extra, Statement("job_webhook", hook))
            reasons = (*reasons, f"webhook {host_of(request.webhook)}")
        # (7) one transaction: it fails, and nothing happened
        ticket = None
        if state is JobState.QUEUED and (ticket := self._handover.offer(request.backend)):
            state = JobState.DISPATCHING if ticket.intended else state
        hold = Hold(
            job_id, caller.grant.experiment_id, caller.token_id, request.session_id,
            quote.bound, request.shots, caller.ancestors,
        )  # fmt: skip
        right = _right(case, decision)
        accept = Statement(
            "accept_job",
            {
                "job_id": job_id,
                "agent_id": caller.agent_id,
                "owner": caller.owner,
                "experiment_id": caller.grant.experiment_id,
                "token_id": caller.token_id,
                "token_issued_ms": caller.issued_ms,
                "session_id": request.session_id,
                "backend": request.backend,
                "shots": request.shots,
                "state": state.value,
                "circuit_sha256": program.fingerprint,
                "program": program.to_bytes().decode("ascii"),
                "facts": msgspec.json.encode(facts_view(case)).decode(),
                "results": right.value,
                "currency": quote.bound.currency,
                "cost_bound_cents": quote.bound.cents,
                "policy_digest": decision.policy_digest,
                "approval_id": approval_id,
                "idempotency_key": request.idempotency_key,
                "request_sha256": digest,
                "metadata": msgspec.json.encode(request.metadata).decode(),
                **price_of(quote),
                **(_UNCLAIMED if ticket is None else ticket.claim()),
                "now_ms": now_ms,
            },
            guard="job.live",
        )
        intent = _event(
            case,
            "job.parked" if state is JobState.PARKED else "job.accepted",
            Outcome.INTENT,
            reasons,
            decision.policy_digest,
            job_id=job_id,
            approval_id=approval_id,
        )
        payer = payer_of(case)
        job = None
        if ticket is not None:
            job = Job.made(accept.params, state, right)
            if ticket.intended:
                events = (*events, job.event("job.dispatching", Outcome.INTENT, now_ms))
        accepted = Acceptance(accept, hold, payer, now_ms, (intent, *events), extra)
        try:
            await self._acceptor.commit(accepted)
        except BaseException as error:
            if ticket is not None:
                self._handover.decline(ticket)
            return await self._not_accepted(case, request, digest, accepted, error)
        if ticket is not None and job is not None:
            self._handover.take(ticket, job, program)
        elif state is JobState.QUEUED:
            self._accepted()
        if approval_id is not None:
            return await self.job(caller, job_id), True
        # what was just committed needs no reading back: it is what the statement said
        row = {**accept.params, **_NEW, "created_ms": now_ms, "updated_ms": now_ms}
        return job_view(row), True

    async def _not_accepted(
        self,
        case: Case,
        request: JobRequest,
        digest: str,
        accepted: Acceptance,
        error: BaseException,
    ) -> tuple[JobView, bool]:
        """The job that this key already made, or the refusal that ``error`` amounts to."""
        if isinstance(error, AlreadyExists) and request.idempotency_key is not None:
            earlier = await self._earlier(case.caller, request.idempotency_key, digest)
            if earlier is not None:
                return earlier, False
        elif isinstance(error, GuardFailed) and not isinstance(error, AlreadyExists):
            raise await self._guard_refusal(case, accepted.hold, accepted.payer, error) from error
        raise error

    async def _guard_refusal(
        self, case: Case, hold: Hold, payer: Payer, failed: GuardFailed
    ) -> Refused:
        violations = self._approvals.explain(failed.guard) or await self._ledger.explain(
            failed.guard, hold, payer, case.now_ms
        )
        reasons = tuple(v.limit for v in violations) or (failed.guard,)
        await self._record_refusal(case, reasons, "")
        if violations:
            return Forbidden("limit_reached", "a limit was reached meanwhile", violations)
        if failed.guard == "job.live":
            return Unauthenticated("revoked", "token revoked or experiment closed meanwhile")
        return Conflict("state_changed", f"{failed.guard} no longer holds; look again")

    async def _earlier(self, caller: Caller, key: str, digest: str) -> JobView | None:
        row = await self._store.fetch_one(
            "job_by_key", {"agent_id": caller.agent_id, "idempotency_key": key}
        )
        if row is None:
            return None
        if row["request_sha256"] != digest:
            raise Conflict(
                "idempotency_key_reused",
                "this idempotency key was used for another request; choose a fresh one",
            )
        return await self.job(caller, text(row, "job_id"))


_UNCLAIMED: dict[str, SqlValue] = {"claimed_by": None, "claim_fence": 0, "claim_until_ms": 0}
# Columns of a job that has just been made which the statement that made it does not name.
_NEW: dict[str, SqlValue] = {
    "vendor_id": None,
    "approval_state": None,
    "approval_expires_ms": None,
    "cost_actual_cents": None,
    "runtime_ms": None,
    "failure": None,
}


def _right(case: Case, decision: Allow) -> Release:
    right = case.caller.grant.results.narrowed(case.standing.experiment.release)
    if case.standing.session is not None:
        right = right.narrowed(case.standing.session.results)
    if decision.obliges(ObligationKind.AGGREGATES_ONLY):
        right = right.narrowed(Release.AGGREGATES)
    if decision.obliges(ObligationKind.NO_RESULTS):
        right = Release.NONE
    return right


def _event(
    case: Case,
    action: str,
    outcome: Outcome,
    reasons: tuple[str, ...],
    policy_digest: str,
    *,
    job_id: str | None = None,
    approval_id: str | None = None,
) -> Event:
    caller, quote = case.caller, case.quote
    return Event(
        timestamp_ms=case.now_ms,
        action=action,
        outcome=outcome,
        agent_id=caller.agent_id,
        human_owner=caller.owner,
        experiment_id=caller.grant.experiment_id,
        purpose=case.standing.experiment.purpose,
        circuit_sha256=case.program.fingerprint if case.program is not None else None,
        gate_set=case.facts.gate_set if case.facts is not None else None,
        qpu=case.request.backend,
        shots=case.request.shots,
        token_id=caller.token_id,
        token_ttl_s=max(0, caller.expires_ms - caller.issued_ms) // 1000,
        session_id=case.request.session_id,
        job_id=job_id,
        cost_estimate_cents=quote.bound.cents if quote is not None else None,
        currency=quote.bound.currency if quote is not None else None,
        policy_digest=policy_digest or None,
        decision_reasons=reasons,
        approval_id=approval_id,
        actor_chain=caller.actor_chain or None,
    )
