"""Rego in a process that is killed when a decision takes too long.

Embedded, an engine cannot be interrupted, so a rule that loops over what an agent sends would stop
the whole service. Where policy is written by people who are not trusted with that, it runs here:
the same engine behind the same port, in workers with limits on memory and time. A decision that is
not there in time is a no, and its worker is replaced.
"""

from __future__ import annotations

import json

from cryogate.circuits.errors import WorkerFailed
from cryogate.circuits.pool import GuardedPool, WorkerLimits
from cryogate.domain.decisions import Decision
from cryogate.policies.answer import MalformedAnswer, read_caps, read_decision
from cryogate.policies.bundle_files import Bundle
from cryogate.policies.guarded_worker import ANSWER, UNKNOWN, encode
from cryogate.policies.question import encode_question
from cryogate.policies.regorus import CAPS, DECISION, make_engine
from cryogate.ports.policy import GrantFacts, PolicyEngine, Question

ENTRYPOINT = "cryogate.policies.guarded_worker:entry"


class GuardedEngine(PolicyEngine):
    """About twice the time of the embedded engine, and none of its risk."""

    def __init__(self, bundle: Bundle, timeout_ms: int, workers: int = 2) -> None:
        """Raises `BundleInvalid` when the engine does not read the bundle.

        Reading it here is safe: only bundles that were read in a guarded worker before, or that
        ship with the product, come this far.
        """
        make_engine(bundle)
        self._bundle = bundle
        texts = {name: content.decode() for name, content in bundle.files.items()}
        self._files = json.dumps(texts).encode()
        self._pool = GuardedPool(
            ENTRYPOINT,
            size=workers,
            limits=WorkerLimits(cpu_seconds=max(1, timeout_ms // 1000), max_reply_bytes=1 << 21),
            request_timeout_s=timeout_ms / 1000,
            max_jobs=100_000,
        )

    @property
    def digest(self) -> str:
        """See `PolicyEngine.digest`."""
        return self._bundle.digest

    async def _evaluate(self, question: Question) -> Decision:
        return read_decision(await self._ask(question, DECISION), self._bundle.digest)

    async def _caps(self, question: Question) -> GrantFacts | None:
        return read_caps(await self._ask(question, CAPS))

    async def _ask(self, question: Question, rule: str) -> bytes:
        asked = encode_question(question)
        try:
            reply = await self._pool.call(encode(self._bundle.digest, rule, asked))
            if reply == UNKNOWN:
                reply = await self._pool.call(encode(self._bundle.digest, rule, asked, self._files))
        except WorkerFailed as failed:
            if failed.reason == "timeout":
                raise TimeoutError("the policy took too long and was stopped") from failed
            raise
        if reply[:1] != ANSWER:
            raise MalformedAnswer("the worker has no answer")
        return reply[1:]

    async def close(self) -> None:
        """End the workers."""
        await self._pool.close()
