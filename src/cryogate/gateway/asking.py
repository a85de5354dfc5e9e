"""What an agent may ask its humans for, with a reason: a job ahead of time, a raw result.

(1) The request is judged as the job itself would be: what policy denies, no human is asked for.
(2) The terms are formed here from what was parsed and priced, never taken from the request (A6).
(3) The reason is plain text, and stands beside the terms, never in them (H4).
(4) Asking again for the same terms gives the request that waits already (H5).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated

import msgspec

from cryogate.domain.approvals import AnyTerms, ReleaseTerms
from cryogate.domain.decisions import Allow, ObligationKind
from cryogate.domain.errors import Conflict, Forbidden, NotFound
from cryogate.domain.experiments import Release
from cryogate.domain.ids import JOB, is_minted
from cryogate.domain.jobs import JobState
from cryogate.domain.texts import require_plain
from cryogate.gateway.caller import Caller
from cryogate.gateway.case import Case
from cryogate.gateway.pipeline import Pipeline
from cryogate.gateway.requests import BackendName, EstimateRequest, ProgramText, Shots
from cryogate.gateway.standing import number, read_standing, text
from cryogate.gateway.verdicts import demand_of, refusal_of, terms_of
from cryogate.ports.approvals import ONE, Approvals, Demand
from cryogate.ports.clock import Clock
from cryogate.ports.provider import Backend
from cryogate.ports.store import GuardFailed, Row, Store, UnitOfWork

RawDemand = Callable[[Caller, Row], Awaitable[Demand | None]]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]


class JobAsk(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="job"):
    """May this job run, when I submit it?"""

    backend: BackendName
    program: ProgramText
    shots: Shots
    reason: Reason


class ReleaseAsk(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="release"
):
    """May I read this job's raw result, once?"""

    job_id: str
    reason: Reason


class Asking:
    """Opens requests in the caller's name. Answers with the request's id, and whether it is new."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        pipeline: Pipeline,
        approvals: Approvals,
        devices: Callable[[], Mapping[str, Backend]],
        raw_demand: RawDemand,
    ) -> None:
        self._store = store
        self._clock = clock
        self._pipeline = pipeline
        self._approvals = approvals
        self._devices = devices
        self._raw_demand = raw_demand

    async def job(self, caller: Caller, ask: JobAsk) -> tuple[str, bool]:
        """Ask for a yes to a job on exactly these terms.

        Raises:
            Refused: the job would not be accepted anyhow; with every violation.
            Conflict: it needs no approval.
            Unavailable: somebody who must answer did not.
        """
        reason = require_plain(ask.reason, 1000, "reason")
        now_ms = self._clock.now_ms()
        standing = await read_standing(self._store, caller, None)
        request = EstimateRequest(backend=ask.backend, program=ask.program, shots=ask.shots)
        case = Case(caller, request, "job:estimate", now_ms, standing, self._devices())
        decision = await self._pipeline.run(case)  # (1)
        if not isinstance(decision, Allow):
            raise refusal_of(decision)
        if not decision.obliges(ObligationKind.APPROVAL):
            raise Conflict("no_approval_needed", "this job needs no approval: submit it")
        return await self._open(caller, terms_of(case), reason, now_ms, demand_of(decision))

    async def release(self, caller: Caller, ask: ReleaseAsk) -> tuple[str, bool]:
        """Ask for one reading of a job's raw result.

        Raises:
            NotFound: absent, or of another agent or experiment; the two look the same (A1).
            Conflict: the job has no raw result, or reading it needs no approval.
            Forbidden: no approval would help.
        """
        reason = require_plain(ask.reason, 1000, "reason")
        row = None
        if is_minted(ask.job_id, JOB):
            row = await self._store.fetch_one("result_of_job", {"job_id": ask.job_id})
        if (
            row is None
            or row["agent_id"] != caller.agent_id
            or row["experiment_id"] != caller.grant.experiment_id
        ):
            raise NotFound("job_not_found", "no such job")
        if row["state"] != JobState.DONE or row["results"] != Release.RAW:
            raise Conflict("no_raw_result", "the job is not done, or ran without the right to raw")
        least = await self._raw_demand(caller, row)  # (1)
        if least is None:
            raise Conflict("no_approval_needed", "this result needs no approval: read it")
        terms = ReleaseTerms(
            agent_id=caller.agent_id,
            experiment_id=caller.grant.experiment_id,
            job_id=ask.job_id,
            circuit_sha256=text(row, "circuit_sha256"),
            backend=text(row, "backend"),
            shots=number(row, "shots"),
        )
        return await self._open(caller, terms, reason, self._clock.now_ms(), least)

    async def _open(
        self, caller: Caller, terms: AnyTerms, reason: str, now_ms: int, least: Demand = ONE
    ) -> tuple[str, bool]:
        found = await self._approvals.find_waiting(terms, now_ms)
        if found is None:
            found = await self._approvals.find_approved(terms, now_ms, least)
        if found is not None:  # (4)
            return found.approval_id, False
        approval_id, statements, events = self._approvals.open(
            terms, None, caller.owner, reason, now_ms, requested_by=caller.agent_id, least=least
        )
        try:
            await self._store.commit(UnitOfWork(statements, events))
        except GuardFailed as failed:
            violations = self._approvals.explain(failed.guard)
            raise Forbidden("limit_reached", "no more requests now", violations) from failed
        return approval_id, True
