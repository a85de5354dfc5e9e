"""Rego in process, by Microsoft's regorus.

An engine belongs to the thread that made it and panics elsewhere as a ``BaseException``; adding a
file again does not replace it. So every thread has its own engine, made once from the bundle and
never changed; another bundle is another `RegorusEngine`.
"""

from __future__ import annotations

import json
import threading

import regorus

from cryogate.domain.decisions import Decision
from cryogate.policies.answer import read_caps, read_decision
from cryogate.policies.bundle_files import Bundle, BundleInvalid
from cryogate.policies.question import encode_question
from cryogate.ports.policy import GrantFacts, PolicyEngine, Question
from cryogate.ports.turns import next_turn

DECISION = "data.cryogate.decision"
CAPS = "data.cryogate.caps"
_KNOWN_CAPS = 1024


def make_engine(bundle: Bundle) -> regorus.Engine:
    """A fresh engine for this thread.

    Raises:
        BundleInvalid: the engine does not read the bundle.
    """
    engine = regorus.Engine()
    name = "the data"
    try:
        for name, text in bundle.policies:
            engine.add_policy(name, text)
        name = "the data"
        engine.add_data_json(json.dumps(bundle.data))
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        raise BundleInvalid(f"{name}: {str(error)[:400]}") from error
    return engine


class RegorusEngine(PolicyEngine):
    """The embedded engine. About 0.3 ms a decision; holds the interpreter lock meanwhile."""

    def __init__(self, bundle: Bundle) -> None:
        """Raises `BundleInvalid` when the engine does not read the bundle."""
        self._bundle = bundle
        self._mine = threading.local()
        self._known_caps: dict[str, GrantFacts | None] = {}
        self._engine()

    @property
    def digest(self) -> str:
        """See `PolicyEngine.digest`."""
        return self._bundle.digest

    async def _evaluate(self, question: Question) -> Decision:
        # All that wait for a decision have it in the same turn: ADR 72.
        await next_turn()
        answer = self._ask(question, DECISION)
        await next_turn()
        return read_decision(answer, self._bundle.digest)

    async def _caps(self, question: Question) -> GrantFacts | None:
        # Asked for every token with a question that holds nothing that moves. The key is the whole
        # input, and another bundle is another engine, so an answer is never good for less (A2).
        text = encode_question(question).decode()
        if text not in self._known_caps:
            if len(self._known_caps) >= _KNOWN_CAPS:
                del self._known_caps[next(iter(self._known_caps))]
            self._known_caps[text] = read_caps(self._eval(text, CAPS))
        return self._known_caps[text]

    def _ask(self, question: Question, rule: str) -> str:
        return self._eval(encode_question(question).decode(), rule)

    def _eval(self, text: str, rule: str) -> str:
        engine = self._engine()
        try:
            engine.set_input_json(text)
            answer: str = engine.eval_rule_as_json(rule)
        except BaseException:
            # After a panic nothing is known of its state: the next question gets a new engine.
            self._mine.engine = None
            raise
        return answer

    def _engine(self) -> regorus.Engine:
        engine = getattr(self._mine, "engine", None)
        if engine is None:
            engine = self._mine.engine = make_engine(self._bundle)
        return engine
