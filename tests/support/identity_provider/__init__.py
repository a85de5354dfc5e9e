"""A real identity provider in a process of its own, and a person who signs in there."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.tls import authority, issue

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class IdentityProvider:
    """``ca`` is the PEM file of the authority behind its certificate."""

    issuer: str
    ca: Path


def free_port() -> int:
    """A port that was free a moment ago: provider and server must know each other's beforehand."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _root() -> Path:
    root = Path(os.environ.get("CRYOGATE_OIDC_PROVIDER", "") or
                Path.home() / ".cache" / "cryogate" / "oidc-provider")  # fmt: skip
    if shutil.which("node") is None or not (root / "node_modules").exists():
        reason = "no identity provider: node and .ci/oidc are needed"
        if os.environ.get("CRYOGATE_REQUIRE_REAL") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return root


@contextmanager
def provider(
    folder: Path, clients: Sequence[Mapping[str, Any]], people: Mapping[str, Mapping[str, Any]]
) -> Iterator[IdentityProvider]:
    """A provider that knows ``clients`` and ``people`` (by subject)."""
    root, ca = _root(), authority("Identity CA")
    cert, key = issue("idp", "127.0.0.1", "localhost", issuer=ca).write(folder, "idp")
    ca_file = folder / "idp-ca.pem"
    ca_file.write_bytes(ca.cert_pem)
    given = {"key": str(key), "cert": str(cert), "clients": clients, "people": people,
             "root": str(root)}  # fmt: skip
    command = ["node", str(_HERE / "provider.mjs"), json.dumps(given)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline().decode()
            assert line.startswith("listening "), "the identity provider did not start"
            yield IdentityProvider(line.split()[1], ca_file)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=20)


def client(port: int, client_id: str, scheme: str = "http", **more: Any) -> dict[str, Any]:
    """A client of the provider that is a server of ours on ``port``."""
    return {
        "client_id": client_id,
        "redirect_uris": [f"{scheme}://127.0.0.1:{port}/console/login/oidc/done"],
        "response_types": ["code"],
        "grant_types": ["authorization_code"],
        "application_type": "native" if scheme == "http" else "web",
        "scope": "openid email profile groups",
        **more,
    }


def authorize(url: str, login: str, ca: Path) -> str:
    """Sign in and consent at the provider as ``login``; where it sends the browser back to."""
    with httpx.Client(verify=ssl.create_default_context(cafile=ca), trust_env=False) as browser:
        answer = browser.get(url)
        for _ in range(12):
            where = answer.headers.get("location")
            if where is not None and "/console/login/oidc/done" in where:
                return str(where)
            if where is not None:
                answer = browser.get(answer.url.join(where))
                continue
            action = re.search(r'action="([^"]+)"', answer.text)
            assert action is not None, answer.text
            prompt = re.search(r'name="prompt" value="(\w+)"', answer.text)
            assert prompt is not None, answer.text
            form = {"prompt": prompt[1], "login": login, "password": "any"}
            answer = browser.post(answer.url.join(action[1]), data=form)
    raise AssertionError("the provider did not send the browser back")
