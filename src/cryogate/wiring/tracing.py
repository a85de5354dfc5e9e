"""Tracing: what is measured when it is on. Off, none of these wrappers is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import time_ns

from cryogate.config import Config
from cryogate.config.secret_files import read_secret
from cryogate.domain.decisions import Decision, Violation
from cryogate.gateway.accepting import Acceptance, Acceptor
from cryogate.gateway.case import Case
from cryogate.gateway.pipeline import Check
from cryogate.ports.keys import TokenSigner
from cryogate.ports.policy import GrantFacts, PolicyEngine, Question
from cryogate.ports.tracing import NO_SPANS, Spans
from cryogate.telemetry.exporter import Exporter
from cryogate.telemetry.tracer import Tracer
from cryogate.wiring.doors import operator_door


class Tracing:
    """The tracer and its exporter; ``tracer`` is None while tracing is off."""

    def __init__(self, whole: Config, replica_id: str) -> None:
        config = whole.tracing
        self.tracer: Tracer | None = None
        self.exporter: Exporter | None = None
        if not config.url:
            return
        token = ""
        if config.token_file:
            token = read_secret("tracing.token_file", config.token_file)
        self._door = operator_door(
            "tracing.url", config.url, whole.outbound, timeout_s=5.0, max_bytes=64 << 10
        )
        resource = {"service.name": "cryogate", "service.instance.id": replica_id}
        self.exporter = Exporter(self._door.send, config.url, token, resource)
        self.tracer = Tracer(self.exporter.keep, config.one_in)

    @property
    def spans(self) -> Spans:
        """What the core calls."""
        return NO_SPANS if self.tracer is None else self.tracer

    def policy(self, engine: PolicyEngine) -> PolicyEngine:
        """``engine``, measured."""
        return engine if self.tracer is None else _Policy(engine, self.tracer)

    def checks(self, checks: Sequence[Check]) -> Sequence[Check]:
        """``checks`` in their order, each measured."""
        if self.tracer is None:
            return checks
        return [_Check(check, self.tracer) for check in checks]

    def acceptor(self, acceptor: Acceptor) -> Acceptor:
        """``acceptor``, measured."""
        return acceptor if self.tracer is None else _Acceptor(acceptor, self.tracer)

    def signer(self, signer: TokenSigner) -> TokenSigner:
        """``signer``, measured."""
        return signer if self.tracer is None else _Signer(signer, self.tracer)

    async def close(self) -> None:
        """Send what is left."""
        if self.exporter is not None:
            await self.exporter.close()
            await self._door.close()


class _Check(Check):
    def __init__(self, check: Check, tracer: Tracer) -> None:
        self._check, self._tracer, self.step = check, tracer, check.step
        self._name = f"check.{type(check).__name__.removesuffix('Check').lower()}"

    async def __call__(self, case: Case) -> Sequence[Violation]:
        caller = case.caller
        self._tracer.note(
            agent_id=caller.agent_id,
            experiment_id=caller.grant.experiment_id,
            token_id=caller.token_id,
        )
        with self._tracer.step(self._name):
            return await self._check(case)


class _Acceptor(Acceptor):
    """Not a subclass by kinship: it only hands on, and everything it inherits is replaced."""

    def __init__(self, acceptor: Acceptor, tracer: Tracer) -> None:
        self._acceptor, self._tracer = acceptor, tracer

    async def commit(self, acceptance: Acceptance) -> None:
        job_id, begun_ns = acceptance.hold.job_id, time_ns()
        self._tracer.note(job_id=job_id)
        with self._tracer.step("job.reserve"):
            await self._acceptor.commit(acceptance)
        self._tracer.accepted(job_id, begun_ns)


class _Policy(PolicyEngine):
    def __init__(self, engine: PolicyEngine, tracer: Tracer) -> None:
        self._engine, self._tracer = engine, tracer

    @property
    def digest(self) -> str:
        return self._engine.digest

    async def _evaluate(self, question: Question) -> Decision:
        experiment = question.experiment
        self._tracer.note(
            agent_id=question.agent.id, experiment_id="" if experiment is None else experiment.id
        )
        with self._tracer.step("policy.decide"):
            return await self._engine.decide(question)

    async def _caps(self, question: Question) -> GrantFacts | None:
        with self._tracer.step("policy.caps"):
            return await self._engine.caps(question)

    async def close(self) -> None:
        await self._engine.close()


class _Signer(TokenSigner):
    def __init__(self, signer: TokenSigner, tracer: Tracer) -> None:
        self._signer, self._tracer = signer, tracer

    async def sign(self, header: Mapping[str, str], payload: bytes) -> str:
        with self._tracer.step("token.sign"):
            return await self._signer.sign(header, payload)
