"""Every field and every action has a class; what has none is sealed."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import cryogate
from cryogate.domain import event_classes
from cryogate.domain.event_classes import (
    ALL,
    FIELDS,
    NONE,
    REASONS,
    FieldClass,
    open_actor,
    open_reason,
)
from cryogate.domain.events import Event

SOURCE = Path(cryogate.__file__).parent
_ACTION = re.compile(r"[a-z_]+\.[a-z_]+")
# Actions that are put together where they are written, by the part that is spelled out there.
_JOINED = {
    "job.": "job.", "alert.": "alert.", "budget.limit_": "budget.limit_", "": ".refused",
}  # fmt: skip


def test_every_field_of_an_event_has_a_class() -> None:
    assert tuple(FIELDS) == Event._fields


def test_sealing_by_position_knows_the_fields_order() -> None:
    names = Event._fields
    owner, circuit = names.index("human_owner"), names.index("circuit_sha256")
    reasons = names.index("decision_reasons")
    assert names[owner : circuit + 1] == (
        "human_owner", "experiment_id", "purpose", "circuit_sha256"
    )  # fmt: skip
    assert names[reasons:] == ("decision_reasons", "approval_id", "actor_chain")
    between = (*names[:owner], *names[circuit + 1 : reasons])
    assert all(FIELDS[name] is FieldClass.OPEN for name in between)


def _written() -> set[str]:
    """The actions that any code writes: what is handed to what makes events, and constants."""
    found: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if not name.endswith(("Event", "event", "Charge")):
                continue
            for given in (*node.args, *(k.value for k in node.keywords if k.arg == "action")):
                for part in ast.walk(given):
                    if isinstance(part, ast.JoinedStr):
                        head = part.values[0]
                        prefix = head.value if isinstance(head, ast.Constant) else ""
                        assert prefix in _JOINED or " " in str(prefix), (path.name, prefix)
                    elif isinstance(part, ast.Constant) and isinstance(part.value, str):
                        found |= {part.value} if _ACTION.fullmatch(part.value) else set()
    return found


def test_every_action_has_a_class_for_its_reasons() -> None:
    written = _written()
    assert len(written) > 40
    assert not written - REASONS.keys() - _JOINED.keys()


def test_a_new_action_or_reason_is_sealed_until_somebody_says_otherwise() -> None:
    assert not open_reason("job.invented", 0, "some_code")
    assert not open_reason("job.failed", 0, "vendor: rx(0.5) q[3]; // secret")
    assert open_reason("job.failed", 0, "result_unavailable")


def test_what_people_write_is_sealed_whatever_it_looks_like() -> None:
    for action in ("approval.granted", "approval.denied", "revocation.created", "policy.refused",
                   "experiment.shredded", "budget.limit_set"):  # fmt: skip
        assert REASONS[action] == NONE
        assert not open_reason(action, 0, "limit_cents 5")
    # behind what the program says comes a person's note
    assert open_reason("alert.closed", 1, "denial_burst")
    assert not open_reason("alert.closed", 3, "alice")
    assert open_reason("policy.activated", 0, "version 4")
    assert not open_reason("policy.activated", 1, "alice")


def test_people_addresses_and_digests_are_sealed_where_codes_are_not() -> None:
    told = (
        "operator alice", "operator:alice", "from 192.0.2.7", "ada@example.org", "person Ada",
        "a" * 64, "no role for subject 123", "terms:" + "a" * 64,
    )  # fmt: skip
    for reason in told:
        assert not open_reason("human.sign_in", 0, reason), reason
    assert open_reason("human.sign_in", 1, "method password")
    assert open_actor("ghz-bot")
    for actor in ("operator:alice", "ssf:https://idp.example", "Ada", ""):
        assert not open_actor(actor)


def test_the_table_is_data() -> None:
    assert all(0 <= most <= ALL for most in REASONS.values())
    assert sorted(REASONS) == list(REASONS)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", word) for word in event_classes.WORDS)
