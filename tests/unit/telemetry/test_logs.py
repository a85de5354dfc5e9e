"""Log lines: one event a line whatever it says, nothing secret, and an id to ask for."""

from __future__ import annotations

import io
import json
import logging
import re
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryogate.domain.secrets import Secret
from cryogate.telemetry.logs import JsonLines, TextLines, configure
from cryogate.telemetry.requests import REQUEST, TRACE, request_id

JOB = "job_" + "0" * 26
HOSTILE = [
    "line\r\n2026-11-25T12:00:00.000Z INFO cryogate forged", "\x00\x1b[2J\x7f\x85\x9b",
    "\u2028\u2029\u202e\u2066", '"}\n{"level":"info"', "\ud800", "é漢🎉", "x" * 1_000_000,
]  # fmt: skip
TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJib3QifQ.c2lnbmF0dXJl"
SECRETS = [
    TOKEN, f"DPoP {TOKEN}", "authorization: Bearer canary-canary-4", "apiKey canary-0123456",
    "whsec_canarycanary", "AKIA0123456789ABCDEF", TOKEN.rpartition(".")[0],
    "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----",
    "-----BEGIN EC PRIVATE KEY-----\ncanary",
]  # fmt: skip


def record(message: str, *args: object, error: BaseException | None = None) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("cryogate.x", logging.ERROR, "f.py", 1, message, args, info)


@pytest.mark.attack("L4")
@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_no_message_breaks_its_line(value: str) -> None:
    line = JsonLines().format(record("%s", value))
    assert re.fullmatch(r"[ -~]{1,40000}", line)
    assert json.loads(line)["level"] == "error"
    text = TextLines().format(record("%s", value))
    assert len(text.splitlines()) == 1
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", text)
    assert len(text) < 40_000
    text.encode("utf-8")


@pytest.mark.attack("L4")
@given(st.text(max_size=200))
def test_nor_does_anything_else(value: str) -> None:
    assert json.loads(JsonLines().format(record("%s", value)))["logger"] == "cryogate.x"
    assert len(TextLines().format(record("%s", value)).splitlines()) == 1


@pytest.mark.attack("L4")
@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_no_error_writes_a_line_of_its_own(value: str) -> None:
    try:
        raise ValueError(value)
    except ValueError as error:
        made = record("failed", error=error)
    line = json.loads(JsonLines().format(made))
    assert line["error"] == "ValueError"
    assert len(line["stack"]) <= 17_000
    first, *rest = TextLines().format(made).split("\n")
    assert first.endswith("failed")
    assert all(line.startswith("    | ") for line in rest)


@pytest.mark.attack("T4", "S1")
@pytest.mark.parametrize("secret", SECRETS)
def test_what_looks_like_a_credential_is_taken_out(secret: str) -> None:
    for formatter in (JsonLines(), TextLines()):
        try:
            raise ValueError(f"with {secret} in it")
        except ValueError as error:
            line = formatter.format(record("got %s here", secret, error=error))
        assert "<redacted>" in line
        assert "canary" not in line
        assert "eyJ" not in line
        assert "AKIA" not in line


def test_a_word_is_no_credential() -> None:
    told = "no basic authentication, a bearer certificate, DPoP verification"
    assert json.loads(JsonLines().format(record(told)))["message"] == told


@pytest.mark.attack("S1")
def test_a_secret_cannot_be_logged() -> None:
    line = JsonLines().format(record("%s %r", Secret(b"canary"), Secret(b"canary")))
    assert "canary" not in line


def test_a_line_names_what_it_is_about() -> None:
    made = record("%s: the vendor did not answer", JOB)
    assert json.loads(JsonLines().format(made)) == {
        "timestamp": json.loads(JsonLines().format(made))["timestamp"], "level": "error",
        "logger": "cryogate.x", "message": f"{JOB}: the vendor did not answer", "job_id": JOB,
    }  # fmt: skip


def test_a_broken_call_is_a_line_too() -> None:
    assert "do not fit" in JsonLines().format(record("%d %d", "one"))


def test_lines_of_a_request_share_its_id() -> None:
    assert request_id() == ""
    token = REQUEST.set({TRACE: "a" * 32})
    try:
        lines = [json.loads(JsonLines().format(record("x"))) for _ in range(2)]
        assert lines[0]["request_id"] == lines[1]["request_id"] == request_id()
        assert re.fullmatch(r"req_[0-9a-f]{16}", request_id())
        assert lines[0]["trace_id"] == "a" * 32
        assert request_id() in TextLines().format(record("x"))
    finally:
        REQUEST.reset(token)


@pytest.fixture
def loggers() -> Iterator[io.StringIO]:
    root, stream = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    yield stream
    logging.captureWarnings(capture=False)
    root.handlers[:], root.level = handlers, level


def said(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_everybodys_lines_come_in_one_form(loggers: io.StringIO) -> None:
    configure("json", "info", loggers)
    logging.getLogger("uvicorn.error").info("Started server process [%d]", 7)
    logging.getLogger("cryogate").debug("too fine")
    logging.getLogger("httpx").info("GET https://x")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    lines = said(loggers)
    assert [line["logger"] for line in lines] == ["uvicorn.error", "py.warnings"]
    configure("json", "debug", loggers)
    logging.getLogger("cryogate").debug("fine")
    logging.getLogger("httpx").debug("body of a request")
    assert said(loggers)[2:] == [{**said(loggers)[-1], "message": "fine", "level": "debug"}]
