"""Witnesses for tests: ours as an application in this process, and litewitness as a real server."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from tests.support.audit import ORIGIN, signer
from tests.support.goverify_build import absent
from tests.support.receivers import cache

from cryogate.audit.cosign import Ed25519Cosigner, Mldsa44Cosigner
from cryogate.audit.heads import FileHeadStore
from cryogate.audit.note import NoteSigner, NoteVerifier
from cryogate.audit.vkeys import parse_vkey
from cryogate.audit.witness import Witness
from cryogate.domain.secrets import Secret
from cryogate.outbound.fetcher import Answer
from cryogate.ports.clock import Clock
from cryogate.server.witness_app import witness_app


class OurWitness:
    """Our witness as a service, reached without a network."""

    def __init__(self, folder: Path, name: str, clock: Clock, seed: int = 3) -> None:
        self.keys: list[NoteSigner] = [
            Ed25519Cosigner(name, Secret(bytes([seed]) * 32), clock),
            Mldsa44Cosigner(name, Secret(bytes([seed + 100]) * 32), clock),
        ]
        self.url, self.folder = f"https://{name}", folder
        trusted = [signer().verifier()]
        heads = FileHeadStore(folder)
        self.witness = Witness(ORIGIN, trusted, self.keys, heads, folder / "evidence")
        app = witness_app(self.witness, ORIGIN)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://w")
        self.asked = 0
        self.down = False

    @property
    def verifiers(self) -> list[NoteVerifier]:
        return [key.verifier() for key in self.keys]

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        self.asked += 1
        if self.down:
            raise OSError("nobody answers")
        assert url.startswith(self.url)
        path = url.removeprefix(self.url)
        given = await self.http.request(method, path, headers=dict(headers), content=body)
        return Answer(given.status_code, dict(given.headers), given.content)


class Lite(NamedTuple):
    """A running litewitness."""

    url: str
    key: NoteVerifier


@contextmanager
def litewitness(folder: Path, name: str, logs: Mapping[str, str]) -> Iterator[Lite]:
    """litewitness on a free port, knowing ``logs``: a vkey by each origin."""
    cached = cache() / "bin" / "litewitness"
    program = os.environ.get("CRYOGATE_LITEWITNESS") or (str(cached) if cached.exists() else None)
    if program is None or shutil.which("ssh-agent") is None:
        absent("litewitness (.ci/witness) or ssh-agent is not installed")
    key = Ed25519PrivateKey.generate()
    public = key.public_key()
    (folder / "key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    )
    (folder / "key").chmod(0o600)
    blob = base64.b64decode(public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1])
    fingerprint = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    _database(folder / "w.db", logs)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # a socket's path is at most 108 bytes long, and a test's folder may be longer
    agent_socket = Path("/tmp") / f"cg-{os.getpid()}-{port}.sock"
    agent = subprocess.Popen(
        ["ssh-agent", "-D", "-a", agent_socket],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    server: subprocess.Popen[bytes] | None = None
    try:
        _until(agent_socket.exists)
        env = {**os.environ, "SSH_AUTH_SOCK": str(agent_socket)}
        subprocess.run(["ssh-add", "-q", folder / "key"], env=env, check=True, timeout=10)
        with (folder / "litewitness.log").open("wb") as output:
            server = subprocess.Popen(
                [program or "", "-name", name, "-db", folder / "w.db", "-ssh-agent", agent_socket,
                 "-key", f"SHA256:{fingerprint}", "-listen", f"127.0.0.1:{port}"],
                stdout=output, stderr=output,
            )  # fmt: skip
        _until(lambda: _listens(port))
        said = (folder / "litewitness.log").read_text()
        vkey = said.split('vkey="', 1)[-1] if 'vkey="' in said else said.split("vkey=", 1)[1]
        found = parse_vkey(vkey.split('"')[0].split()[0])
        yield Lite(f"http://127.0.0.1:{port}", found)
    finally:
        for process in (server, agent):
            if process is not None:
                process.terminate()
                process.wait(10)
        agent_socket.unlink(missing_ok=True)


def _database(path: Path, logs: Mapping[str, str]) -> None:
    """The database as `witnessctl add-log` and `add-key` make it."""
    database = sqlite3.connect(path)
    database.executescript(
        """CREATE TABLE log (origin TEXT PRIMARY KEY, tree_size INTEGER NOT NULL,
                             tree_hash TEXT NOT NULL);
           CREATE TABLE key (origin TEXT NOT NULL, key TEXT NOT NULL,
                             FOREIGN KEY(origin) REFERENCES log(origin));"""
    )
    empty = base64.b64encode(hashlib.sha256(b"").digest()).decode()
    for origin, vkey in logs.items():
        database.execute("INSERT INTO log VALUES (?, 0, ?)", (origin, empty))
        database.execute("INSERT INTO key VALUES (?, ?)", (origin, vkey))
    database.commit()
    database.close()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < deadline, "it did not start"
        time.sleep(0.02)
