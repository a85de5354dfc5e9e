"""Commitments and sealed texts: what opens, what does not, and that nothing odd breaks them."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryogate.audit.opening import in_clear, opens, tokens_in
from cryogate.audit.seals import LostKey, ScopeKey, SealBroken, commitment, is_token
from cryogate.domain.secrets import Secret
from cryogate.ports.privacy import Opening

KEY = ScopeKey("exp-1", Secret(b"k" * 32))
ODD = (
    "line\r\nbreak", "\x00\x01\x1b[31m", "Ada Lovelace <ada@example.org>", "\u202egnp.exe",
    "a|b=c\\", "\ud800", "ä" * 1000, "x" * 1_000_000, "", "sealed:" + "A" * 43, '{"a":1}',
)  # fmt: skip


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
def test_every_text_comes_back_as_it_was(value: str) -> None:
    token = KEY.token("purpose", value)
    assert is_token(token)
    assert KEY.open(KEY.seal("purpose", value, token), token) == ("purpose", value)


@given(st.text(), st.text())
@settings(max_examples=200, deadline=None)
def test_two_values_never_share_a_commitment(one: str, other: str) -> None:
    assert (KEY.token("purpose", one) == KEY.token("purpose", other)) is (one == other)


def test_a_commitment_is_bound_to_field_value_and_scope() -> None:
    token = KEY.token("human_owner", "ada")
    assert token != KEY.token("purpose", "ada")
    assert token != ScopeKey("exp-1", Secret(b"K" * 32)).token("human_owner", "ada")
    # the same key elsewhere gives the same commitment, but its text does not open there
    other = ScopeKey("exp-2", Secret(b"k" * 32))
    with pytest.raises(SealBroken):
        other.open(KEY.seal("human_owner", "ada", token), token)


def test_no_field_can_pose_as_another_by_where_its_name_ends() -> None:
    assert commitment("a", "b\0c", b"s" * 16) != commitment("a\0b"[:1], "c", b"s" * 16)
    assert KEY.token("a", "bc") != KEY.token("ab", "c")


@pytest.mark.parametrize("cut", ["", "AAAA", "not base64!", "ä", "A" * 400])
def test_what_is_no_sealed_text_is_refused_and_does_not_crash(cut: str) -> None:
    with pytest.raises(SealBroken):
        KEY.open(cut, KEY.token("purpose", "x"))


def test_any_flipped_bit_is_found() -> None:
    token = KEY.token("purpose", "calibrate")
    sealed = bytearray(base64.b64decode(KEY.seal("purpose", "calibrate", token)))
    for place in range(0, len(sealed), 3):
        sealed[place] ^= 1
        with pytest.raises(SealBroken):
            KEY.open(base64.b64encode(sealed).decode(), token)
        sealed[place] ^= 1


def test_a_text_that_was_moved_to_another_commitment_is_found() -> None:
    one, other = KEY.token("purpose", "one"), KEY.token("purpose", "other")
    with pytest.raises(SealBroken):
        KEY.open(KEY.seal("purpose", "one", one), other)


def test_a_well_sealed_text_that_was_not_committed_to_is_found() -> None:
    token = KEY.token("purpose", "one")
    with pytest.raises(SealBroken, match="another value"):
        KEY.open(KEY.seal("purpose", "two", token), token)


def test_a_dictionary_of_all_likely_values_finds_nothing() -> None:
    owners = [f"user{n}@example.org" for n in range(500)]
    token = KEY.token("human_owner", "user7@example.org")
    guesses = {commitment("human_owner", owner, b"\0" * 16) for owner in owners}
    guesses |= {LostKey("exp-1").token("human_owner", owner) for owner in owners}
    assert token not in guesses


def test_an_opening_is_checked_without_a_key_and_opens_its_own_field_only() -> None:
    token = KEY.token("human_owner", "ada")
    salt = base64.b64encode(KEY.salt("human_owner", "ada")).decode()
    good = Opening("human_owner", "ada", salt)
    assert opens(token, good)
    for bad in (
        Opening("human_owner", "eve", salt), Opening("purpose", "ada", salt),
        Opening("human_owner", "ada", salt[:-4]), Opening("human_owner", "ada", "?"),
        Opening("human_owner", "ada", ""),
    ):  # fmt: skip
        assert not opens(token, bad)
    event = {"human_owner": token, "purpose": token, "agent_id": token, "actor_chain": ["a", token]}
    shown = in_clear(event, {token: good})
    assert shown == {**event, "human_owner": "ada"}
    assert set(tokens_in(event)) == {token}


def test_odd_fields_of_a_tampered_entry_are_left_as_they_are() -> None:
    event = json.loads('{"human_owner": 7, "decision_reasons": [1, null, ["sealed:x"]]}')
    assert in_clear(event, {}) == event
    assert not list(tokens_in(event))
