"""What rests on disk opens only under its own key and context."""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

import pytest

from cryogate.credentials import EmbeddedLeases, EnvelopeSealer, FileSealer
from cryogate.credentials.master_key import MasterKeyUnusable, master_key
from cryogate.domain.secrets import Secret
from cryogate.ports.credentials import LeaseTerms, LeaseUnavailable
from cryogate.testing.clock import FakeClock


def test_a_sealed_value_opens_again_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    sealed = FileSealer(path).seal(Secret(b"private"), "keys/1")
    assert sealed.startswith("v2.")
    assert sealed.isprintable()
    assert FileSealer(path).open(sealed, "keys/1").reveal() == b"private"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["master.key"]


def test_the_same_value_is_never_sealed_the_same_way(tmp_path: Path) -> None:
    sealer = FileSealer(tmp_path / "master.key")
    assert sealer.seal(Secret(b"x"), "c") != sealer.seal(Secret(b"x"), "c")


def test_another_context_or_key_does_not_open(tmp_path: Path) -> None:
    sealer = FileSealer(tmp_path / "master.key")
    sealed = sealer.seal(Secret(b"x"), "keys/1")
    with pytest.raises(ValueError, match="another context"):
        sealer.open(sealed, "keys/2")
    with pytest.raises(ValueError, match="another key"):
        FileSealer(tmp_path / "other.key").open(sealed, "keys/1")


def test_every_altered_bit_is_noticed(tmp_path: Path) -> None:
    sealer = FileSealer(tmp_path / "master.key")
    version, key_id, *parts = sealer.seal(Secret(b"x"), "c").split(".")
    for which, part in enumerate(parts):
        raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
        for place in range(len(raw) * 8):
            changed = bytearray(raw)
            changed[place // 8] ^= 1 << (place % 8)
            text = base64.urlsafe_b64encode(changed).decode().rstrip("=")
            altered = [text if at == which else other for at, other in enumerate(parts)]
            with pytest.raises(ValueError, match="altered"):
                sealer.open(".".join((version, key_id, *altered)), "c")


def test_a_sealed_value_has_one_spelling(tmp_path: Path) -> None:
    sealer = FileSealer(tmp_path / "master.key")
    sealed = sealer.seal(Secret(b"x"), "c")
    assert len(sealed.split(".")[3]) % 4 == 3, "the last letter has two unused bits"
    twin = sealed[:-1] + chr(ord(sealed[-1]) + 1)
    for other in (sealed + "=", sealed + ".", sealed + "\n", twin):
        with pytest.raises(ValueError, match=r"not a sealed|altered"):
            sealer.open(other, "c")


def test_a_rewrapped_value_opens_under_the_new_key_alone() -> None:
    old, new = master_key(Secret(b"o" * 32)), master_key(Secret(b"n" * 32))
    sealed = EnvelopeSealer(old).seal(Secret(b"x"), "c")
    both = EnvelopeSealer(new, old)
    assert both.open(sealed, "c").reveal() == b"x"
    moved = both.rewrap(sealed)
    assert moved.split(".")[3] == sealed.split(".")[3], "the value itself was not touched"
    assert both.rewrap(moved) == moved
    assert EnvelopeSealer(new).open(moved, "c").reveal() == b"x"
    with pytest.raises(ValueError, match="another key"):
        EnvelopeSealer(old).open(moved, "c")


@pytest.mark.parametrize(
    "text", ["", "v1.AAAA", "v2.", "v2.a.b.c", "v2.!.!.!", "v3.a.b.c", "v2.\u00e9.b.c"]
)
def test_what_is_no_sealed_value_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"sealed|another key"):
        FileSealer(tmp_path / "master.key").open(text, "c")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660])
def test_a_key_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "master.key"
    FileSealer(path)
    path.chmod(mode)
    with pytest.raises(MasterKeyUnusable, match="chmod 600"):
        FileSealer(path)


def test_a_link_or_a_short_key_is_refused(tmp_path: Path) -> None:
    FileSealer(tmp_path / "real.key")
    (tmp_path / "link.key").symlink_to(tmp_path / "real.key")
    with pytest.raises(MasterKeyUnusable):
        FileSealer(tmp_path / "link.key")
    short = tmp_path / "short.key"
    short.touch(0o600)
    short.write_bytes(b"k" * 31)
    with pytest.raises(MasterKeyUnusable, match="32 bytes"):
        FileSealer(short)


async def test_only_local_backends_get_a_lease_and_each_a_new_one() -> None:
    clock = FakeClock()
    issuer, local = EmbeddedLeases(clock), LeaseTerms("local", "local:null", "e1", "a1")
    first, second = await issuer.lease(local, 60), await issuer.lease(local, 60)
    assert first.lease_id != second.lease_id
    assert first.secret.reveal() != second.secret.reveal()
    assert first.expires_ms == clock.now_ms() + 60_000
    with pytest.raises(LeaseUnavailable):
        await issuer.lease(LeaseTerms("ibm", "ibm:x", "e1", "a1"), 60)
