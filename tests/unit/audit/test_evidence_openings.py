"""Openings in an evidence pack come from who wants to prove something: what is wrong is told."""

from __future__ import annotations

import base64
import io
import json
import zipfile

import pytest

from cryogate.audit.evidence import check_pack
from cryogate.audit.seals import ScopeKey
from cryogate.domain.secrets import Secret

KEY = ScopeKey("ghz", Secret(b"k" * 32))


def packed(openings: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("openings.json", openings)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "openings",
    [b"", b"[]", b"\xff", b'{"sealed:x": {}}', b'{"a": {"field": 1, "value": "", "salt": ""}}',
     b"[" * 100_000, b'{"sealed:x": {"field": "f", "value": "\\ud800", "salt": "!"}}'],
)  # fmt: skip
def test_what_are_no_openings_is_a_finding(openings: bytes) -> None:
    report = check_pack(packed(openings), ())
    assert not report.ok
    assert any("openings.json" in text for text in report.findings)


def test_a_false_opening_is_named_and_a_true_one_is_not() -> None:
    true, false = KEY.token("purpose", "a"), KEY.token("purpose", "b")
    salt = base64.b64encode(KEY.salt("purpose", "a")).decode()
    told = {name: {"field": "purpose", "value": "a", "salt": salt} for name in (true, false)}
    [finding] = check_pack(packed(json.dumps(told).encode()), ()).findings
    assert false in finding
