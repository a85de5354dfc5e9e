"""What goes out as aggregates, and that no form of it tells more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryogate.domain.errors import Malformed
from cryogate.gateway.aggregates import (
    MAX_Z,
    Cut,
    expectations,
    fewer,
    kept,
    probabilities,
    z_strings,
)

WIDTH = 3
_STRINGS = tuple("".join(s) for s in ("ZZZ", "ZII", "IZZ", "III"))
_COUNTS = st.dictionaries(
    st.integers(0, 2**WIDTH - 1).map(lambda n: f"{n:0{WIDTH}b}"), st.integers(1, 12), min_size=1
)
_CUTS = st.builds(Cut, st.integers(1, 8), st.integers(0, 6))


@pytest.mark.attack("D1", "D3")
@given(_COUNTS, _CUTS)
def test_no_rare_outcome_follows_by_subtraction(counts: dict[str, int], cut: Cut) -> None:
    found = kept(counts, cut)
    assert all(count >= cut.min_count for count in found.counts.values())
    assert not cut.top_k or len(found.counts) <= cut.top_k
    assert sum(found.counts.values()) + found.withheld_shots == sum(counts.values())
    if found.counts and found.withheld_shots:
        assert found.withheld_shots >= cut.min_count
    if cut == Cut():
        assert dict(found.counts) == counts
        assert found.withheld_shots == 0


@pytest.mark.attack("D1")
@given(_COUNTS, _CUTS, st.integers(0, 9))
def test_asking_for_fewer_is_a_part_of_what_goes_out(
    counts: dict[str, int], cut: Cut, top: int
) -> None:
    found = kept(counts, cut)
    assert fewer(found, top).counts.items() <= found.counts.items()


@pytest.mark.attack("D1")
@given(_COUNTS, _CUTS, _CUTS)
def test_a_later_rule_only_takes_away(counts: dict[str, int], one: Cut, two: Cut) -> None:
    assert kept(counts, one.met(two)).counts.keys() <= kept(counts, one).counts.keys()


@given(_COUNTS, _CUTS)
def test_the_value_over_all_shots_lies_between_its_bounds(counts: dict[str, int], cut: Cut) -> None:
    whole, cut_down = kept(counts, Cut()), kept(counts, cut)
    true = expectations(whole, WIDTH, _STRINGS)
    told = expectations(cut_down, WIDTH, _STRINGS)
    for string in _STRINGS:
        assert told[string].low - 1e-12 <= true[string].value <= told[string].high + 1e-12


def test_a_bell_pair_is_told_in_every_form() -> None:
    found = kept({"00": 6, "11": 4}, Cut())
    assert probabilities(found) == {"00": 0.6, "11": 0.4}
    values = expectations(found, 2, ("ZZ", "ZI", "II"))
    assert [value.value for value in values.values()] == pytest.approx([1.0, 0.2, 1.0])


_MANY = ",".join(f"{n:010b}".replace("0", "I").replace("1", "Z") for n in range(MAX_Z + 1))


@pytest.mark.parametrize("text", ["", "ZX", "ZZ,", "Z,Z", "zz", "Z\n", _MANY])
def test_other_strings_are_refused(text: str) -> None:
    with pytest.raises(Malformed):
        z_strings(text)


def test_a_string_of_another_width_is_refused() -> None:
    with pytest.raises(Malformed):
        expectations(kept({"00": 1}, Cut()), 2, ("ZZZ",))
