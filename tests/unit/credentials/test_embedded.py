"""What rests on disk opens only under its own key and context."""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

import pytest

from cryogate.credentials import EmbeddedLeases, FileSealer
from cryogate.credentials.embedded import MasterKeyUnusable
from cryogate.domain.secrets import Secret
from cryogate.ports.credentials import LeaseUnavailable
from cryogate.testing.clock import FakeClock


def test_a_sealed_value_opens_again_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    sealed = FileSealer(path).seal(Secret(b"private"), "keys/1")
    assert sealed.startswith("v1.")
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
    raw = base64.urlsafe_b64decode(sealer.seal(Secret(b"x"), "c")[3:])
    for place in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[place // 8] ^= 1 << (place % 8)
        with pytest.raises(ValueError, match="altered"):
            sealer.open("v1." + base64.urlsafe_b64encode(changed).decode(), "c")


@pytest.mark.parametrize("text", ["", "v1.", "v1.AAAA", "v1.!!!!", "v2.AAAA", "v1.\u00e9"])
def test_what_is_no_sealed_value_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match="sealed"):
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
    issuer = EmbeddedLeases(clock)
    first, second = await issuer.lease("local", "e1", 60), await issuer.lease("local", "e1", 60)
    assert first.lease_id != second.lease_id
    assert first.secret.reveal() != second.secret.reveal()
    assert first.expires_ms == clock.now_ms() + 60_000
    with pytest.raises(LeaseUnavailable):
        await issuer.lease("ibm", "e1", 60)
