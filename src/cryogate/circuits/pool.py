"""Guarded workers: persistent child processes for code that must not be trusted with our own.

What keeps the service alive, whatever a job does:

1. a worker is another process with hard limits on memory, CPU, open files and file size, an empty
   working directory, no inherited descriptors, and an environment we made;
2. a reply is read with a size limit and a deadline; a late, oversized or broken one is no reply;
3. a worker that failed in any way is killed (SIGKILL), reaped and replaced; so is one whose caller
   went away in mid-job, for what it would answer next belongs to nobody;
4. a worker is retired after ``max_jobs`` jobs, so that leaks and poisoned state end; its successor
   starts during the last quarter of them, so that nobody waits for one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryogate.circuits import guarded_child
from cryogate.circuits.errors import WorkerFailed

_BOOT = """\
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
from cryogate.circuits.guarded_child import main
main(sys.argv[2])
"""


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """Limits of one worker. Memory is address space, which counts libraries too."""

    memory_bytes: int = 1 << 29
    cpu_seconds: int = 2
    open_files: int = 64
    max_reply_bytes: int = 1 << 28
    start_timeout_s: float = 60.0


class _Worker:
    def __init__(self, process: asyncio.subprocess.Process, limits: WorkerLimits) -> None:
        self._process = process
        self._limits = limits
        self.jobs = 0

    async def exchange(self, payload: bytes) -> bytes:
        assert self._process.stdin is not None  # noqa: S101 - always piped
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._process.stdin.write(guarded_child.HEADER.pack(len(payload)) + payload)
            await self._process.stdin.drain()
        self.jobs += 1
        return await self.reply()

    async def reply(self) -> bytes:
        reader = self._process.stdout
        assert reader is not None  # noqa: S101 - always piped
        try:
            (size,) = guarded_child.HEADER.unpack(await reader.readexactly(4))
            if not 1 <= size <= self._limits.max_reply_bytes:
                raise WorkerFailed("error", "the reply has no acceptable size")
            status = await reader.readexactly(1)
            body = await reader.readexactly(size - 1)
        except asyncio.IncompleteReadError:
            code = await self._process.wait()
            reason = "timeout" if code == -signal.SIGXCPU else "crash"
            raise WorkerFailed(reason, f"the worker ended with status {code}") from None
        if status == guarded_child.OK:
            return body
        detail = "".join(chr(x) if 32 <= x < 127 else "?" for x in body[:300])
        raise WorkerFailed("memory" if status == guarded_child.MEMORY else "error", detail)

    def alive(self) -> bool:
        return self._process.returncode is None

    async def end(self) -> None:
        """Kill and reap."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        stdin = self._process.stdin
        if stdin is not None:
            stdin.close()
        # Drain what is left, so that the transport sees the end of the pipe and closes.
        if self._process.stdout is not None:
            with contextlib.suppress(Exception):
                while await self._process.stdout.read(1 << 16):
                    pass
        await self._process.wait()
        if stdin is not None:
            with contextlib.suppress(Exception):
                await stdin.wait_closed()


class GuardedPool:
    """At most ``size`` workers that each run ``entrypoint`` (``"module:function"``).

    The function takes and returns bytes. Workers start on first use, or by `prewarm`; a busy pool
    serves callers in the order of their calls. One pool belongs to one event loop.
    """

    def __init__(
        self,
        entrypoint: str,
        *,
        size: int = 1,
        limits: WorkerLimits | None = None,
        max_jobs: int = 1000,
        request_timeout_s: float = 1.2,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        if size < 1 or max_jobs < 1:
            raise ValueError("a pool needs at least one worker and one job per worker")
        self._entrypoint = entrypoint
        self._limits = limits or WorkerLimits()
        self._max_jobs = max_jobs
        self._timeout_s = request_timeout_s
        self._environment = dict(environment or {})
        self._slots = asyncio.Semaphore(size)
        self._size = size
        self._idle: list[_Worker] = []
        self._successors: list[_Worker] = []
        self._preparing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._directory: str | None = None
        self._closed = False

    async def call(self, payload: bytes) -> bytes:
        """Run one job. Raises `WorkerFailed`; the worker that failed is already being replaced."""
        async with self._slots:
            if self._closed:
                raise WorkerFailed("closed")
            worker = await self._take()
            kept = False
            try:
                async with asyncio.timeout(self._timeout_s):
                    reply = await worker.exchange(payload)
                kept = worker.jobs < self._max_jobs and not self._closed
                return reply
            except TimeoutError:
                raise WorkerFailed("timeout", f"no reply in {self._timeout_s:g} s") from None
            finally:
                if kept:
                    self._idle.append(worker)
                    if worker.jobs > self._max_jobs - self._max_jobs // 4:
                        self._prepare_successor()
                elif self._successors and not self._closed:
                    self._idle.append(self._successors.pop())
                    self._background(worker.end())
                else:
                    self._background(self._replace(worker))

    def prewarm(self) -> None:
        """Start workers in the background, so that the first caller need not wait."""
        for _ in range(self._size - len(self._idle)):
            self._background(self._refill())

    async def close(self) -> None:
        """Kill and reap every worker. Calls in progress fail; later ones are refused."""
        self._closed = True
        while self._idle:
            await self._idle.pop().end()
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        for workers in (self._idle, self._successors):
            while workers:
                await workers.pop().end()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    async def _take(self) -> _Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.alive():
                return worker
            await worker.end()
        return await self._start()

    def _background(self, job: object) -> None:
        task: asyncio.Task[None] = asyncio.create_task(job)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _prepare_successor(self) -> None:
        if not (self._preparing or self._successors or self._closed):
            self._preparing = True
            self._background(self._succeed())

    async def _succeed(self) -> None:
        try:
            # One that cannot start is not missed: then the worker is replaced when it retires.
            with contextlib.suppress(WorkerFailed):
                self._successors.append(await self._start())
        finally:
            self._preparing = False

    async def _replace(self, worker: _Worker) -> None:
        await worker.end()
        await self._refill()

    async def _refill(self) -> None:
        async with self._slots:
            if self._closed or len(self._idle) >= self._size:
                return
            # A worker that cannot start is reported to the next caller, who tries again.
            with contextlib.suppress(WorkerFailed):
                self._idle.append(await self._start())

    async def _start(self) -> _Worker:
        if self._directory is None:
            self._directory = tempfile.mkdtemp(prefix="cryogate-worker-")
            os.chmod(self._directory, 0o500)
        settings = {
            "entrypoint": self._entrypoint,
            "memory_bytes": self._limits.memory_bytes,
            "cpu_seconds": self._limits.cpu_seconds,
            "open_files": self._limits.open_files,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-B", "-c", _BOOT,
            json.dumps(_import_path()), json.dumps(settings),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=self._directory,
            env=_BASE_ENVIRONMENT | self._environment,
            close_fds=True,
            start_new_session=True,
        )  # fmt: skip
        worker = _Worker(process, self._limits)
        ready = False
        try:
            async with asyncio.timeout(self._limits.start_timeout_s):
                await worker.reply()
            ready = True
        except TimeoutError:
            raise WorkerFailed("start", "the worker did not become ready") from None
        except WorkerFailed as error:
            raise WorkerFailed("start", error.detail) from None
        finally:
            if not ready:
                self._background(worker.end())
        return worker


#: Everything a worker inherits. One thread per numeric library: workers are the parallelism.
_BASE_ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "HOME": "/nonexistent",
    "QISKIT_PARALLEL": "FALSE",
    "RAYON_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def _import_path() -> list[str]:
    """Absolute import path of this process, so that a source checkout works like an install."""
    return [str(Path(entry).resolve()) for entry in sys.path if entry and Path(entry).exists()]
