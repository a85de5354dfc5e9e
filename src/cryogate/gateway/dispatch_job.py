"""A claimed job: the columns that dispatch acts on, and what derives from them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Self

import msgspec

from cryogate.domain.events import Event, Outcome
from cryogate.domain.experiments import Release
from cryogate.domain.jobs import JobState
from cryogate.domain.money import SAME, Money, Rate
from cryogate.ports.budgets import Hold
from cryogate.ports.credentials import LeaseTerms
from cryogate.ports.revocations import Subject
from cryogate.ports.store import Row

#: Marks in ``jobs.failure`` of a job at a vendor that is asked to stop; they survive a crash.
CANCEL_MARK, REVOKE_MARK = "cancel_requested", "revoked"


class Job(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One row. ``program`` is None when it is too long to come with the claim."""

    job_id: str
    agent_id: str
    owner: str
    experiment_id: str
    token_id: str
    token_issued_ms: int
    session_id: str | None
    backend: str
    shots: int
    state: JobState
    circuit_sha256: str
    program: str | None
    results: Release
    currency: str
    cost_bound_cents: int
    policy_digest: str
    approval_id: str | None
    vendor_id: str | None
    failure: str | None
    claim_fence: int
    price_currency: str
    rate: str
    updated_ms: int

    @cached_property
    def scheme(self) -> str:
        """The provider's scheme: what stands before the colon of the backend's name."""
        return self.backend.partition(":")[0]

    @property
    def converted_at(self) -> Rate:
        """The rate at which the job's bound was converted out of its price's currency."""
        if not self.rate:
            return SAME
        num, _, den = self.rate.partition("/")
        return Rate(int(num), int(den))

    @property
    def ceiling_cents(self) -> int:
        """The bound in the price's currency, which is what its vendor counts in."""
        rate = self.converted_at
        return self.cost_bound_cents * rate.den // rate.num

    def hold(self) -> Hold:
        """What the job holds, exactly as it was reserved."""
        return Hold(
            self.job_id, self.experiment_id, self.token_id, self.session_id,
            Money(self.cost_bound_cents, self.currency), self.shots,
        )  # fmt: skip

    # Asked for again and again on a job's way; a job that has changed is another one.
    @cached_property
    def _lease_terms(self) -> LeaseTerms:
        return LeaseTerms(
            self.scheme, self.backend, self.experiment_id, self.agent_id, self.session_id or ""
        )

    @cached_property
    def _subject(self) -> Subject:
        return Subject(
            self.token_id, self.agent_id, self.owner, self.experiment_id,
            self.token_issued_ms, self.session_id,
        )  # fmt: skip

    def lease_terms(self) -> LeaseTerms:
        """What a credential for this job is for."""
        return self._lease_terms

    def subject(self) -> Subject:
        """Everything by which the job could have been revoked."""
        return self._subject

    def event(
        self,
        action: str,
        outcome: Outcome,
        now_ms: int,
        *,
        reasons: tuple[str, ...] | None = None,
        cost_actual_cents: int | None = None,
        runtime_ms: int | None = None,
        actor: str | None = None,
    ) -> Event:
        """An audit event about this job."""
        return Event(
            timestamp_ms=now_ms,
            action=action,
            outcome=outcome,
            agent_id=self.agent_id,
            human_owner=self.owner,
            experiment_id=self.experiment_id,
            circuit_sha256=self.circuit_sha256,
            qpu=self.backend,
            shots=self.shots,
            token_id=self.token_id,
            session_id=self.session_id,
            job_id=self.job_id,
            cost_estimate_cents=self.cost_bound_cents,
            cost_actual_cents=cost_actual_cents,
            currency=self.currency,
            runtime_ms=runtime_ms,
            policy_digest=self.policy_digest or None,
            decision_reasons=reasons,
            approval_id=self.approval_id,
            actor_chain=None if actor is None else (actor,),
        )

    @classmethod
    def made(cls, params: Mapping[str, Any], state: JobState, results: Release) -> Self:
        """The job of a row that has just been made of ``params``, which are ours."""
        return cls(
            job_id=params["job_id"], agent_id=params["agent_id"], owner=params["owner"],
            experiment_id=params["experiment_id"], token_id=params["token_id"],
            token_issued_ms=params["token_issued_ms"], session_id=params["session_id"],
            backend=params["backend"], shots=params["shots"], state=state,
            circuit_sha256=params["circuit_sha256"], program=None, results=results,
            currency=params["currency"], cost_bound_cents=params["cost_bound_cents"],
            policy_digest=params["policy_digest"], approval_id=params["approval_id"],
            vendor_id=None, failure=None, claim_fence=params["claim_fence"],
            price_currency=params["price_currency"], rate=params["rate"],
            updated_ms=params["now_ms"],
        )  # fmt: skip


_COLUMNS = Job.__struct_fields__


def job_of(row: Row) -> Job:
    """The job of a row, every column checked for its type.

    Raises:
        msgspec.ValidationError: the row is not one that this program wrote.
    """
    return msgspec.convert({name: row[name] for name in _COLUMNS}, Job)
