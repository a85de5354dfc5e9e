"""Two ``cryogate up`` processes behind one address on one PostgreSQL: a proof is good once."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from tests.support.postgres import PostgresServer

from cryogate.client import Client, Identity, Operator, read_credential

_WAIT_S = 90


class Balancer:
    """Sends each connection to the next replica, as a balancer without memory does."""

    def __init__(self) -> None:
        self.ports: list[int] = []
        self.turn = 0
        self._loop, self._stop = asyncio.new_event_loop(), asyncio.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.turn += 1
        port = self.ports[self.turn % len(self.ports)]
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_copy(reader, back), _copy(there, writer))

    async def _run(self) -> None:
        server = await asyncio.start_server(self._serve, sock=self._listener)
        await self._stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await server.wait_closed()

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run()))
        thread.start()
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self._stop.set)
            thread.join()
            self._loop.close()


async def _copy(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            to.write(data)
            await to.drain()
    except OSError:
        pass
    finally:
        to.close()


@contextmanager
def replica(state: Path, url: str, dsn: str, port: int) -> Iterator[None]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("CRYOGATE_")}
    env |= {"CRYOGATE_STATE_DIR": str(state), "CRYOGATE_STORAGE_URL": dsn,
            "CRYOGATE_SERVER_PUBLIC_URL": url,
            "CRYOGATE_AUDIT_HEADS": str(state.parent / "heads")}  # fmt: skip
    command = [sys.executable, "-m", "cryogate.cli.main", "up", "--port", str(port)]
    log = state.with_suffix(".log")
    with log.open("wb") as out, subprocess.Popen(command, env=env, stdout=out, stderr=out) as p:
        try:
            deadline = time.monotonic() + _WAIT_S
            while not (state / "server.json").exists():
                assert p.poll() is None, log.read_text()[-2000:]
                assert time.monotonic() < deadline, log.read_text()[-2000:]
                time.sleep(0.05)
            yield
        finally:
            p.send_signal(signal.SIGTERM)
            assert p.wait(timeout=30) == 0, log.read_text()[-2000:]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found: int = listener.getsockname()[1]
        return found


@pytest.mark.slow
@pytest.mark.attack("T5")
def test_a_proof_is_good_once_over_both_and_clients_do_not_notice(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    dsn = asyncio.run(postgres_server.create())
    first, second = tmp_path / "one", tmp_path / "two"
    balancer, ports = Balancer(), (_free_port(), _free_port())
    balancer.ports = list(ports)
    with ExitStack() as stack:
        stack.enter_context(balancer.running())
        stack.enter_context(replica(first, balancer.url, dsn, ports[0]))
        second.mkdir(mode=0o700)
        for name in ("master.key", "operator.jwk"):  # what replicas share
            shutil.copy2(first / name, second / name)
        for name in ("policy", "trust"):
            if (first / name).exists():
                shutil.copytree(first / name, second / name)
        stack.enter_context(replica(second, balancer.url, dsn, ports[1]))
        operator = Operator(balancer.url, read_credential(first / "operator.jwk").identity)
        stack.callback(operator.close)
        key = Identity.generate("bot")
        operator.call("POST", "admin", "v1", "agents", body={
            "agent_id": "bot", "owner": "ada@example.org", "jwk": key.public_jwk()})  # fmt: skip
        operator.call("POST", "admin", "v1", "experiments", body={
            "experiment_id": "exp", "purpose": "test", "classification": "poc",
            "owner": "ada@example.org", "closes_at": "2099-01-01T00:00:00.000Z",
            "allowed_agents": ["bot"], "allowed_backends": ["local:null"],
            "budget_cents": 500, "currency": "USD", "budget_shots": 1000})  # fmt: skip
        # clients that come by another connection each time, and so by another replica
        for _ in range(4):
            with Client(balancer.url, "bot", key, "exp") as client:
                assert client.backends()
        with Client(balancer.url, "bot", key, "exp") as client:
            token = client.token().value
        host = {"host": f"127.0.0.1:{balancer.port}", "authorization": f"DPoP {token}"}

        def ask(port: int, nonce: str | None, proof: str = "") -> tuple[httpx.Response, str]:
            made = proof or key.proof(
                "GET", balancer.url + "/v1/backends", time.time_ns() // 10**6, token, nonce
            )
            url = f"http://127.0.0.1:{port}/v1/backends"
            return httpx.get(url, headers={**host, "dpop": made}, trust_env=False), made

        asked, _ = ask(ports[0], None)
        assert asked.status_code == 401
        nonce = asked.headers["dpop-nonce"]
        for here, there in (ports, ports[::-1]):
            taken, proof = ask(here, nonce)
            assert taken.status_code == 200
            for port in (there, here):
                again, _ = ask(port, None, proof)
                assert again.status_code == 401
                assert "used before" in again.json()["detail"]
