"""base64url and JSON have one spelling each."""

from __future__ import annotations

import base64

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryogate.tokens.encoding import b64, parse_as, parse_object, unb64
from cryogate.tokens.errors import MalformedToken


@given(st.binary(max_size=200))
def test_bytes_survive(data: bytes) -> None:
    assert unb64(b64(data)) == data
    assert b64(data) == base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@given(st.text(alphabet="AQgw-_Zz09+/= \n", max_size=12))
def test_whatever_is_accepted_has_one_spelling(text: str) -> None:
    try:
        data = unb64(text)
    except MalformedToken:
        return
    assert b64(data) == text


@pytest.mark.parametrize("text", ["A", "AB", "AAB", "AA==", "A A", "AA\n", "+A", "/A", "é", "A*AA"])
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(MalformedToken):
        unb64(text)


@pytest.mark.attack("A4")
@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":1,"\\u0061":2}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":"\xff"}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":1}x',
        b"[1]",
        b"",
        b"1",
        b'{"a":' * 3000,
        b'{"a":' + b"9" * 5000 + b"}",
    ],
)
def test_hostile_json_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedToken):
        parse_object(data)


class _Typed(msgspec.Struct, forbid_unknown_fields=True):
    n: int


@pytest.mark.attack("A4")
@pytest.mark.parametrize("value", ["true", "1.0", "1e3", '"1"', "null", "[1]", '1,"n":1'])
def test_a_number_is_a_number(value: str) -> None:
    with pytest.raises(MalformedToken):
        parse_as(f'{{"n":{value}}}'.encode(), msgspec.json.Decoder(_Typed))
