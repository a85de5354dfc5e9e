"""(10) Releases a result, as much of it as its reader's rights allow.

How aggregates are cut is decided with the first reading that sends any, and stored: whatever an
experiment says later, or a reader asks for, no later answer about this job shows more (D1).
Nothing a vendor said beside the outcomes is released, and per-shot memory only with raw (D2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import msgspec

from cryogate.domain.approvals import ReleaseTerms
from cryogate.domain.decisions import Allow, ObligationKind
from cryogate.domain.errors import Conflict, Forbidden, NotFound
from cryogate.domain.events import Event, Outcome
from cryogate.domain.experiments import Release
from cryogate.domain.ids import JOB, is_minted
from cryogate.domain.jobs import JobState
from cryogate.gateway.aggregates import (
    Ask,
    Cut,
    CutView,
    Expectation,
    Form,
    expectations,
    fewer,
    kept,
    probabilities,
)
from cryogate.gateway.caller import Caller
from cryogate.gateway.case import Standing
from cryogate.gateway.checks.policy import grant_facts, standing_facts
from cryogate.gateway.standing import number, read_standing, text
from cryogate.gateway.verdicts import demand_of
from cryogate.ports.approvals import Approvals, Demand
from cryogate.ports.audit import rfc3339
from cryogate.ports.clock import Clock
from cryogate.ports.policy import PolicyEngine, Question
from cryogate.ports.store import (
    AlreadyExists,
    GuardFailed,
    Row,
    SqlValue,
    Statement,
    Store,
    UnitOfWork,
)

_TRIES = 4
_counts = msgspec.json.Decoder(dict[str, int])


class ResultView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """By bit string, classical bit 0 rightmost. ``memory`` only with the right to raw.

    ``cut`` says what was withheld from an answer that might be less than everything (D3).
    ``provenance`` and ``receipt`` are the signed statement about the whole result and what the log
    holds of it; ``counts_salt`` opens the statement's digest to who was given all counts.
    """

    job_id: str
    backend: str
    shots: int
    circuit_sha256: str
    released: str
    created_at: str
    counts: Mapping[str, int] | None = None
    probabilities: Mapping[str, float] | None = None
    expectations: Mapping[str, Expectation] | None = None
    cut: CutView | None = None
    memory: msgspec.Raw | None = None
    provenance: msgspec.Raw | None = None
    receipt: msgspec.Raw | None = None
    counts_salt: str | None = None


class ResultService:
    """Reads results under policy; every release is an event, written before the answer."""

    def __init__(
        self, store: Store, clock: Clock, policy: PolicyEngine, approvals: Approvals
    ) -> None:
        self._store = store
        self._clock = clock
        self._policy = policy
        self._approvals = approvals

    async def result(self, caller: Caller, job_id: str, ask: Ask | None = None) -> ResultView:
        """The result of one of the caller's jobs, in the form that is asked for.

        Raises:
            NotFound: absent, or of another agent or experiment.
            Conflict: the job has no result (yet).
            Forbidden: token, experiment, policy or the job's own terms withhold it.
            Malformed: an expectation value that this job has not.
        """
        for _ in range(_TRIES):
            try:
                return await self._result(caller, job_id, ask or Ask())
            except AlreadyExists:
                continue  # another reading has decided meanwhile; its decision stands
        raise Conflict("release_busy", "others read this result too; try again")

    async def _result(self, caller: Caller, job_id: str, ask: Ask) -> ResultView:
        row = None
        if is_minted(job_id, JOB):
            row = await self._store.fetch_one("result_of_job", {"job_id": job_id})
        if (
            row is None
            or row["agent_id"] != caller.agent_id
            or row["experiment_id"] != caller.grant.experiment_id
        ):
            raise NotFound("job_not_found", "no such job")
        if row["state"] != JobState.DONE or row["counts"] is None:
            raise Conflict("no_result", f"the job is {row['state']}: there is no result to read")
        now_ms = self._now()
        right, asks, digest, reasons = await self._right(caller, row)
        spend: tuple[Statement, ...] = ()
        approval_id = None
        if asks is not None and right is Release.RAW:
            # one human yes to raw is one reading of it; without one there are aggregates
            terms = _terms(row, job_id)
            approved = await self._approvals.find_approved(terms, now_ms, asks)
            if approved is None:
                right, reasons = Release.AGGREGATES, ("raw_needs_approval", *reasons)
            else:
                approval_id = approved.approval_id
                spend = self._approvals.use(approval_id, terms, now_ms)
        outcome = Outcome.SUCCESS if right is not Release.NONE else Outcome.REFUSED
        decided = _decided(row) if right is Release.AGGREGATES else Cut()
        view = None
        if right is not Release.NONE:
            view = _view(job_id, row, right, decided, ask)
            reasons = (f"released:{right}", *_told(view), *reasons)
        if right is Release.AGGREGATES and row["decided_min_count"] is None:
            spend = (*spend, _decision(job_id, decided, now_ms))
        event = _event(caller, row, job_id, outcome, digest, reasons, now_ms, approval_id)
        try:
            await self._store.commit(UnitOfWork(spend, (event,)))
        except AlreadyExists:
            raise
        except GuardFailed as failed:
            raise Conflict("approval_used", "the approval was used meanwhile") from failed
        if view is None:
            raise Forbidden("result_withheld", "this job's results are not released to you")
        return view

    async def raw_demand(self, caller: Caller, row: Row) -> Demand | None:
        """Whose yes a raw reading of this result needs; None when it needs none.

        Raises:
            Forbidden: no yes would help: token, tier, job or experiment give less than raw.
        """
        right, asks, _, _ = await self._right(caller, row)
        if right is not Release.RAW:
            raise Forbidden("result_withheld", "no approval would make this result raw for you")
        return asks

    async def _right(
        self, caller: Caller, row: Row
    ) -> tuple[Release, Demand | None, str, tuple[str, ...]]:
        """The right, and whose yes to this very reading raw needs, if any."""
        standing = await read_standing(self._store, caller, None)
        decision = await self._policy.decide(_question(caller, standing, self._now()))
        if not isinstance(decision, Allow):
            return Release.NONE, None, decision.policy_digest, decision.reasons
        # rights only ever meet: the job's terms, the token's, the experiment's and policy's
        right = Release(text(row, "results"))
        right = right.narrowed(caller.grant.results).narrowed(Release(text(row, "release")))
        if decision.obliges(ObligationKind.AGGREGATES_ONLY):
            right = right.narrowed(Release.AGGREGATES)
        if decision.obliges(ObligationKind.NO_RESULTS):
            right = Release.NONE
        asks = demand_of(decision) if decision.obliges(ObligationKind.APPROVAL) else None
        return right, asks, decision.policy_digest, decision.reasons

    def _now(self) -> int:
        return self._clock.now_ms()


def _question(caller: Caller, standing: Standing, now_ms: int) -> Question:
    agent, experiment = standing_facts(standing)
    return Question(
        action="result:read",
        now_ms=now_ms,
        agent=agent,
        experiment=experiment,
        grant=grant_facts(caller),
    )


def _terms(row: Row, job_id: str) -> ReleaseTerms:
    return ReleaseTerms(
        agent_id=text(row, "agent_id"),
        experiment_id=text(row, "experiment_id"),
        job_id=job_id,
        circuit_sha256=text(row, "circuit_sha256"),
        backend=text(row, "backend"),
        shots=number(row, "shots"),
    )


def _decided(row: Row) -> Cut:
    """What was decided, met with what the experiment says now: a later rule only takes away."""
    now = Cut(number(row, "min_count"), number(row, "top_k"))
    if row["decided_min_count"] is None:
        return now
    return now.met(Cut(number(row, "decided_min_count"), number(row, "decided_top_k")))


def _decision(job_id: str, cut: Cut, now_ms: int) -> Statement:
    params: dict[str, SqlValue] = {
        "job_id": job_id,
        "min_count": cut.min_count,
        "top_k": cut.top_k,
        "now_ms": now_ms,
    }
    return Statement("decide_release", params)


def _told(view: ResultView) -> tuple[str, ...]:
    if view.cut is None:
        return ()
    cut = view.cut
    return (f"min_count:{cut.min_count}", f"top_k:{cut.top_k or 0}",
            f"withheld_shots:{cut.withheld_shots}")  # fmt: skip


def _view(job_id: str, row: Row, right: Release, decided: Cut, ask: Ask) -> ResultView:
    memory = cast("str | None", row["memory"]) if right is Release.RAW else None
    counts = _counts.decode(text(row, "counts"))
    # what is asked for is taken from what may go out, never from the result itself (D1)
    found = fewer(kept(counts, decided), ask.top)
    asked, cut = decided.met(Cut(1, ask.top)), None
    if asked != Cut():
        cut = CutView(asked.min_count, asked.top_k or None, found.withheld_shots)
    width = len(next(iter(counts)))
    return ResultView(
        job_id=job_id,
        backend=text(row, "backend"),
        shots=number(row, "shots"),
        circuit_sha256=text(row, "circuit_sha256"),
        released=right.value,
        created_at=rfc3339(number(row, "created_ms")),
        counts=found.counts if ask.form is Form.COUNTS else None,
        probabilities=probabilities(found) if ask.form is Form.PROBABILITIES else None,
        expectations=expectations(found, width, ask.z) if ask.z else None,
        cut=cut,
        memory=msgspec.Raw(memory.encode()) if memory is not None else None,
    )


def _event(
    caller: Caller,
    row: Row,
    job_id: str,
    outcome: Outcome,
    policy_digest: str,
    reasons: tuple[str, ...],
    now_ms: int,
    approval_id: str | None,
) -> Event:
    return Event(
        timestamp_ms=now_ms,
        action="result.read",
        outcome=outcome,
        agent_id=caller.agent_id,
        human_owner=caller.owner,
        experiment_id=caller.grant.experiment_id,
        purpose=text(row, "purpose"),
        circuit_sha256=text(row, "circuit_sha256"),
        qpu=text(row, "backend"),
        shots=number(row, "shots"),
        token_id=caller.token_id,
        job_id=job_id,
        policy_digest=policy_digest or None,
        decision_reasons=reasons,
        approval_id=approval_id,
        actor_chain=caller.actor_chain or None,
    )
