"""House rules that no linter knows."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from cryogate import config

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
OURS = [
    p
    for folder in ("src", "tests", "docs", "bench", "demo", "examples", "policies-kit", ".ci")
    for p in sorted((ROOT / folder).rglob("*"))
    if p.is_file() and p.suffix not in {".pyc", ".png"} and "__pycache__" not in p.parts
]
OURS += [ROOT / n for n in ("README.md", "CHANGELOG.md", "SECURITY.md", "Makefile")]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT / "src")))
def test_modules_are_short_and_documented(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.count("\n") < 400, "split it: one idea a module"
    doc = ast.get_docstring(ast.parse(text))
    assert doc, "say in a docstring what this module is for"
    if path.name == "__init__.py":
        assert len(doc.splitlines()) == 1, "a package says in one sentence what it is"


def test_every_package_has_a_docstring_file() -> None:
    packages = {p.parent for p in SOURCES}
    assert not [str(p) for p in packages if not (p / "__init__.py").exists()]


def test_dependencies_each_have_a_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    reasons = (ROOT / "docs/dependencies.md").read_text("utf-8")
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    for extra in project["project"]["optional-dependencies"].values():
        wanted += extra
    names = {re.split(r"[\[<>=!;, ]", w, maxsplit=1)[0] for w in wanted}
    assert not sorted(n for n in names if f"`{n}`" not in reasons)


def test_every_setting_is_documented() -> None:
    text = (ROOT / "docs/configuration.md").read_text("utf-8")
    assert not [s for s in config.settings() if f"`{s}`" not in text]


def test_the_project_speaks_only_of_itself() -> None:
    """No machine paths and no registry hosts in anything we ship."""
    hosts = ("py" + "pi.org", "pythonhosted" + ".org", "npmjs" + ".org", "crates" + ".io")
    words = (*hosts, "proxy.golang" + ".org", "/wo" + "rk/", "/ro" + "ot/", "/home/" + "u")
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in OURS
        for word in words
        if word in path.read_text("utf-8", errors="replace")
    ]
    assert not found


# The ids this stage of the product has to prove; the list only grows.
REQUIRED_ATTACKS = {
    "T1", "T2", "T3", "T5", "T6", "T7", "T8", "T9", "T11", "T12", "R1", "R2", "R3", "R4", "R5",
    "A2", "A3", "A4", "A5", "A6", "A7", "A8", "A9", "B1", "B2", "B3", "B4", "B5", "C1", "C2", "C3",
    "C4", "C5", "C6", "C7", "C8", "H1", "H2", "H3", "H4", "H5", "S1", "L1", "L2", "L3", "P1", "P2",
    "P3", "P4",
    "R6", "S3", "T4", "T10", "D1", "D2", "D3", "L4", "L5",
}  # fmt: skip


def test_every_promised_attack_has_a_test_that_names_it() -> None:
    named: set[str] = set()
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for call in re.findall(r"mark\.attack\(([^)]*)\)", path.read_text("utf-8")):
            named.update(re.findall(r"[A-Z]\d+", call))
    assert not REQUIRED_ATTACKS - named


def test_internal_links_in_docs_lead_somewhere() -> None:
    broken = []
    for page in [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"]:
        links = re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text("utf-8"))
        broken += [f"{page.name} → {link}" for link in links if not (page.parent / link).exists()]
    assert not broken


def test_every_adr_has_a_number_of_its_own() -> None:
    numbers = [page.name[:4] for page in (ROOT / "docs/adr").glob("*.md")]
    assert len(numbers) == len(set(numbers))
    for page in (ROOT / "docs/adr").glob("*.md"):
        assert page.read_text("utf-8").startswith(f"# {int(page.name[:4])}. "), page.name
