"""Runs a bundle's own tests: cases in ``tests/data.json``, the same for every engine.

A case starts from a named question, sets some of its members (``agent.tier``), and says whether
the answer is a yes, which limits it must name and which obligations it must carry. They are data
and not Rego because ``with`` does not mean the same in every engine.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import Any

import msgspec

from cryogate.domain.decisions import Decision, Deny
from cryogate.policies.answer import MalformedAnswer, read_decision
from cryogate.policies.bundle_files import Bundle, BundleInvalid
from cryogate.policies.regorus import DECISION, make_engine


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One case; see the module."""

    start: str
    allow: bool
    set: dict[str, Any] = {}
    limits: tuple[str, ...] = ()
    obligations: tuple[str, ...] = ()


class _Cases(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    start: dict[str, dict[str, Any]]
    cases: dict[str, Case]


@dataclass(frozen=True, slots=True)
class TestResult:
    """One test; ``detail`` says why it did not pass."""

    __test__ = False

    name: str
    passed: bool
    detail: str


def cases(bundle: Bundle) -> dict[str, tuple[dict[str, Any], Case]]:
    """Every case by name, with its question in full.

    Raises:
        BundleInvalid: the cases cannot be read, or there are none.
    """
    try:
        found = msgspec.convert(bundle.data.get("tests"), _Cases)
    except msgspec.ValidationError as error:
        raise BundleInvalid(f"tests/data.json: {error}") from error
    if not found.cases:
        raise BundleInvalid("tests/data.json holds no case: an untested policy proves nothing")
    return {
        name: (_question(found.start[case.start], case), case) for name, case in found.cases.items()
    }


def _question(start: dict[str, Any], case: Case) -> dict[str, Any]:
    question = copy.deepcopy(start)
    for dotted, value in case.set.items():
        *parents, last = dotted.split(".")
        node = question
        for parent in parents:
            node = node[parent]
        node[last] = value
    return question


def shortfall(case: Case, decision: Decision) -> str:
    """What the decision lacks of what the case expects; empty when nothing."""
    if isinstance(decision, Deny):
        missing = set(case.limits) - {v.limit for v in decision.violations}
        told = ", ".join(sorted(decision.reasons))
        return f"denied: {told}" if case.allow else _list("does not name", missing)
    if not case.allow:
        return "allowed"
    missing = set(case.obligations) - {o.kind.value for o in decision.obligations}
    return _list("does not oblige to", missing)


def _list(text: str, names: set[str]) -> str:
    return f"{text} {', '.join(sorted(names))}" if names else ""


def run_bundle_tests(bundle: Bundle) -> list[TestResult]:
    """Every case of the bundle on the embedded engine.

    Raises:
        BundleInvalid: the engine does not read the bundle, or the cases cannot be read.
    """
    engine = make_engine(bundle)
    results = []
    for name, (question, case) in cases(bundle).items():
        engine.set_input_json(json.dumps(question))
        try:
            decision = read_decision(engine.eval_rule_as_json(DECISION), bundle.digest)
            detail = shortfall(case, decision)
        except MalformedAnswer as error:
            detail = str(error)
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            detail = f"{type(error).__name__}: {str(error)[:300]}"
        results.append(TestResult(name, not detail, detail))
    return results
