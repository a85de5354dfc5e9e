"""What people type and read: amounts, times, bars, and text from outside."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryogate.cli.amounts import parse_cents, show_cents
from cryogate.cli.histogram import histogram
from cryogate.cli.output import show
from cryogate.cli.times import parse_time
from cryogate.domain.safe_text import clean, to_json


@pytest.mark.parametrize(
    ("text", "cents"),
    [("12.50", 1250), ("0.01", 1), ("0.00", 0), ("1250c", 1250), ("0c", 0), ("007.00", 700)],
)
def test_amounts(text: str, cents: int) -> None:
    assert parse_cents(text) == cents


@pytest.mark.parametrize(
    "text",
    [
        "", "12", "12.5", "12.500", ".50", "-1.00", "+1.00", "1e3", "1,000.00", " 1.00", "1.00 ",
        "1.00\n", "12,50", "NaN", "inf", "0x10c", "1_000.00", "१२.५०",
        "\uff11\uff12.\uff15\uff10", "12.50USD", "c",
        "9" * 14 + ".00",
    ],
)  # fmt: skip
def test_what_is_not_an_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write "):
        parse_cents(text)


@given(st.integers(0, 10**15 - 1))
def test_an_amount_shown_is_read_back(cents: int) -> None:
    amount, _, currency = show_cents(cents, "USD").partition(" ")
    assert (parse_cents(amount), currency) == (cents, "USD")


def test_an_unknown_amount_is_a_dash() -> None:
    assert show_cents(None, "USD") == "-"
    assert show_cents(1.5, "USD") == "-"
    assert show_cents(True, "USD") == "-"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1970-01-02", "1970-01-02T00:00:00.000Z"),
        ("2026-12-31T12:00:00Z", "2026-12-31T12:00:00.000Z"),
        ("2026-12-31T12:00:00+02:00", "2026-12-31T10:00:00.000Z"),
        ("+2d", "1970-01-03T00:00:00.000Z"),
        ("+90m", "1970-01-01T01:30:00.000Z"),
    ],
)
def test_times(text: str, moment: str) -> None:
    assert parse_time(text, 0) == moment


@pytest.mark.parametrize("text", ["", "tomorrow", "+1w", "-1d", "2026-12-31T12:00:00", "12:00"])
def test_what_is_not_a_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - several sources, one meaning
        parse_time(text, 0)


HOSTILE = [
    "\x1b[2J\x1b[31mapproved\x1b[0m",
    "\x9b31m",
    "a\u202eevil\u202c",
    "\u2066x\u2069",
    "ze\u200bro",
    "\u200fmark",
    "bell\x07 back\x08 del\x7f",
    "tag\U000e0041",
    "line\u2028line\u2029",
    "\ud800",
    "\x1b]8;;https://evil.example\x07link\x1b]8;;\x07",
    "\ufeffbom",
    "z" + "\u0301" * 50,
]


@pytest.mark.attack("H4")
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_made_visible(text: str) -> None:
    shown = clean(text)
    assert shown != text
    assert len(shown) <= len(text)
    forbidden = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert not [c for c in shown if unicodedata.category(c) in forbidden]


@pytest.mark.attack("H4")
@given(st.text())
def test_no_text_gets_a_control_character_through(text: str) -> None:
    for shown in (clean(text), show(text), show({text: [text]})):
        assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cs")]
        assert "\x1b" not in shown


@pytest.mark.attack("H4")
@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none()))
def test_json_output_is_printable_ascii_and_the_same_value(value: dict[str, object]) -> None:
    text = to_json(value)
    assert all(c == "\n" or " " <= c <= "~" for c in text)
    assert json.loads(text) == value


@pytest.mark.parametrize("text", ["plain", "größe", "日本語", "emoji ☃", "3 ÷ 4"])
def test_honest_text_stays_as_it_is(text: str) -> None:
    assert clean(text) == text


def test_lines_are_kept_only_where_they_are_wanted() -> None:
    assert clean("a\nb") == "a b"
    assert clean("a\nb\r", lines=True) == "a\nb "


def test_long_text_is_cut_and_says_so() -> None:
    assert clean("x" * 100, limit=10) == "x" * 10 + "…"


def test_bars_are_ranked_and_complete() -> None:
    lines = histogram({"00": 500, "11": 480, "01": 20}, 1000, width=10)
    assert [line.split()[0] for line in lines[:3]] == ["00", "11", "01"]
    assert "█" * 10 in lines[0]
    assert "50.0%" in lines[0]
    assert lines[3] == "total 1000 of 1000 shots in 3 outcomes"
    assert len(lines) == 4


def test_what_is_not_shown_is_said() -> None:
    counts = {f"{i:03b}": 10 + i for i in range(8)}
    lines = histogram(counts, sum(counts.values()) + 5, top=3, ascii_only=True)
    assert len(lines) == 6
    hidden = 10 + 11 + 12 + 13 + 14
    assert lines[4] == f"not shown: 5 more outcomes with {hidden} shots (--top to see more)"
    assert lines[5] == "not released: 5 shots"


@given(
    st.dictionaries(st.text("01", min_size=1, max_size=6), st.integers(0, 10**9), max_size=40),
    st.integers(0, 10**10),
    st.integers(1, 20),
    st.booleans(),
)
def test_bars_never_lie(counts: dict[str, int], shots: int, top: int, ascii_only: bool) -> None:
    lines = histogram(counts, shots, top=top, width=20, ascii_only=ascii_only)
    bars = lines[: min(top, len(counts))]
    assert all(line.isascii() for line in bars) or not ascii_only
    found = {line.split()[0]: int(line.split()[-2]) for line in bars}
    assert all(counts[bits] == count for bits, count in found.items())
    left = [count for bits, count in counts.items() if bits not in found]
    assert not left or max(left) <= min(found.values())
    assert any(line.startswith("not shown") for line in lines) == (len(counts) > len(bars))
