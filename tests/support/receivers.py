"""What sinks send to: real receivers that can be killed, and say what they have kept."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import socket
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

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


class Rsyslog(Receiver):
    """Debian's rsyslogd, with one input and one file, killed by signal 9."""

    load = ""
    scheme = ""

    async def start(self) -> None:
        if not hasattr(self, "port"):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port: int = probe.getsockname()[1]
            root = authority()
            made = issue("rsyslog", "127.0.0.1", "localhost", issuer=root)
            self.cert, self.key = made.write(self.directory, "rsyslog")
            self.ca = self.directory / "ca.pem"
            self.ca.write_bytes(root.cert_pem)
            self.more["ca_file"] = str(self.ca)
            self.url = f"{self.scheme}://localhost:{self.port}"
            self.out = self.directory / "rsyslog.out"
            config = self.directory / "rsyslog.conf"
            # direct: a message is answered only after it has been written
            config.write_text(
                'global(maxMessageSize="64k" net.enableDNS="off")\n'
                'main_queue(queue.type="Direct")\n'
                f"{self.input()}\n"
                'template(name="whole" type="string" string="%msg%\\n")\n'
                f'action(type="omfile" file="{self.out}" template="whole")\n'
            )
        program = shutil.which("rsyslogd", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            if os.environ.get("CRYOGATE_REQUIRE_REAL") == "1":
                pytest.fail("rsyslogd is not installed: .ci/syslog")
            pytest.skip("rsyslogd is not installed")
        pid = self.directory / "rsyslog.pid"
        pid.unlink(missing_ok=True)
        self.process = await asyncio.create_subprocess_exec(
            program, "-n", "-f", str(self.directory / "rsyslog.conf"), "-i", str(pid),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for _ in range(400):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            await asyncio.sleep(0.02)
        raise AssertionError("rsyslogd does not listen")

    def input(self) -> str:
        raise NotImplementedError

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    def kept(self) -> str:
        return self.out.read_text() if self.out.exists() else ""


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


RECEIVERS: dict[str, type[Receiver]] = {
    "file": FileReceiver,
    "syslog": SyslogReceiver,
    "relp": RelpReceiver,
}
