"""Constant expressions: right, or refused; never slow, never recursive."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryogate.circuits import CircuitError
from cryogate.circuits.angles import angle

_EXPRESSIONS = st.recursive(
    st.sampled_from(["1", "2.5", "pi", "3e-2", ".5", "7.", "1E+2"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map("".join),
        inner.map(lambda x: f"({x})"),
        inner.map(lambda x: f"-({x})"),
        inner.map(lambda x: f" {x} / 2.0 "),
    ),
    max_leaves=12,
)


@given(_EXPRESSIONS)
@settings(max_examples=300, deadline=None)
def test_values_are_those_of_ordinary_arithmetic(text: str) -> None:
    expected = float(eval(text, {"pi": math.pi})) + 0.0  # noqa: S307 - our own strings
    assert angle(text) == expected
    assert math.copysign(1, angle(text)) == math.copysign(1, expected)


@pytest.mark.parametrize(
    "text",
    ["", " ", "(", ")", "()", "1 2", "1+", "*1", "pi pi", "1..2", "0x10", "1_0", "1e", "--", "1)(2",
     "sin(1)", "2^3", "2**3", "1,2", "inf", "nan", "\u0661"],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(CircuitError):
        angle(text)


def test_an_inexact_integer_quotient_is_ambiguous_in_openqasm_3() -> None:
    assert angle("3/2") == 1.5
    assert angle("4/2", integers=True) == 2.0
    assert angle("pi/2", integers=True) == math.pi / 2
    with pytest.raises(CircuitError) as caught:
        angle("3/2", integers=True)
    assert caught.value.code == "ambiguous"


@pytest.mark.attack("C1")
@pytest.mark.parametrize("text", ["(" * 400 + "1" + ")" * 400, "-" * 400 + "1", "1" + "+1" * 400])
def test_nesting_costs_no_stack(text: str) -> None:
    assert abs(angle(text)) in (1.0, 401.0)


@pytest.mark.attack("C1")
def test_long_expressions_are_refused_unread() -> None:
    with pytest.raises(CircuitError) as caught:
        angle("(" * 2000)
    assert caught.value.code == "too_large"


@pytest.mark.parametrize("text", ["1e400", "1e300*1e300", "1/0", "1e308+1e308", "0/0"])
def test_values_are_finite(text: str) -> None:
    with pytest.raises(CircuitError) as caught:
        angle(text)
    assert caught.value.code == "not_finite"
