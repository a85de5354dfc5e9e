"""The fast way to an entry's bytes gives what the port's definition gives, for any body."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryogate.audit.leaf import entry_bytes
from cryogate.ports.audit import canonical, leaf_bytes

values = (
    st.text(max_size=8)
    | st.integers()
    | st.lists(st.text(max_size=4), max_size=3)
    | st.none()
    | st.booleans()
    | st.floats()
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
)
objects = st.dictionaries(st.text(max_size=6) | st.just("seq"), values, max_size=6)
bodies = (
    objects.map(lambda fields: canonical(fields).decode())
    | objects.map(json.dumps)
    | objects.map(lambda fields: json.dumps(fields, ensure_ascii=False, separators=(",", ":")))
    | st.text(max_size=20)
    | st.text(alphabet='{}[]":,seq01.e-+\\ \x7ftruenl', max_size=16)
)


def outcome(body: str, seq: int) -> bytes | None:
    try:
        return leaf_bytes(body.encode(errors="surrogatepass"), seq)
    except (ValueError, RecursionError):
        return None


def fast(body: str, seq: int) -> bytes | None:
    try:
        return entry_bytes(body, seq)
    except (ValueError, RecursionError):
        return None


@given(bodies, st.integers(0, 2**53 - 1))
def test_same_bytes_or_same_refusal(body: str, seq: int) -> None:
    assert fast(body, seq) == outcome(body, seq)


@pytest.mark.parametrize(
    "body",
    [
        '{"a":1,"a":1}',
        '{"b":1,"a":1}',
        '{"a": 1}',
        '{"seq":1}',
        '{"a":01}',
        '{"a":-0}',
        '{"a":1.0}x',
        '{"a":"\\u0041"}',
        '{"a":"\x7f"}',
        '{"a":1e22}',
        "[]",
        "",
        "{",
        '{"a":1}\n',
    ],
)
def test_another_spelling_is_refused(body: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        entry_bytes(body, 0)
