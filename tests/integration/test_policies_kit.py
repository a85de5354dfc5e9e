"""Every starter kit keeps its promises in both engines, and passes what activation demands."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from tests.support.live import ROOT
from tests.support.opa import opa_answers

from cryogate.cli.main import cli
from cryogate.policies import Bundle
from cryogate.policies.bundle_files import BundleInvalid
from cryogate.policies.kits import NAMES, assemble
from cryogate.policies.rehearsal import Rehearsal
from cryogate.policies.testing import cases, shortfall
from cryogate.ports.policy import Question


@pytest.mark.parametrize("name", NAMES)
async def test_a_kit_passes_its_tests_in_both_engines(name: str, tmp_path: Path) -> None:
    room = tmp_path / "bundle"
    done = CliRunner().invoke(cli, ["policy", "new", str(room), "--kit", name, "--version", "7"])
    assert done.exit_code == 0, done.output
    bundle = Bundle.load(room)
    assert bundle.version == 7
    rehearsal = Rehearsal()
    try:
        results = await rehearsal.run(bundle.files)
    finally:
        await rehearsal.close()
    assert [(r.name, r.detail) for r in results if not r.passed] == []
    wanted = cases(bundle)
    questions = [msgspec.convert(question, Question) for question, _ in wanted.values()]
    answers = opa_answers(room, questions, bundle.digest)
    for (case_name, (_, case)), (decision, _caps) in zip(wanted.items(), answers, strict=True):
        assert shortfall(case, decision) == "", case_name


@pytest.mark.parametrize("name", NAMES)
def test_a_kit_has_tests_for_each_statement_and_a_page(name: str) -> None:
    page = (ROOT / "policies-kit" / name / "README.md").read_text("utf-8")
    files = assemble(name, 1)
    statements = json.loads(files["cryogate_data/statements/data.json"])
    tiers = json.loads(files["cryogate_data/tiers/data.json"])
    tests = json.loads(files["tests/data.json"])["cases"].values()
    named = {limit for case in tests for limit in case.get("limits", ())}
    for sid, statement in statements.items():
        if statement["effect"] == "deny":
            assert sid in page
            limits = {f"statement.{key}" for key in statement["conditions"]}
            assert limits & named, f"{sid} is tested by nothing"
    assert all(f"`{tier}`" in page for tier in tiers)


def test_there_is_no_other_kit() -> None:
    assert sorted(p.name for p in (ROOT / "policies-kit").iterdir()) == sorted(NAMES)
    with pytest.raises(BundleInvalid, match="no kit"):
        assemble("../bundle", 1)
