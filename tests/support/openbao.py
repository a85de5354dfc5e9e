"""A real OpenBao server in development mode: in memory, unsealed, over TLS.

`.ci/openbao` installs it and prints where, which ``CRYOGATE_OPENBAO`` names.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

_ROOT = "root-of-a-throw-away-server"
_START_S = 60.0


class OpenBao:
    """``call`` speaks as its administrator."""

    def __init__(self, binary: str, folder: Path) -> None:
        self.ca = folder / "vault-ca.pem"
        self._log = folder / "openbao.log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"https://127.0.0.1:{port}"
        command = [
            binary, "server", "-dev", "-dev-tls", f"-dev-tls-cert-dir={folder}",
            f"-dev-root-token-id={_ROOT}", f"-dev-listen-address=127.0.0.1:{port}",
            "-dev-no-store-token",
        ]  # fmt: skip
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=folder,
                env={"PATH": os.defpath, "HOME": str(folder)},
            )  # fmt: skip
        self._http = self._connect()

    def _connect(self) -> httpx.Client:
        deadline = time.monotonic() + _START_S
        while True:
            assert self._process.poll() is None, self._log.read_text()[-2000:]
            assert time.monotonic() < deadline, self._log.read_text()[-2000:]
            try:
                client = httpx.Client(
                    base_url=f"{self.url}/v1/", trust_env=False, timeout=20,
                    headers={"x-vault-token": _ROOT},
                    verify=ssl.create_default_context(cafile=str(self.ca)),
                )  # fmt: skip
                client.get("sys/health").raise_for_status()
            except (OSError, ssl.SSLError, httpx.HTTPError):
                time.sleep(0.05)
            else:
                return client

    def call(self, method: str, path: str, *, wrap: str = "", **body: Any) -> Any:
        headers = {"x-vault-wrap-ttl": wrap} if wrap else {}
        answer = self._http.request(method, path, json=body or None, headers=headers)
        assert answer.status_code in (200, 204), f"{path}: {answer.text}"
        return answer.json() if answer.content else {}

    def leases(self, prefix: str) -> list[str]:
        """Ids of what an engine has given out and not taken back."""
        found = self._http.request("LIST", f"sys/leases/lookup/{prefix}")
        return found.json()["data"]["keys"] if found.status_code == 200 else []

    def stop(self) -> None:
        self._http.close()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def binary() -> str:
    found = os.environ.get("CRYOGATE_OPENBAO", "")
    if not found:
        if os.environ.get("CRYOGATE_REQUIRE_REAL"):
            pytest.fail("CRYOGATE_OPENBAO must name a bao binary: run .ci/openbao")
        pytest.skip("OpenBao is not installed: run .ci/openbao")
    return found
