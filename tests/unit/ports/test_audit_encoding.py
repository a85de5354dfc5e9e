"""An event has exactly one text, whichever encoder wrote it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryogate.domain.events import Event, Outcome
from cryogate.ports.audit import canonical, encode_event, event_fields, leaf_bytes

TEXT = st.one_of(
    st.text(max_size=40), st.text(alphabet=st.characters(categories=["Cs", "Cc"]), max_size=4)
)
INTS = st.integers(-(2**53) + 1, 2**53 - 1)


@pytest.mark.attack("L4")
@given(action=TEXT, purpose=TEXT | st.none(), reasons=st.lists(TEXT, max_size=3), shots=INTS)
def test_the_fast_encoder_writes_the_canonical_text(
    action: str, purpose: str | None, reasons: list[str], shots: int
) -> None:
    event = Event(
        timestamp_ms=1_800_000_000_123,
        action=action,
        outcome=Outcome.INTENT,
        purpose=purpose,
        shots=shots,
        decision_reasons=tuple(reasons),
    )
    body = encode_event(event)
    assert body == canonical(event_fields(event))
    assert body.isascii()
    assert b"\n" not in body
    fields = json.loads(body)
    assert fields["timestamp"] == "2027-01-15T08:00:00.123Z"
    # two halves that meet are read as the one character that they are in UTF-16
    assert fields["action"] == action.encode("utf-16", "surrogatepass").decode(
        "utf-16", "surrogatepass"
    )
    assert "timestamp_ms" not in fields


@pytest.mark.attack("L4", "L3")
@pytest.mark.parametrize(
    "character", [chr(code) for code in (*range(32), 34, 92, *range(126, 162))]
)
def test_no_character_makes_an_event_that_the_log_refuses(character: str) -> None:
    """One DEL in a note was written as it is, and the sequencer stopped at it for good."""
    event = Event(1, character, Outcome.INTENT, decision_reasons=(f"a{character}b",))
    body = encode_event(event)
    assert body == canonical(event_fields(event))
    assert json.loads(leaf_bytes(body, 7)) == {**json.loads(body), "seq": 7}


@pytest.mark.parametrize("shots", [2**53, True, 1.0])
def test_what_is_outside_the_canonical_subset_is_not_logged(shots: object) -> None:
    event = Event(1, "a", Outcome.INTENT)._replace(shots=shots)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="shots"):
        encode_event(event)
