"""What a vendor would refuse of a job, asked before there is one: only on a preview (ADR 52).

(1) Asked only for what the gateway itself would let through: a vendor hears nothing that policy
    denies, and nobody can have it check circuits that he may not run.
(2) What is sent is what a submission would send: our own text, read back by another parser (C5).
(3) An intent event is on disk before the vendor hears of the circuit (L3).
(4) One check at a time for an agent, and few for a vendor, each with an end: a preview is free, so
    it must not become a way to keep vendors or this process busy.
(5) The answer is advice. It lets nothing through: submission is judged as if it were not there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Final

from cryogate.circuits import CircuitError, WorkerFailed
from cryogate.domain.decisions import Allow, Decision
from cryogate.domain.errors import Throttled, Unavailable
from cryogate.domain.events import Event, Outcome
from cryogate.domain.ids import JOB, new_id
from cryogate.gateway.case import Case, known
from cryogate.gateway.second_reading import SecondReader
from cryogate.gateway.settle import printable
from cryogate.gateway.vendor_check import VendorCheck
from cryogate.ports.clock import Clock
from cryogate.ports.credentials import LeaseIssuer, LeaseNotRevoked, LeaseTerms
from cryogate.ports.provider import Provider, ProviderError, Submission
from cryogate.ports.store import Store, UnitOfWork

log = logging.getLogger("cryogate.checks")
_AT_ONCE: Final = 4
_MOST: Final = 16
_LEASE_S: Final = 60


class VendorChecks:
    """Each check has a lease of its own, which ends with it: no job is there to use it later."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        providers: Mapping[str, Provider],
        leases: LeaseIssuer,
        reader: SecondReader,
        revoked: Callable[[Case], bool],
        timeout_s: float = 20.0,
    ) -> None:
        self._store, self._clock, self._providers = store, clock, providers
        self._leases, self._reader, self._revoked = leases, reader, revoked
        self._timeout_s = timeout_s
        self._busy: set[str] = set()
        self._slots = {scheme: asyncio.Semaphore(_AT_ONCE) for scheme in providers}

    async def ask(self, case: Case, decision: Decision) -> VendorCheck:
        """(1) to (5): what the vendor of ``case``'s backend says of it.

        Raises:
            Throttled: (4).
        """
        if not isinstance(decision, Allow):
            return VendorCheck("not_asked", ("the gateway itself would refuse this",))  # (1)
        scheme = case.request.backend.partition(":")[0]
        provider = self._providers.get(scheme)
        if provider is None or type(provider).validate is Provider.validate:
            return VendorCheck("not_asked", ("this vendor offers no check",))
        agent_id = case.caller.agent_id
        if agent_id in self._busy or self._slots[scheme].locked():
            raise Throttled(
                "vendor_check_busy", "another check is running: ask again", retry_after_s=5
            )
        self._busy.add(agent_id)
        try:
            async with self._slots[scheme], asyncio.timeout(self._timeout_s):
                return await self._asked(case, decision, provider)
        except TimeoutError:
            return VendorCheck("unknown", ("the vendor took too long",))
        finally:
            self._busy.discard(agent_id)

    async def _asked(self, case: Case, decision: Allow, provider: Provider) -> VendorCheck:
        try:
            submission = await self._submission(case)
        except CircuitError as error:
            return VendorCheck("refused", (printable(f"{error.code}: {error.detail}"),))
        except WorkerFailed:
            return VendorCheck("unknown", ("no second opinion on the circuit to be had just now",))
        request, caller = case.request, case.caller
        terms = LeaseTerms(
            provider.scheme, request.backend, caller.grant.experiment_id, caller.agent_id,
            request.session_id or "", case.standing.experiment.cost_center or "",
        )  # fmt: skip
        await self._note(case, Outcome.INTENT, decision)  # (3)
        try:
            if self._revoked(case):
                return VendorCheck("not_asked", ("revoked meanwhile",))
            lease = await self._leases.lease(terms, _LEASE_S)
            try:
                found = await provider.validate(submission, lease)
            finally:
                # one that cannot be ended is tried again, and its agent waits meanwhile (R6)
                with contextlib.suppress(LeaseNotRevoked):
                    await self._leases.revoke(lease.lease_id)
        except ProviderError as error:
            log.info("%s: %s", provider.scheme, error.detail)
            return VendorCheck("unknown", (printable(error.detail),))
        except Unavailable:
            return VendorCheck("unknown", ("there is no credential for this vendor just now",))
        except Exception:
            log.exception("%s cannot check", provider.scheme)
            return VendorCheck("unknown", ("the vendor gave no answer that can be used",))
        if not found:
            return VendorCheck("accepted")
        return VendorCheck("refused", tuple(printable(why) for why in tuple(found)[:_MOST]))

    async def _submission(self, case: Case) -> Submission:
        """(2)."""
        program, device, quote = (
            known(case.program, "program"), known(case.backend, "backend"),
            known(case.quote, "price"),
        )  # fmt: skip
        text = b"" if device.dialect is None else await self._reader.text(program, device.dialect)
        ceiling = quote.price or quote.bound
        return Submission(
            new_id(JOB), case.request.backend, program, case.request.shots,
            case.caller.grant.experiment_id, ceiling.cents, text,
        )  # fmt: skip

    async def _note(self, case: Case, outcome: Outcome, decision: Allow) -> None:
        caller, program = case.caller, known(case.program, "program")
        event = Event(
            timestamp_ms=self._clock.now_ms(),
            action="job.checked_by_vendor",
            outcome=outcome,
            agent_id=caller.agent_id,
            human_owner=caller.owner,
            experiment_id=caller.grant.experiment_id,
            purpose=case.standing.experiment.purpose,
            circuit_sha256=program.fingerprint,
            qpu=case.request.backend,
            shots=case.request.shots,
            token_id=caller.token_id,
            session_id=case.request.session_id,
            policy_digest=decision.policy_digest or None,
            actor_chain=caller.actor_chain or None,
        )
        await self._store.commit(UnitOfWork((), (event,)))
