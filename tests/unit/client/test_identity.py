"""Credential files and keys: private, and never shown."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest

from cryogate.client import Identity, read_credential, write_credential
from cryogate.domain.errors import Malformed


@pytest.fixture
def credential(tmp_path: Path) -> Path:
    path = tmp_path / "agent.json"
    write_credential(path, Identity.generate("agent-a"), "https://gate.example", "exp-1")
    return path


def test_a_written_credential_reads_back(credential: Path) -> None:
    held = read_credential(credential)
    assert (held.client_id, held.url, held.experiment_id) == (
        "agent-a",
        "https://gate.example",
        "exp-1",
    )
    assert credential.stat().st_mode & 0o777 == 0o600


def test_members_beside_the_client_id_are_read_too(credential: Path, tmp_path: Path) -> None:
    fields = json.loads(credential.read_text())
    flat = tmp_path / "operator.jwk"
    flat.write_text(json.dumps({"client_id": "operator:admin", **fields["jwk"]}))
    flat.chmod(0o600)
    assert read_credential(flat).client_id == "operator:admin"


def test_an_existing_file_is_never_replaced(credential: Path) -> None:
    before = credential.read_bytes()
    with pytest.raises(Malformed, match="not overwritten"):
        write_credential(credential, Identity.generate("agent-b"))
    assert credential.read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_file_open_to_others_is_refused(credential: Path, mode: int) -> None:
    credential.chmod(mode)
    with pytest.raises(Malformed, match="chmod 600"):
        read_credential(credential)


def test_links_and_pipes_are_refused(credential: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(credential)
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe, 0o600)
    for path in (link, pipe, tmp_path / "absent.json", tmp_path):
        with pytest.raises(Malformed):
            read_credential(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "nonsense",
        '{"client_id": 1, "jwk": {}}',
        '{"client_id": "a", "jwk": {"kty": "oct", "k": "AAAA"}}',
        '{"client_id": "a", "jwk": {"kty": "EC", "crv": "P-256", "x": "A", "y": "A", "d": "A"}}',
        "[" * 50_000,
        " " * 70_000,
    ],
)
def test_what_is_not_a_credential_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "agent.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(Malformed):
        read_credential(path)


@pytest.mark.attack("S1")
def test_a_key_is_never_shown(credential: Path) -> None:
    secret = json.loads(credential.read_text())["jwk"]["d"]
    held = read_credential(credential)
    assert secret not in f"{held!r} {held} {held.identity!r}"
    assert "d" not in held.identity.public_jwk()
    with pytest.raises(TypeError):
        pickle.dumps(held.identity)


@pytest.mark.attack("S1")
def test_a_broken_key_is_refused_without_showing_it(tmp_path: Path, credential: Path) -> None:
    fields = json.loads(credential.read_text())
    secret = fields["jwk"]["d"]
    fields["jwk"]["x"] = "AAAA"
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(fields))
    path.chmod(0o600)
    with pytest.raises(Malformed) as refusal:
        read_credential(path)
    assert secret not in f"{refusal.value} {refusal.value!r}"
