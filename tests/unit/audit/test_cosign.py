"""Cosignatures of C2SP tlog-cosignature: the signed bytes, and what they must not be taken for."""

from __future__ import annotations

import base64
import struct

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from cryogate.audit.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from cryogate.audit.cosign import Ed25519Cosigner, Mldsa44Cosigner, mldsa44_available
from cryogate.audit.errors import NoteRefused
from cryogate.audit.note import Ed25519Signer, NoteSigner, parse_note
from cryogate.audit.vkeys import parse_vkey, parse_vkeys
from cryogate.domain.secrets import Secret
from cryogate.testing.clock import FakeClock

ORIGIN, WITNESS = "cryogate.test/log", "witness.example/w1"
SEED = Secret(b"\x07" * 32)
HEAD = Checkpoint(ORIGIN, 600, b"\x05" * 32)
LOG = Ed25519Signer(ORIGIN, Secret(b"\x01" * 32))


def made(kind: str, name: str = WITNESS) -> NoteSigner:
    clock = FakeClock()
    return {"ed25519": Ed25519Cosigner, "mldsa44": Mldsa44Cosigner}[kind](name, SEED, clock)


def test_this_machine_has_mldsa44() -> None:
    assert mldsa44_available()


@pytest.mark.parametrize("kind", ["ed25519", "mldsa44"])
def test_a_cosignature_verifies_by_its_vkey_alone(kind: str) -> None:
    signer = made(kind)
    key = parse_vkey(signer.verifier().vkey())
    note = sign_checkpoint(HEAD, LOG, signer)
    assert open_checkpoint(note, [key], ORIGIN) == HEAD
    assert open_checkpoint(note, [LOG.verifier()], ORIGIN) == HEAD


def test_the_v1_message_is_the_one_of_the_specification() -> None:
    signature = made("ed25519").sign(HEAD.text().encode()).signature
    (time,) = struct.unpack(">Q", signature[:8])
    message = f"cosignature/v1\ntime {time}\n{HEAD.text()}".encode()
    Ed25519PrivateKey.from_private_bytes(SEED.reveal()).public_key().verify(signature[8:], message)


def test_the_subtree_message_is_the_one_of_the_specification() -> None:
    signature = made("mldsa44").sign(HEAD.text().encode()).signature
    message = (
        b"subtree/v1\n\0"
        + bytes([len(WITNESS)]) + WITNESS.encode()
        + signature[:8]
        + bytes([len(ORIGIN)]) + ORIGIN.encode()
        + (0).to_bytes(8, "big") + (600).to_bytes(8, "big") + HEAD.root
    )  # fmt: skip
    public = MLDSA44PrivateKey.from_seed_bytes(SEED.reveal()).public_key()
    public.verify(signature[8:], message)
    assert len(signature) == 8 + 2420


@pytest.mark.attack("L1")
@pytest.mark.parametrize("kind", ["ed25519", "mldsa44"])
@pytest.mark.parametrize("place", [0, 7, 8, 40, -1])
def test_a_flipped_bit_anywhere_is_no_cosignature(kind: str, place: int) -> None:
    signer = made(kind)
    signature = bytearray(signer.sign(HEAD.text().encode()).signature)
    signature[place] ^= 1
    assert not signer.verifier().verify(HEAD.text().encode(), bytes(signature))


@pytest.mark.attack("L1")
@pytest.mark.parametrize("kind", ["ed25519", "mldsa44"])
def test_another_head_time_or_text_is_not_what_was_cosigned(kind: str) -> None:
    signer = made(kind)
    key, text = signer.verifier(), HEAD.text().encode()
    signature = signer.sign(text).signature
    other = Checkpoint(ORIGIN, 601, HEAD.root).text().encode()
    assert key.verify(text, signature)
    assert not key.verify(other, signature)
    assert not key.verify(text, bytes(8) + signature[8:])
    assert not key.verify(text, signature + b"\0")
    assert not key.verify(b"no checkpoint\n", signature)
    with pytest.raises(NoteRefused):
        signer.sign(b"no checkpoint\n")


@pytest.mark.attack("L1")
def test_one_key_is_not_taken_for_another_kind() -> None:
    """The same seed as the log's key and as a witness's: neither signature passes for the other."""
    plain = Ed25519Signer(WITNESS, SEED)
    witness = made("ed25519")
    text = HEAD.text().encode()
    assert plain.verifier().key_id != witness.verifier().key_id
    assert not witness.verifier().verify(text, plain.sign(text).signature)
    assert not plain.verifier().verify(text, witness.sign(text).signature)


def test_vkeys_stand_one_a_line() -> None:
    keys = [LOG.verifier(), made("mldsa44").verifier()]
    text = "# of the log\n\n" + "".join(f"{key.vkey()}\n" for key in keys)
    assert [key.vkey() for key in parse_vkeys(text)] == [key.vkey() for key in keys]


@pytest.mark.parametrize("raw", [b"", b"\x06" + bytes(32), b"\x01" + bytes(1312), b"\x02" * 33])
def test_a_vkey_of_another_length_or_type_is_refused(raw: bytes) -> None:
    with pytest.raises(NoteRefused):
        parse_vkey(f"{WITNESS}+00000000+{base64.b64encode(raw).decode()}")


def test_a_head_keeps_both_signatures() -> None:
    note = parse_note(sign_checkpoint(HEAD, LOG, made("mldsa44", ORIGIN)))
    assert [s.name for s in note.signatures] == [ORIGIN, ORIGIN]
    assert note.signatures[0].key_id != note.signatures[1].key_id
