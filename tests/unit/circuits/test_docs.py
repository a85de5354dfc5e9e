"""Every refusal code is explained."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_every_code_is_in_the_page() -> None:
    sources = (ROOT / "src/cryogate/circuits").rglob("*.py")
    text = "\n".join(path.read_text("utf-8") for path in sources)
    codes = set(re.findall(r'(?:CircuitError|NotConstant)\(\s*"([a-z_]+)"', text))
    codes |= {"needs_rich_parser"}
    page = (ROOT / "docs/circuits.md").read_text("utf-8")
    assert len(codes) > 10
    assert not sorted(code for code in codes if f"`{code}`" not in page)
