"""Many questions through a real OPA at once."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec
from tests.support.policy import opa_binary

from cryogate.domain.decisions import Decision, Deny
from cryogate.policies.answer import MalformedAnswer, read_caps, read_decision
from cryogate.policies.question import encode_question
from cryogate.ports.policy import GrantFacts, Question, no_answer

_QUERY = """[{"decision": d, "caps": c} |
  some q in input.questions
  d := [x | x := data.cryogate.decision with input as q]
  c := [x | x := data.cryogate.caps with input as q]]"""


class _Answer(msgspec.Struct):
    decision: list[msgspec.Raw]
    caps: list[msgspec.Raw]


class _Expression(msgspec.Struct):
    value: list[_Answer]


class _Result(msgspec.Struct):
    expressions: list[_Expression]


class _Output(msgspec.Struct):
    result: list[_Result]


def opa_answers(
    bundle: Path, questions: Sequence[Question], digest: str
) -> list[tuple[Decision, GrantFacts | None]]:
    """Decision and caps of each question, as `OpaEngine` would read them from a server."""
    asked = b",".join(map(encode_question, questions))
    done = subprocess.run(
        [opa_binary(), "eval", "--bundle", str(bundle), "--stdin-input", "--strict-builtin-errors",
         "--format", "json", _QUERY],
        input=b'{"questions":[' + asked + b"]}",
        capture_output=True,
        timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    output = msgspec.json.decode(done.stdout, type=_Output)
    answers = output.result[0].expressions[0].value
    assert len(answers) == len(questions)
    return [(_decision(a.decision, digest), _caps(a.caps)) for a in answers]


def _decision(found: list[msgspec.Raw], digest: str) -> Decision:
    try:
        return read_decision(bytes(found[0]), digest)
    except (IndexError, MalformedAnswer):
        return Deny(no_answer(), (), "")


def _caps(found: list[msgspec.Raw]) -> GrantFacts | None:
    try:
        return read_caps(bytes(found[0]))
    except (IndexError, MalformedAnswer):
        return None
