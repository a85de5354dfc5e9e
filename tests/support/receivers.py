"""What sinks send to: real receivers that can be killed, and say what they have kept."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, NoReturn

import pytest
from tests.support.tls import authority, issue

_SEQ = re.compile(r'"seq":(\d+)')


class Receiver(ABC):
    """``url`` and ``more`` are what a sink is made of to reach it."""

    url: str

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.more: dict[str, Any] = {}

    @abstractmethod
    async def start(self) -> None:
        """Receive; again after `kill`."""

    @abstractmethod
    async def kill(self) -> None:
        """Stop at once, keeping what was acknowledged and no more."""

    async def close(self) -> None:
        """End for good."""
        await self.kill()

    @abstractmethod
    def kept(self) -> str:
        """Everything it keeps."""

    def records(self) -> list[str]:
        """What it keeps, entry by entry."""
        return [line.strip() for line in self.kept().split("\n") if line]

    def seqs(self) -> list[int]:
        return [int(found) for found in _SEQ.findall(self.kept())]


class FileReceiver(Receiver):
    """A directory; killed, it is a place where nothing can be written."""

    async def start(self) -> None:
        self.path = self.directory / "out" / "events.jsonl"
        self.url = f"file://{self.path}"
        blocked = self.path.parent
        if blocked.is_file():
            blocked.unlink()
            (self.directory / "away").rename(blocked)

    async def kill(self) -> None:
        folder = self.path.parent
        folder.mkdir(exist_ok=True)
        folder.rename(self.directory / "away")
        folder.write_bytes(b"")

    def kept(self) -> str:
        folder = self.path.parent
        folder = folder if folder.is_dir() else self.directory / "away"
        return "".join(p.read_text() for p in sorted(folder.glob("events.jsonl*"), reverse=True))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def absent(what: str, script: str) -> NoReturn:
    """A skip with a reason, or a failure where real parts are required."""
    if os.environ.get("CRYOGATE_REQUIRE_REAL") == "1":
        pytest.fail(f"{what} is not installed: {script}", pytrace=False)
    pytest.skip(f"{what} is not installed: {script}")


def cache() -> Path:
    """Where `.ci` scripts put what they fetch."""
    found = os.environ.get("CACHE")
    return Path(found) if found else Path.home() / ".cache" / "cryogate"


class Daemon(Receiver):
    """A program with one port and one file, killed by signal 9."""

    process: asyncio.subprocess.Process | None = None
    port: int = 0

    async def start(self) -> None:
        if not self.port:
            self.port = free_port()
            self.out = self.directory / "received"
            self.configure()
        self.process = await asyncio.create_subprocess_exec(
            *self.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            cwd=self.directory,
        )  # fmt: skip
        for _ in range(1000):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            assert self.process.returncode is None, "the receiver ended at once"
            await asyncio.sleep(0.02)
        raise AssertionError("the receiver does not listen")

    @abstractmethod
    def configure(self) -> None:
        """Write its configuration, once."""

    @abstractmethod
    def command(self) -> list[str]:
        """What to run."""

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    def kept(self) -> str:
        return self.out.read_text() if self.out.exists() else ""

    def certify(self) -> None:
        """A certificate for it, and the authority that a sink is told to trust."""
        root = authority()
        made = issue("receiver", "127.0.0.1", "localhost", issuer=root)
        self.cert, self.key = made.write(self.directory, "receiver")
        self.ca = self.directory / "ca.pem"
        self.ca.write_bytes(root.cert_pem)
        self.more["ca_file"] = str(self.ca)


class Rsyslog(Daemon):
    """Debian's rsyslogd."""

    load = ""
    scheme = ""

    def configure(self) -> None:
        self.certify()
        self.url = f"{self.scheme}://localhost:{self.port}"
        # direct: a message is answered only after it has been written
        (self.directory / "rsyslog.conf").write_text(
            'global(maxMessageSize="64k" net.enableDNS="off")\n'
            'main_queue(queue.type="Direct")\n'
            f"{self.input()}\n"
            'template(name="whole" type="string" string="%msg%\\n")\n'
            f'action(type="omfile" file="{self.out}" template="whole")\n'
        )

    def command(self) -> list[str]:
        program = shutil.which("rsyslogd", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            absent("rsyslogd", ".ci/syslog")
        pid = self.directory / "rsyslog.pid"
        pid.unlink(missing_ok=True)
        return [program, "-n", "-f", str(self.directory / "rsyslog.conf"), "-i", str(pid)]

    def input(self) -> str:
        raise NotImplementedError


class SyslogReceiver(Rsyslog):
    scheme = "syslog+tls"

    def input(self) -> str:
        return (
            f'global(defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="{self.ca}" '
            f'defaultNetstreamDriverCertFile="{self.cert}" '
            f'defaultNetstreamDriverKeyFile="{self.key}")\n'
            'module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" '
            'streamDriver.authMode="anon")\n'
            f'input(type="imtcp" port="{self.port}")'
        )


class RelpReceiver(Rsyslog):
    scheme = "relp+tls"

    def input(self) -> str:
        return (
            'module(load="imrelp" tls.tlslib="openssl")\n'
            f'input(type="imrelp" port="{self.port}" tls="on" tls.caCert="{self.ca}" '
            f'tls.myCert="{self.cert}" tls.myPrivKey="{self.key}" '
            'maxDataSize="64k")'
        )


class SyslogNg(Daemon):
    """Debian's syslog-ng."""

    def configure(self) -> None:
        self.certify()
        self.url = f"syslog+tls://localhost:{self.port}"
        (self.directory / "syslog-ng.conf").write_text(
            "@version: 3.38\n"
            "options { log-msg-size(65536); use-dns(no); keep-hostname(yes); stats-freq(0); };\n"
            f'source s {{ syslog(ip("127.0.0.1") port({self.port}) transport("tls") '
            f'tls(key-file("{self.key}") cert-file("{self.cert}") '
            "peer-verify(optional-untrusted))); };\n"
            f'destination d {{ file("{self.out}" template("$MSG\\n") flush-lines(1)); }};\n'
            "log { source(s); destination(d); flags(flow-control); };\n"
        )

    def command(self) -> list[str]:
        program = cache() / "syslog-ng" / "run"
        if not program.exists():
            absent("syslog-ng", ".ci/syslog")
        at = self.directory
        return [
            str(program), "--foreground", "--no-caps", f"--cfgfile={at}/syslog-ng.conf",
            f"--persist-file={at}/persist", f"--pidfile={at}/ng.pid", f"--control={at}/ng.ctl",
        ]  # fmt: skip


class Collector(Daemon):
    """The OpenTelemetry Collector; what it has taken is in a file, unbuffered."""

    signal, path = "logs", "/v1/logs"

    def configure(self) -> None:
        self.url = f"otlp+http://127.0.0.1:{self.port}{self.path}"
        (self.directory / "collector.yaml").write_text(
            f"receivers: {{otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:{self.port}'}}}}}}}}\n"
            # with a rotation it writes each request before it answers
            f"exporters: {{file: {{path: '{self.out}', rotation: {{max_megabytes: 500}}}}}}\n"
            "service:\n"
            "  telemetry: {metrics: {level: none}}\n"
            f"  pipelines: {{{self.signal}: {{receivers: [otlp], exporters: [file]}}}}\n"
        )

    def command(self) -> list[str]:
        program = cache() / "bin" / "otelcol"
        if not program.exists():
            absent("the OpenTelemetry Collector", ".ci/collector")
        return [str(program), f"--config=file:{self.directory}/collector.yaml"]

    def requests(self) -> list[dict[str, Any]]:
        """What it has taken, request by request. A line that its death cut off is none."""
        found = []
        for line in super().kept().split("\n"):
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return found

    def kept(self) -> str:
        return "\n".join(
            record["body"]["stringValue"]
            for request in self.requests()
            for resource in request["resourceLogs"]
            for scope in resource["scopeLogs"]
            for record in scope["logRecords"]
        )


#: By the kind of the sink and, behind a dot, which receiver.
RECEIVERS: dict[str, type[Receiver]] = {
    "file": FileReceiver,
    "syslog": SyslogReceiver,
    "syslog.syslog-ng": SyslogNg,
    "relp": RelpReceiver,
    "otlp.collector": Collector,
}
