"""The master key comes from a file, a passphrase or the environment, and from nowhere by luck."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from pathlib import Path

import pytest

from cryogate.credentials.master_key import (
    MasterKeyUnusable,
    from_file,
    from_passphrase,
    from_text,
    make_next,
    next_path,
    take,
)
from cryogate.domain.secrets import Secret

WORDS = Secret(b"correct horse battery staple")


def test_a_passphrase_gives_the_same_key_with_the_same_salt(tmp_path: Path) -> None:
    salt = tmp_path / "master.salt"
    first, again = from_passphrase(WORDS, salt), from_passphrase(WORDS, salt)
    assert first.key_id == again.key_id
    assert stat.S_IMODE(salt.stat().st_mode) == 0o600
    expected = hashlib.scrypt(
        WORDS.reveal(), salt=salt.read_bytes(), n=1 << 17, r=8, p=1, maxmem=256 << 20, dklen=32
    )
    assert first.secret.reveal() == expected
    assert from_passphrase(WORDS, tmp_path / "other.salt").key_id != first.key_id
    assert from_passphrase(Secret(b"correct horse battery stapl."), salt).key_id != first.key_id


def test_a_short_passphrase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MasterKeyUnusable, match="12 characters"):
        from_passphrase(Secret(b"hunter2"), tmp_path / "salt")
    assert not os.listdir(tmp_path)


def test_a_key_written_as_text(tmp_path: Path) -> None:
    text = base64.urlsafe_b64encode(bytes(range(32)))
    assert from_text(Secret(text)).secret.reveal() == bytes(range(32))
    assert from_text(Secret(text.rstrip(b"=") + b"\n")).secret.reveal() == bytes(range(32))
    for wrong in (b"", b"short", b"!" * 43, text + b"AAAA"):
        with pytest.raises(MasterKeyUnusable):
            from_text(Secret(wrong))


@pytest.mark.attack("S1")
def test_a_variable_is_gone_once_it_was_read() -> None:
    environ = {"CRYOGATE_MASTER_KEY": "value", "HOME": "/"}
    assert take(environ, "CRYOGATE_MASTER_KEY").reveal() == b"value"
    assert environ == {"HOME": "/"}
    with pytest.raises(MasterKeyUnusable, match="not set"):
        take(environ, "CRYOGATE_MASTER_KEY")


def test_the_next_key_opens_beside_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    (old,) = from_file(path)
    new = make_next(path)
    assert make_next(path).key_id == new.key_id, "an interrupted re-key goes on with its key"
    assert [key.key_id for key in from_file(path)] == [old.key_id, new.key_id]
    next_path(path).replace(path)
    assert [key.key_id for key in from_file(path)] == [new.key_id]


def test_a_rekey_reaches_every_table_that_holds_something_sealed() -> None:
    import re

    from cryogate.storage.statements import SQL_DIR

    texts = [p.read_text() for p in (SQL_DIR.parent / "migrations").glob("*.sql")]
    found = set()
    for text in texts:
        for table, body in re.findall(
            r"CREATE (?:\{\{unlogged\}\} )?TABLE (\w+) \((.*?)\n\)", text, re.DOTALL
        ):
            if re.search(r"^\s*sealed\b", body, re.MULTILINE):
                found.add(table)
    query = (SQL_DIR / "secrets.sql").read_text()
    sealed = query[query.index("-- name: sealed_values") :].split("-- name:", 2)[1]
    assert found == set(re.findall(r"FROM (\w+)", sealed))
