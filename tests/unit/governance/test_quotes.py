"""Quotes: age, conversion, the vendor's own estimate. Whatever is not known is no price."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryogate.circuits import Format, parse_flat
from cryogate.domain.errors import CryogateError
from cryogate.domain.money import Money, Rate
from cryogate.governance.price_list import PriceList
from cryogate.governance.pricing import PriceBookInvalid, load_price_book
from cryogate.governance.quotes import AgeLimit, Quotes
from cryogate.ports.pricing import Estimator, Quote, Unpriced, Wanted

NOW = int(datetime(2026, 11, 25, tzinfo=UTC).timestamp()) * 1000
PROGRAM = parse_flat(
    b'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[1];\ncreg c[1];\nx q[0];\n'
    b"measure q[0] -> c[0];\n",
    Format.OPENQASM2,
)
FLAT = {
    "backend": "x:flat", "model": "per_task_and_shot", "currency": "USD", "task": "0.30",
    "shot": "0.01", "source": "contract", "as_of": "2026-06-01",
}  # fmt: skip
ASKED = {
    "backend": "x:asked", "model": "vendor_estimate", "currency": "USD", "ceiling": "50.00",
    "headroom_percent": 10, "source": "vendor API", "as_of": "2026-06-01",
}  # fmt: skip
OURS = {
    "backend": "local:aer", "model": "nominal", "currency": "USD", "task": "0.01", "shot": "0",
    "gate": "0", "source": "nominal", "as_of": "2020-01-01",
}  # fmt: skip
RATE = {"from": "USD", "to": "EUR", "rate": "0.92", "source": "bank", "as_of": "2026-11-20"}


def book(*entries: dict[str, Any], conversions: list[dict[str, Any]] | None = None) -> bytes:
    raw: dict[str, Any] = {"version": "t", "entries": list(entries)}
    if conversions is not None:
        raw["conversions"] = conversions
    return json.dumps(raw).encode()


def quotes(*entries: dict[str, Any], **more: Any) -> Quotes:
    conversions = more.pop("conversions", None)
    return Quotes(load_price_book(book(*entries, conversions=conversions)), **more)


def ask(prices: Quotes, backend: str = "x:flat", currency: str = "USD", shots: int = 100) -> Quote:
    wanted = Wanted(backend, PROGRAM, PROGRAM.facts, shots, "e1", currency, NOW)
    return asyncio.run(prices.quote(wanted))


def refused(prices: Quotes, **asked: Any) -> str:
    with pytest.raises(Unpriced) as refusal:
        ask(prices, **asked)
    return refusal.value.code


def test_a_quote_tells_bound_formula_source_and_age() -> None:
    quote = ask(quotes(FLAT))
    assert quote.bound == Money(130, "USD")
    assert quote.formula == "0.30 + 0.01 x shots USD, rounded up to 0.01"
    assert (quote.source, quote.as_of, quote.age_days) == ("contract", "2026-06-01", 177)
    assert not quote.stale
    assert quote.conversion == ""


def test_an_old_price_needs_a_yes_or_is_none() -> None:
    assert ask(quotes(FLAT, age=AgeLimit(177))).stale is False
    assert ask(quotes(FLAT, age=AgeLimit(176))).stale is True
    assert ask(quotes(FLAT, age=AgeLimit(0))).stale is False
    assert refused(quotes(FLAT, age=AgeLimit(176, "refuse"))) == "price_stale"
    # what bills nobody does not age
    ours = ask(quotes(OURS, age=AgeLimit(1, "refuse")), backend="local:aer")
    assert (ours.age_days, ours.stale) == (0, False)


def test_a_price_of_tomorrow_is_not_younger_than_new() -> None:
    assert ask(quotes({**FLAT, "as_of": "2027-01-01"})).age_days == 0


def test_what_nobody_priced_is_refused() -> None:
    assert refused(quotes(FLAT), backend="y:other") == "unpriced"
    assert refused(quotes(FLAT), currency="EUR") == "no_rate"
    assert refused(quotes(FLAT, conversions=[RATE]), currency="JPY") == "no_rate"
    # a rate is never turned round
    back = {**RATE, "from": "EUR", "to": "USD"}
    assert refused(quotes(FLAT, conversions=[back]), currency="EUR") == "no_rate"


def test_a_conversion_rounds_up_and_says_where_it_is_from() -> None:
    quote = ask(quotes(FLAT, conversions=[RATE]), currency="EUR", shots=101)  # 1.31 USD
    assert quote.bound == Money(121, "EUR")  # 120.52
    assert quote.price == Money(131, "USD")
    assert quote.rate == Rate(23, 25)
    assert quote.conversion == "0.92 EUR/USD, bank, as of 2026-11-20"


def test_a_rate_ages_too() -> None:
    old = {**RATE, "as_of": "2024-01-01"}
    prices = quotes(OURS, conversions=[old])
    quote = ask(prices, backend="local:aer", currency="EUR")
    assert quote.stale
    assert quote.age_days == 1059
    assert not ask(prices, backend="local:aer").stale


@given(st.integers(0, 2**53), st.integers(1, 10**9), st.integers(1, 10**9))
def test_a_bound_never_comes_out_too_small(cents: int, num: int, den: int) -> None:
    exact = Fraction(cents) * num / den
    assert exact <= Rate(num, den).up(cents) < exact + 1


@pytest.mark.parametrize(
    "conversion",
    [
        {**RATE, "rate": "0"},
        {**RATE, "rate": "-1"},
        {**RATE, "rate": 0.92},
        {**RATE, "rate": "1e3"},
        {**RATE, "rate": "99999999999"},
        {**RATE, "rate": "0.0000000001"},
        {**RATE, "to": "USD"},
        {**RATE, "to": "eur"},
        {**RATE, "source": ""},
        {"from": "USD", "to": "EUR", "rate": "0.92"},
        {**RATE, "extra": 1},
    ],
)
def test_rates_that_are_none_are_refused(conversion: dict[str, Any]) -> None:
    with pytest.raises(PriceBookInvalid):
        load_price_book(book(FLAT, conversions=[conversion]))


def test_a_rate_is_entered_once() -> None:
    with pytest.raises(PriceBookInvalid, match="twice"):
        load_price_book(book(FLAT, conversions=[RATE, {**RATE, "rate": "0.95"}]))


# -- vendors' estimates -----------------------------------------------------------------------


class Says(Estimator):
    def __init__(self, answer: object) -> None:
        self.answer = answer

    async def estimate(self, wanted: Wanted) -> Money:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[return-value]  # vendors' adapters have bugs too


def test_a_vendor_is_asked_and_given_headroom() -> None:
    quote = ask(quotes(ASKED, estimators={"x": Says(Money(1001, "USD"))}), backend="x:asked")
    assert quote.bound == Money(1102, "USD")
    assert "vendor's estimate + 10 %" in quote.formula


@pytest.mark.attack("S3", "B4")
@pytest.mark.parametrize(
    "answer",
    [
        RuntimeError("down"), CryogateError("no"), None, 12, "12.00", True,
        Money(-1, "USD"), Money(100, "EUR"), Money(2**60, "USD"),
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_answer_is_no_price(answer: object) -> None:
    assert refused(quotes(ASKED, estimators={"x": Says(answer)}), backend="x:asked") == (
        "no_estimate"
    )


def test_a_vendor_cannot_ask_for_more_than_the_book_allows() -> None:
    dear = quotes(ASKED, estimators={"x": Says(Money(4546, "USD"))})
    assert refused(dear, backend="x:asked") == "above_ceiling"
    assert refused(quotes(ASKED), backend="x:asked") == "no_estimator"


# -- the list ---------------------------------------------------------------------------------


def test_the_list_shows_what_is_stale() -> None:
    found = PriceList(
        load_price_book(book(FLAT, OURS, ASKED, conversions=[RATE])), AgeLimit(100), lambda: NOW
    ).document()
    stale = {item["backend"]: item["is_stale"] for item in found["items"]}
    assert stale == {"local:aer": False, "x:asked": True, "x:flat": True}
    [rate] = found["conversions"]
    assert (rate["rate"], rate["age_days"], rate["is_stale"]) == ("0.92", 5, False)
    assert {item["model"] for item in found["items"]} == {
        "nominal", "vendor_estimate", "per_task_and_shot",
    }  # fmt: skip
