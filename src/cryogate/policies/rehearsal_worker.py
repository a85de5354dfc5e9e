"""Inside a guarded worker: parse a bundle that nobody vouches for, and ask it questions.

regorus has no time-out, and some texts take it exponentially long to parse, so a bundle that is
not in force yet meets an engine only here, in a process that is killed when it takes too long.
"""

from __future__ import annotations

import json
import time
from typing import Any

from cryogate.policies.answer import MalformedAnswer, read_decision
from cryogate.policies.bundle_files import Bundle, BundleInvalid
from cryogate.policies.regorus import DECISION, make_engine
from cryogate.policies.samples import LARGE, NEVER
from cryogate.policies.testing import run_bundle_tests

# A decision takes well under a millisecond; what takes this long would stop the whole service.
SLOWEST_S = 0.5


def entry(payload: bytes) -> bytes:
    """One job: ``{"files": {path: text}, "questions": […]}`` → what the bundle makes of it.

    Without questions the bundle's own tests and the samples are run.
    """
    wanted = json.loads(payload)
    files = {name: text.encode() for name, text in wanted["files"].items()}
    try:
        bundle = Bundle.of(files)
        if wanted.get("questions") is None:
            found = _rehearse(bundle)
        else:
            found = _ask(bundle, wanted["questions"])
    except BundleInvalid as error:
        found = {"invalid": str(error)}
    return json.dumps(found).encode()


def _rehearse(bundle: Bundle) -> dict[str, Any]:
    tests = [
        {"name": f"test: {r.name}", "passed": r.passed, "detail": r.detail}
        for r in run_bundle_tests(bundle)
    ]
    engine = make_engine(bundle)
    for name, question in {**NEVER, **LARGE}.items():
        answer, seconds = _answer(engine, question, DECISION)
        detail = _fault(answer, bundle.digest, name in NEVER)
        if not detail and seconds > SLOWEST_S:
            detail = f"takes {seconds:.1f} s"
        tests.append({"name": f"never: {name}", "passed": not detail, "detail": detail})
    return {"tests": tests}


def _fault(answer: str | None, digest: str, never: bool) -> str:
    if answer is None:
        return ""  # an error is a no
    try:
        decision = read_decision(answer, digest)
    except MalformedAnswer:
        return ""  # and so is what is no decision
    return "allowed" if never and type(decision).__name__ == "Allow" else ""


def _ask(bundle: Bundle, questions: list[Any]) -> dict[str, Any]:
    engine = make_engine(bundle)
    answers = []
    for question in questions:
        decision, _ = _answer(engine, question, DECISION)
        answers.append(decision)
    return {"answers": answers}


def _answer(engine: Any, question: Any, rule: str) -> tuple[str | None, float]:
    began = time.process_time()
    try:
        engine.set_input_json(json.dumps(question))
        answer: str | None = engine.eval_rule_as_json(rule)
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        answer = None
    return answer, time.process_time() - began
