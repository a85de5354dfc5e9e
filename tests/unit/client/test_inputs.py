"""URLs and programs, as the client takes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryogate.client.messages import origin_of
from cryogate.client.sources import format_of, read_source
from cryogate.domain.errors import Malformed


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://gate.example", "https://gate.example"),
        ("https://gate.example:8443/", "https://gate.example:8443"),
        ("http://127.0.0.1:8642", "http://127.0.0.1:8642"),
        ("http://[::1]:8642", "http://[::1]:8642"),
        ("http://localhost", "http://localhost"),
    ],
)
def test_origins(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "",
        "gate.example",
        "ftp://gate.example",
        "file:///etc/passwd",
        "https://user:secret@gate.example",
        "https://gate.example/v1",
        "https://gate.example/?a",
        "https://gate.example:99999",
        "https://gate.example\r\nHost: evil",
        "https://gäte.example",
        "https://[::1",
    ],
)
def test_what_is_not_an_origin_is_refused(url: str) -> None:
    with pytest.raises(Malformed):
        origin_of(url)


@pytest.mark.parametrize("host", ["gate.example", "127.0.0.1.evil.example", "10.0.0.1", "127.1"])
def test_plain_http_is_for_this_machine_only(host: str) -> None:
    with pytest.raises(Malformed, match="https"):
        origin_of(f"http://{host}")
    assert origin_of(f"http://{host}", insecure_http=True) == f"http://{host}"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("OPENQASM 2.0;\n", "openqasm2"),
        ("OPENQASM 3;\n", "openqasm3"),
        ("// made by hand\n\n/* and\nmore */ OPENQASM 3.0;", "openqasm3"),
        ("\ufeffOPENQASM 2.0;", "openqasm2"),
        (' {"format": "ionq.circuit.v1"}', "ionq.circuit.v1"),
    ],
)
def test_the_format_is_told_from_the_first_statement(source: str, found: str) -> None:
    assert format_of(source) == found


@pytest.mark.parametrize("source", ["", "qubit q;", "OPENQASM 4;", "OPENQASM 3", "/* OPENQASM 3;"])
def test_an_unknown_format_is_asked_about(source: str) -> None:
    with pytest.raises(Malformed, match="OPENQASM"):
        format_of(source)


def test_a_program_is_text_or_the_name_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "ghz.qasm"
    path.write_text("OPENQASM 3;")
    assert read_source(path) == read_source(str(path)) == read_source("OPENQASM 3;")
    path.write_bytes(b"OPENQASM 3;\xff")
    for wrong in (path, tmp_path / "absent.qasm", tmp_path):
        with pytest.raises(Malformed):
            read_source(wrong)


def test_a_long_comment_does_not_take_long_to_skip() -> None:
    # Linear: a pattern that went back would not end within a test run.
    with pytest.raises(Malformed):
        format_of("/*" * 30_000 + "//" * 30_000)
