"""docs/compliance.md: no claim without a test, no test that is not there, no control forgotten."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/compliance.md").read_text("utf-8")
CONTROL = re.compile(
    r"\bArt\. \d+\(\d+\)(?:\([a-z]\))?|\bAU-\d+(?:\(\d+\))?|\bCC\d\.\d\b|\bA\.\d+(?:\.\d+){1,2}\b"
)
REFERENCE = re.compile(r"`(tests/[\w/.]+\.py)::(\w+)`")


def rows(width: int) -> list[list[str]]:
    found = [[cell.strip() for cell in line.strip("|").split(" | ")]
             for line in PAGE.splitlines() if line.startswith("| ")]  # fmt: skip
    return [row for row in found if len(row) == width and not set(row[0]) <= {"-", " "}]


CLAIMS = [row for row in rows(4) if row[0] != "control"]
YOURS = {row[0] for row in rows(2) if row[0] != "control"}
CLAIMED = {row[0] for row in CLAIMS}


@cache
def functions(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


@pytest.mark.parametrize("row", CLAIMS, ids=lambda row: row[0])
def test_every_claim_names_tests_that_exist(row: list[str]) -> None:
    control, asked, done, shown = row
    assert CONTROL.fullmatch(control)
    assert asked
    assert done
    named = REFERENCE.findall(shown)
    assert named, "no claim without a test"
    assert not REFERENCE.sub("", shown).strip(), "tests, and nothing else, show it"
    for path, name in named:
        assert name.startswith("test_")
        assert (ROOT / path).is_file(), path
        assert name in functions(path), f"{path}::{name}"


def test_every_control_that_is_named_is_claimed_or_left_to_the_operator() -> None:
    assert all(CONTROL.fullmatch(name) for name in YOURS), YOURS
    assert not set(CONTROL.findall(PAGE)) - CLAIMED - YOURS
    assert len(CLAIMS) == len(CLAIMED), "one row a control"


def test_no_paragraph_of_what_the_page_is_about_is_forgotten() -> None:
    wanted = {f"AU-{n}" for n in range(1, 17)} | {f"CC7.{n}" for n in range(1, 6)}
    wanted |= {f"Art. 26({n})" for n in range(1, 13)} | {"Art. 19(1)", "Art. 19(2)"}
    wanted |= {"Art. 12(1)", "Art. 12(2)(a)", "Art. 12(2)(b)", "Art. 12(2)(c)", "Art. 12(3)"}
    assert not wanted - CLAIMED - YOURS


def test_the_page_refuses_a_claim_whose_test_is_gone() -> None:
    bad = ["AU-2", "x", "y", "`tests/house/test_compliance.py::test_that_is_not_here`"]
    with pytest.raises(AssertionError):
        test_every_claim_names_tests_that_exist(bad)
    with pytest.raises(AssertionError):
        test_every_claim_names_tests_that_exist(["AU-2", "x", "y", "we are sure of it"])
