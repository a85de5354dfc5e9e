"""What a bundle does, found out in a process that can be killed, before it is in force."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from cryogate.circuits.errors import WorkerFailed
from cryogate.circuits.pool import GuardedPool, WorkerLimits
from cryogate.domain.decisions import Decision, Deny
from cryogate.policies.answer import MalformedAnswer, read_decision
from cryogate.policies.bundle_files import Bundle, BundleInvalid
from cryogate.policies.question import encode_question
from cryogate.policies.testing import TestResult
from cryogate.ports.policy import Question, no_answer

ENTRYPOINT = "cryogate.policies.rehearsal_worker:entry"
_TIMEOUT_S = 20.0
_BATCH = 500


class _Reply(msgspec.Struct, frozen=True):
    invalid: str | None = None
    tests: tuple[TestResult, ...] = ()
    answers: tuple[str | None, ...] = ()


class Rehearsal:
    """Runs bundles in a guarded worker: bounded memory and CPU time, killed when late."""

    def __init__(self, *, cpu_seconds: int = 10) -> None:
        self._pool = GuardedPool(
            ENTRYPOINT,
            size=1,
            limits=WorkerLimits(cpu_seconds=cpu_seconds, max_reply_bytes=1 << 26),
            request_timeout_s=_TIMEOUT_S,
            max_jobs=20,
        )

    async def run(self, files: Mapping[str, bytes]) -> tuple[TestResult, ...]:
        """The bundle's own tests and the samples that no bundle may allow.

        Raises:
            BundleInvalid: it cannot be read or has no tests, or running it took too long.
        """
        return (await self._call(files, None)).tests

    async def ask(self, bundle: Bundle, questions: Sequence[Question]) -> list[Decision]:
        """What the bundle says to each question; errors are denials, as when it is in force.

        Raises:
            BundleInvalid: the bundle cannot be read, or takes too long.
        """
        decisions: list[Decision] = []
        for first in range(0, len(questions), _BATCH):
            batch = [json.loads(encode_question(q)) for q in questions[first : first + _BATCH]]
            reply = await self._call(bundle.files, batch)
            decisions += [_decision(answer, bundle.digest) for answer in reply.answers]
        if len(decisions) != len(questions):
            raise BundleInvalid("the bundle's worker did not answer every question")
        return decisions

    async def close(self) -> None:
        """End the worker."""
        await self._pool.close()

    async def _call(self, files: Mapping[str, bytes], questions: list[Any] | None) -> _Reply:
        try:
            texts = {name: content.decode() for name, content in files.items()}
        except UnicodeDecodeError as error:
            raise BundleInvalid("a file of the bundle is not UTF-8") from error
        payload = json.dumps({"files": texts, "questions": questions}).encode()
        try:
            reply = msgspec.json.decode(await self._pool.call(payload), type=_Reply)
        except WorkerFailed as failed:
            why = {"timeout": "takes too long", "memory": "needs too much memory"}
            raise BundleInvalid(
                f"the bundle {why.get(failed.reason, 'cannot be run')}: it was stopped"
            ) from failed
        if reply.invalid is not None:
            raise BundleInvalid(reply.invalid)
        return reply


def _decision(answer: str | None, digest: str) -> Decision:
    try:
        if answer is not None:
            return read_decision(answer, digest)
    except MalformedAnswer:
        pass
    return Deny(no_answer(), (), "")
