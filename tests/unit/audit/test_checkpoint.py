"""Signed notes and checkpoints: outside vectors, one spelling, no trust without a key."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryogate.audit.checkpoint import (
    Checkpoint,
    open_checkpoint,
    parse_checkpoint_text,
    peek_checkpoint,
    sign_checkpoint,
)
from cryogate.audit.errors import NoteRefused
from cryogate.audit.merkle import EMPTY_ROOT, leaf_hash
from cryogate.audit.note import (
    Ed25519Signer,
    Note,
    NoteSignature,
    parse_note,
    verified,
)
from cryogate.audit.vkeys import parse_vkey
from cryogate.domain.secrets import Secret

# The example of Go's golang.org/x/mod/sumdb/note documentation.
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotp"
    "RZb6KE6RyyBwJnAM=\n"
).encode()
SUM_VKEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
# The examples of c2sp.org/tlog-checkpoint.
C2SP_CHECKPOINT = (
    "example.com/behind-the-sofa\n"
    "20852163\n"
    "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    "\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhc"
    "yv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
).encode()

ORIGIN = "cryogate.test/log"


def signer(seed: int = 1, name: str = ORIGIN) -> Ed25519Signer:
    return Ed25519Signer(name, Secret(bytes([seed]) * 32))


def test_go_note_verifies() -> None:
    key = parse_vkey(GO_VKEY)
    assert key.vkey() == GO_VKEY
    assert verified(parse_note(GO_NOTE), [key]) == (key,)


def test_go_checksum_database_key_has_its_published_id() -> None:
    assert parse_vkey(SUM_VKEY + "\n").vkey() == SUM_VKEY


def test_c2sp_example_parses_and_formats_to_itself() -> None:
    note = parse_note(C2SP_CHECKPOINT)
    assert note.encode() == C2SP_CHECKPOINT
    checkpoint = peek_checkpoint(C2SP_CHECKPOINT)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)


@given(st.integers(1, 2**53 - 1), st.binary(min_size=32, max_size=32))
def test_signed_checkpoint_round_trip(size: int, root: bytes) -> None:
    key = signer()
    checkpoint = Checkpoint(ORIGIN, size, root)
    note = sign_checkpoint(checkpoint, key)
    assert open_checkpoint(note, [key.verifier()], ORIGIN) == checkpoint
    assert parse_vkey(key.verifier().vkey()).key_id == key.verifier().key_id


@pytest.mark.attack("L1")
def test_a_checkpoint_by_another_key_is_refused() -> None:
    honest, forger = signer(1), signer(2)
    forged = sign_checkpoint(Checkpoint(ORIGIN, 5, leaf_hash(b"")), forger)
    with pytest.raises(NoteRefused, match="no trusted key"):
        open_checkpoint(forged, [honest.verifier()], ORIGIN)
    with pytest.raises(NoteRefused, match="no trusted key"):
        open_checkpoint(forged, [], ORIGIN)
    # The forger's signature under the honest key's id.
    line = forger.sign(peek_checkpoint(forged).text().encode())
    dressed = NoteSignature(ORIGIN, honest.verifier().key_id, line.signature)
    note = Note(peek_checkpoint(forged).text(), (dressed,)).encode()
    with pytest.raises(NoteRefused, match="does not verify"):
        open_checkpoint(note, [honest.verifier()], ORIGIN)


@pytest.mark.attack("L1")
@given(st.data())
def test_no_bit_of_a_checkpoint_can_be_flipped(data: st.DataObject) -> None:
    key = signer()
    note = sign_checkpoint(Checkpoint(ORIGIN, 1234, leaf_hash(b"x")), key)
    spot = data.draw(st.integers(0, len(note) - 1))
    bent = (
        note[:spot] + bytes((note[spot] ^ (1 << data.draw(st.integers(0, 7))),)) + note[spot + 1 :]
    )
    with pytest.raises(NoteRefused):
        open_checkpoint(bent, [key.verifier()], ORIGIN)


def test_signatures_of_unknown_keys_are_kept_and_do_not_count() -> None:
    log, witness = signer(1), signer(2, "witness.test/w")
    checkpoint = Checkpoint(ORIGIN, 7, leaf_hash(b"x"))
    note = sign_checkpoint(checkpoint, log, witness)
    assert open_checkpoint(note, [log.verifier()]) == checkpoint
    assert [s.name for s in parse_note(note).signatures] == [ORIGIN, "witness.test/w"]
    only_witness = sign_checkpoint(checkpoint, witness)
    with pytest.raises(NoteRefused, match="no trusted key"):
        open_checkpoint(only_witness, [log.verifier()])


def test_another_log_under_the_same_key_is_refused() -> None:
    key = signer()
    note = sign_checkpoint(Checkpoint("other.test/log", 7, leaf_hash(b"x")), key)
    with pytest.raises(NoteRefused, match="of the log"):
        open_checkpoint(note, [key.verifier()], ORIGIN)


ROOT = base64.b64encode(leaf_hash(b"x")).decode()


@pytest.mark.parametrize(
    "text",
    [
        f"{ORIGIN}\n07\n{ROOT}\n",
        f"{ORIGIN}\n+7\n{ROOT}\n",
        f"{ORIGIN}\n7 \n{ROOT}\n",
        f"{ORIGIN}\n\u0667\n{ROOT}\n",
        f"{ORIGIN}\n-1\n{ROOT}\n",
        f"{ORIGIN}\n99999999999999999999\n{ROOT}\n",
        f"{ORIGIN}\n7\n{ROOT[:-1]}\n",
        f"{ORIGIN}\n7\n{ROOT[:-2]}B=\n",
        f"{ORIGIN}\n7\n{ROOT}{ROOT}\n",
        f"{ORIGIN}\n7\nAAAA\n",
        f"{ORIGIN}\n7\n{ROOT}\nextension\n",
        f"{ORIGIN}\n7\n{ROOT}",
        f"\n7\n{ROOT}\n",
        f"a b\n7\n{ROOT}\n",
        f"a\u200b\n7\n{ROOT}\n",
        f"{ORIGIN}\n0\n{ROOT}\n",
        "",
    ],
)
def test_another_spelling_of_a_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteRefused):
        parse_checkpoint_text(text)


GOOD = sign_checkpoint(Checkpoint(ORIGIN, 7, leaf_hash(b"x")), signer())


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"\n\n",
        GOOD[:-1],
        GOOD + b"\n",
        GOOD.replace(b"\n", b"\r\n"),
        GOOD.replace("—".encode(), b"-"),
        GOOD.replace(b"=\n", b"\n"),
        GOOD + b"text after\n",
        b"\xff" + GOOD,
        GOOD.replace(b"7", b"7\t"),
        GOOD + "— name+plus AAAAAAAA\n".encode(),
        GOOD + "— name AAAA\n".encode(),
        GOOD + "—  AAAAAAAA\n".encode(),
        GOOD + "— n\u00a0m AAAAAAAA\n".encode(),
        GOOD + "— n AAAAAAB=\n".encode(),
        GOOD + GOOD.splitlines(keepends=True)[-1] * 40,
        b"x" * 200_000 + GOOD,
    ],
)
def test_what_is_no_note_is_refused(note: bytes) -> None:
    with pytest.raises(NoteRefused):
        parse_note(note)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_note_with_one_spelling_or_refused(data: bytes) -> None:
    try:
        note = parse_note(data)
    except NoteRefused:
        return
    assert note.encode() == data


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a+b",
        GO_VKEY.replace("c74f20a3", "c74f20a4"),
        GO_VKEY.replace("c74f20a3", "C74F20A3"),
        GO_VKEY.replace("PeterNeumann", "PeterNewmann"),
        GO_VKEY.replace("+ARpc", "+Axpc"),
        GO_VKEY[:-4],
        "na me+00000000+" + GO_VKEY.rpartition("+")[2],
    ],
)
def test_a_verifier_key_that_does_not_hang_together_is_refused(text: str) -> None:
    with pytest.raises(NoteRefused):
        parse_vkey(text)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "ä", "x" * 256, "a\n"])
def test_a_bad_key_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="key name"):
        signer(1, name)


def test_nothing_is_signed_outside_the_format() -> None:
    with pytest.raises(ValueError, match="signature"):
        sign_checkpoint(Checkpoint(ORIGIN, 1, leaf_hash(b"")))
    with pytest.raises(ValueError, match="outside"):
        sign_checkpoint(Checkpoint(ORIGIN, -1, EMPTY_ROOT), signer())
    with pytest.raises(ValueError, match="key name"):
        sign_checkpoint(Checkpoint("evil\n9", 1, leaf_hash(b"")), signer())
