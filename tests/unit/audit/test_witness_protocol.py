"""C2SP tlog-witness, as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryogate.audit.errors import NoteRefused
from cryogate.audit.note import NoteSignature
from cryogate.audit.witness_protocol import (
    AddCheckpoint,
    encode_cosignatures,
    parse_add_checkpoint,
    parse_conflict,
    parse_cosignatures,
)

NOTE = b"example.com/log\n3\nAAAA\n\n\xe2\x80\x94 example.com/log AAAAAAAA\n"
#: The example of the specification.
EXAMPLE = """\
old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

\N{EM DASH} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
"""  # noqa: E501


def test_the_example_of_the_specification() -> None:
    found = parse_add_checkpoint(EXAMPLE.encode())
    assert (found.old, len(found.proof)) == (20852014, 4)
    assert found.note.startswith(b"example.com/behind-the-sofa\n20852163\n")
    assert found.encode() == EXAMPLE.encode()


@given(st.integers(0, 2**53 - 1), st.lists(st.binary(min_size=32, max_size=32), max_size=63))
def test_what_is_sent_is_what_is_read(old: int, proof: list[bytes]) -> None:
    sent = AddCheckpoint(old, tuple(proof), NOTE)
    assert parse_add_checkpoint(sent.encode()) == sent


@given(st.binary(max_size=200))
def test_anything_else_is_refused_and_has_one_spelling(body: bytes) -> None:
    try:
        found = parse_add_checkpoint(b"old " + body)
    except NoteRefused:
        return
    assert found.encode() == b"old " + body


@pytest.mark.parametrize(
    "body",
    [b"", b"old 1", b"old 1\n" + NOTE[:10], b"old 01\n\n" + NOTE, b"old -1\n\n" + NOTE,
     b"old 1 \n\n" + NOTE, b"new 1\n\n" + NOTE, b"old 1\nAAAA\n\n" + NOTE,
     b"old 1\n" + b"A" * 43 + b"=\n\n", b"old 99999999999999999\n\n" + NOTE,
     b"old 1\n" + (b"A" * 43 + b"=\n") * 64 + b"\n" + NOTE, b"old 1\n\n" + b"x" * 200_000,
     b"\xff 1\n\n" + NOTE],
)  # fmt: skip
def test_malformed_requests(body: bytes) -> None:
    try:
        found = parse_add_checkpoint(body)
    except NoteRefused:
        return
    assert found.note == b"", "only the note itself may still be wrong"


def test_answers() -> None:
    lines = (NoteSignature("w.example/1", b"abcd", b"x" * 72), NoteSignature("w", b"efgh", b"y"))
    assert parse_cosignatures(encode_cosignatures(lines)) == lines
    assert parse_conflict(b"0\n") == 0
    assert parse_conflict(b"20852163\n") == 20852163


@pytest.mark.parametrize(
    "body",
    [b"", b"\n", b"hello\n", encode_cosignatures([NoteSignature("w", b"abcd", b"x")])[:-1],
     encode_cosignatures([NoteSignature("w", b"abcd", b"x")] * 33), b"\xff\n", b"x" * 70_000],
)  # fmt: skip
def test_malformed_cosignatures(body: bytes) -> None:
    with pytest.raises(NoteRefused):
        parse_cosignatures(body)


@pytest.mark.parametrize(
    "body", [b"", b"1", b"01\n", b"-1\n", b"1\n1\n", b"x\n", b"9" * 400 + b"\n"]
)
def test_malformed_conflicts(body: bytes) -> None:
    with pytest.raises(NoteRefused):
        parse_conflict(body)
