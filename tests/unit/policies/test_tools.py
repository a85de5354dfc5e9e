"""Explanations are true, suggestions allow what happened and no more, replays tell differences."""

from __future__ import annotations

import copy
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from tests.integration.test_opa import ABAC, bent, bundle_with, generated
from tests.support.policy import AGENT, CIRCUIT, EXPERIMENT, GRANT, ISSUE, JOB

from cryogate.domain.decisions import Allow
from cryogate.policies import Bundle, RegorusEngine, shipped_bundle
from cryogate.policies.explain import explain
from cryogate.policies.history import Asked
from cryogate.policies.rehearsal import Rehearsal
from cryogate.policies.remedies import put
from cryogate.policies.replay import replay
from cryogate.policies.suggest import suggest
from cryogate.ports.policy import BackendFacts, HistoryFacts, Question

replace = msgspec.structs.replace
OTHER = BackendFacts(name="local:null", scheme="local", simulator=True, qubits=9)
HARDWARE = BackendFacts(name="ionq:forte-1", scheme="ionq", simulator=False, qubits=36)


async def _why(question: Question, statements: Any = None, room: Path | None = None) -> Any:
    directory = shipped_bundle() if room is None else bundle_with(statements, room)
    bundle = Bundle.load(directory)
    return await explain(RegorusEngine(bundle).decide, bundle, question)


async def test_what_is_said_to_help_helps(tmp_path: Path) -> None:
    """The changes, made by hand in a fresh copy of the question, turn the no into a yes."""
    told: Counter[tuple[str, bool | None]] = Counter()
    worlds: tuple[tuple[Any, Any], ...] = (
        (None, generated),
        (ABAC, lambda n: bent(generated(n), n)),
    )
    for statements, make in worlds:
        bundle = Bundle.load(bundle_with(statements, tmp_path / str(statements is None)))
        engine = RegorusEngine(bundle)
        for number in range(400):
            question = make(number)
            found = await explain(engine.decide, bundle, question)
            told[found["decision"], found.get("verified")] += 1
            if not found.get("verified"):
                continue
            changed = copy.deepcopy(msgspec.to_builtins(question))
            for change in found["changes"]:
                put(changed, change["path"], change["to"])
            answer = await engine.decide(msgspec.convert(changed, Question))
            assert isinstance(answer, Allow), (question, found)
    assert told["deny", True] > 300
    assert told["allow", None] > 20


async def test_the_agents_own_way_comes_before_a_promotion() -> None:
    agent = replace(AGENT, tier="trusted")
    both = await _why(replace(JOB, agent=agent, backend=HARDWARE))
    assert [(c["who"], c["path"]) for c in both["changes"]] == [("agent", "backend")]
    only = replace(EXPERIMENT, allowed_backends=("ionq:forte-1",))
    hardware = await _why(replace(JOB, agent=agent, experiment=only, backend=HARDWARE))
    assert [(c["who"], c["to"]) for c in hardware["changes"]] == [("operator", "hardware")]
    assert hardware["verified"] is True


async def test_rules_are_named_with_their_place(tmp_path: Path) -> None:
    found = await _why(replace(JOB, shots=10_001))
    [rule] = found["decided_by"]
    assert rule["limit"] == "tier.max_shots"
    assert rule["where"].startswith("cryogate/limits.rego:")
    assert found["changes"][0]["how"] == "use at most 10000 shots"
    allowed = await _why(JOB)
    assert allowed["decided_by"][0]["where"].startswith("statement ")
    assert "changes" not in allowed


async def test_a_missing_condition_of_the_nearest_statement_is_found(tmp_path: Path) -> None:
    statements = {
        "sandboxed": {
            "principal": {"tier": "sandbox"}, "effect": "allow", "actions": ["job:*"],
            "resources": ["*"], "conditions": {"RequireSandbox": True, "MaxShots": 50},
        }
    }  # fmt: skip
    found = await _why(JOB, statements, tmp_path / "b")
    assert {c["path"] for c in found["changes"]} == {"agent.attributes.sandboxed", "shots"}
    assert found["verified"] is True


async def test_what_cannot_be_helped_is_said_so() -> None:
    found = await _why(replace(JOB, circuit=None))
    assert found["verified"] is False
    assert "facts" in found["still_in_the_way"]


def _asked(question: Question, number: int = 0) -> Asked:
    return Asked(f"job_{number}", question.now_ms, question, True)


async def test_a_suggestion_allows_all_that_happened_and_nothing_beyond(tmp_path: Path) -> None:
    history = [
        _asked(ISSUE, 1),
        _asked(replace(JOB, shots=70), 2),
        _asked(replace(JOB, shots=30, history=HistoryFacts(token_jobs=1, token_shots=70)), 3),
        _asked(replace(JOB, circuit=replace(CIRCUIT, depth=9, gate_set=("cx", "rz"))), 4),
    ]
    made = suggest("bot", history, [("result:read", "ghz")])
    room = bundle_with(dict(made), tmp_path / "b")
    engine = RegorusEngine(Bundle.load(room))
    for a in history:
        assert isinstance(await engine.decide(a.question), Allow), a
    read = replace(JOB, action="result:read", shots=None, circuit=None, backend=None, price=None)
    assert isinstance(await engine.decide(read), Allow)
    beyond = [
        replace(JOB, shots=101),
        replace(JOB, circuit=replace(CIRCUIT, depth=10)),
        replace(JOB, circuit=replace(CIRCUIT, gate_set=("x",))),
        replace(JOB, price=replace(JOB.price, cents=1)) if JOB.price is not None else JOB,
        replace(JOB, backend=OTHER,
                experiment=replace(EXPERIMENT, allowed_backends=("local:null",))),
        replace(JOB, history=HistoryFacts(token_jobs=2)),
        replace(ISSUE, grant=replace(GRANT, max_shots=1001)),
        replace(JOB, agent=replace(AGENT, id="eve"),
                experiment=replace(EXPERIMENT, allowed_agents=("eve",))),
    ]  # fmt: skip
    for question in beyond:
        assert not isinstance(await engine.decide(question), Allow), question


async def test_a_replay_tells_each_difference_and_no_other(tmp_path: Path) -> None:
    now = Bundle.load(shipped_bundle())
    room = tmp_path / "next"
    shutil.copytree(shipped_bundle(), room)
    tiers = room / "cryogate_data" / "tiers" / "data.json"
    data = json.loads(tiers.read_text())
    data["sandbox"]["max_shots"] = 500
    data["sandbox"]["approval_above_cents"] = 0
    tiers.write_text(json.dumps(data))
    history = [
        _asked(replace(JOB, shots=100), 1),
        _asked(replace(JOB, shots=501), 2),
        _asked(replace(JOB, price=replace(JOB.price, cents=1)) if JOB.price else JOB, 3),
        Asked("refusal 1", JOB.now_ms, replace(JOB, shots=10_001), False),
    ]
    rehearsal = Rehearsal()
    try:
        found = await replay(rehearsal, now, Bundle.load(room), history)
        same = await replay(rehearsal, now, now, history)
    finally:
        await rehearsal.close()
    assert (found["asked"], found["changed"], found["faithful"]) == (4, 2, 4)
    assert [(c["reference"], c["was"], c["would"]) for c in found["changes"]] == [
        ("job_2", "allow (aggregates_only)", "deny"),
        ("job_3", "allow (aggregates_only)", "allow (aggregates_only, approval)"),
    ]
    assert same["changed"] == 0
