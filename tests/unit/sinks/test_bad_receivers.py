"""Receivers that answer wrongly: never taken for an acknowledgement. Setups that are refused."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support.tls import authority, issue, server_context

from cryogate.ports.sinks import Entry, EntryRefused, SinkUnavailable
from cryogate.sinks.file import FileSink
from cryogate.sinks.registry import FORMATS, make
from cryogate.sinks.s3 import signed
from cryogate.sinks.setup import SinkSetup

FIELDS: dict[str, Any] = {"action": "job.done", "outcome": "success", "seq": 0,
                          "timestamp": "2026-11-25T12:00:00.000Z"}  # fmt: skip
ENTRY = Entry("log.example/one", 0, json.dumps(FIELDS).encode(), FIELDS)


@dataclass
class Answer:
    status: int
    body: bytes = b""


def setup(url: str, answers: Callable[[], Answer] = lambda: Answer(200), **more: Any) -> SinkSetup:
    async def send(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        return answers()

    known: dict[str, Any] = {"name": "one", "url": url, "line": FORMATS["json"], "send": send,
             "now_ms": lambda: 0, "token": "secret", "user": "AK", "region": "r"}  # fmt: skip
    return SinkSetup(**(known | more))


HTTP = ["splunk+https://h:8088", "otlp+https://h/v1/logs", "webhook+https://h/x",
        "s3+https://h/audit-bucket/log"]  # fmt: skip


def http(url: str, answers: Callable[[], Answer]) -> Any:
    token = "whsec_" + "a" * 40 if url.startswith("webhook") else "secret"
    return make(setup(url, answers, token=token))


@pytest.mark.parametrize("url", HTTP)
@pytest.mark.parametrize(
    "status", [100, 204, 301, 302, 400, 401, 403, 404, 413, 422, 429, 500, 503]
)
async def test_only_a_200_is_a_yes_and_only_the_bytes_are_refused(url: str, status: int) -> None:
    sink = http(url, lambda: Answer(status))
    if status == 204 and not url.startswith("splunk"):
        await sink.deliver([ENTRY])
        return
    with pytest.raises(EntryRefused if status in (400, 413, 422) else SinkUnavailable):
        await sink.deliver([ENTRY])


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"code":0}', b'{"ackId":"1"}', b'{"ackId":true}', b"[" * 100_000]
)
async def test_a_collector_without_acknowledgement_has_taken_nothing(body: bytes) -> None:
    with pytest.raises(SinkUnavailable, match="acknowledgement"):
        await http(HTTP[0], lambda: Answer(200, body)).deliver([ENTRY])


@pytest.mark.parametrize("refused", [3, "3", -1, None])
async def test_rejected_records_are_no_success(refused: object) -> None:
    body = json.dumps({"partialSuccess": {"rejectedLogRecords": refused}}).encode()
    with pytest.raises(EntryRefused):
        await http(HTTP[1], lambda: Answer(200, body)).deliver([ENTRY])


OPEN = b"1 rsp 6 200 OK\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"1 rsp 9 500 error\n", b"0 serverclose 0\n", b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"x" * 100_000, b"1 rsp 999999 " + b"x" * 100, b"2 rsp 6 200 OK\n", b"1 rsp -1 200\n",
        OPEN + b"7 rsp 6 200 OK\n", OPEN + b"2 rsp 6 500 no\n", OPEN + b"2 rsp 0\n",
        OPEN + b"2 rsp 6 200 OKX", OPEN,
    ],
)  # fmt: skip
async def test_a_relp_answer_that_is_no_yes_is_none(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.write_eof()
        while await reader.read(4096):
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sink = make(setup(f"relp://127.0.0.1:{port}", insecure_clear=True))
    with pytest.raises(SinkUnavailable):
        await sink.deliver([ENTRY])
    await sink.close()
    server.close()
    await server.wait_closed()


async def test_tls_to_another_name_is_no_connection(tmp_path: Path) -> None:
    root = authority()
    context = server_context(tmp_path, issue("other", "other.example", issuer=root))
    (tmp_path / "ca.pem").write_bytes(root.cert_pem)
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    for scheme in ("relp+tls", "syslog+tls"):
        sink = make(setup(f"{scheme}://localhost:{port}", ca_file=str(tmp_path / "ca.pem")))
        with pytest.raises(SinkUnavailable, match="SSLCertVerificationError"):
            await sink.deliver([ENTRY])
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    "url",
    [
        "gopher://h", "nothing", "file://host/path", "file:///", "syslog://h:1", "relp://h:1",
        "syslog+udp://h", "relp+tls://u:p@h:1", "relp+tls://h:1/path", "splunk+http://h",
        "otlp+https://h/v1?token=x", "webhook+https://u:p@h/", "s3+https://h/", "s3+https://h/B",
        "s3+https://h/bucket/../x?y", "splunk+ftp://h",
    ],
)  # fmt: skip
def test_what_cannot_work_is_found_at_the_start(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        make(setup(url, token="whsec_" + "a" * 40 if url.startswith("webhook") else "secret"))


@pytest.mark.parametrize("token", ["", "two\r\nlines", "é"])
def test_a_token_that_could_end_a_header_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="token_file"):
        make(setup(HTTP[0], token=token))


def test_s3_signatures_are_those_of_amazons_library() -> None:
    """The value is botocore 1.44.8's for the same request."""
    headers = signed(
        "PUT",
        "https://s3.eu-central-1.amazonaws.com/audit-bucket/log/"
        "cryogate.local_log-0000000000000000-0000000000000009.jsonl",
        b'{"seq":0}\n',
        datetime(2026, 11, 25, 12, tzinfo=UTC),
        "eu-central-1",
        "AKIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    )
    wanted = "884bd8c2c33371ed4003ca78b269ce3bd19094f049e0592af014fbd8e9fac10d"
    assert headers["authorization"].endswith(f"Signature={wanted}")


async def test_a_file_is_cut_rotated_and_never_a_link(tmp_path: Path) -> None:
    path = tmp_path / "log" / "events"
    made = setup(f"file://{path}", rotate_bytes=300, keep=2)
    sink = FileSink(made)
    await sink.deliver([ENTRY])
    await sink.close()
    with path.open("ab") as file:
        file.write(b'{"torn')
    sink = FileSink(made)
    for _ in range(20):
        await sink.deliver([ENTRY])
    await sink.close()
    kept = sorted(p.name for p in path.parent.iterdir())
    assert kept == ["events", "events.1", "events.2"]
    for name in kept:
        lines = (path.parent / name).read_bytes().splitlines()
        assert all(line == ENTRY.data for line in lines)
        assert (path.parent / name).stat().st_mode & 0o777 == 0o600
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SinkUnavailable):
        await FileSink(made).deliver([ENTRY])
    assert not (tmp_path / "elsewhere").exists()


async def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    path = tmp_path / "events"
    sink = FileSink(setup(f"file://{path}"))
    await sink.deliver([ENTRY])
    before = path.read_bytes()
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, old[1]))
    try:
        with pytest.raises(SinkUnavailable):
            await sink.deliver([ENTRY])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == before
    await sink.close()
