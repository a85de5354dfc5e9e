"""One job at a vendor, and the vendor's key afterwards: in nothing that anybody can read (T4, S1).

All that the product writes is looked through at once: seven sinks in four formats, the log of the
process at its most talkative, traces, metrics, problem documents, results, provenance, evidence,
the admin API, and every byte of the database and the state directory. The vendor is hostile too:
when it refuses, it says the key back.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send
from tests.support.http_receivers import ALL, HttpReceiver
from tests.support.live import Live
from tests.support.receivers import Daemon, Receiver
from tests.support.running import GHZ, Agent, Running, running
from tests.support.tls import authority, issue, server_context

from cryogate.dev.ionq import IonqFake
from cryogate.dev.serving import served
from cryogate.policies import shipped_bundle
from cryogate.sinks.registry import SINKS

KEY = "canary+vendor/key-4711=do-not-tell"
FORMS = ("json", "ocsf", "cef", "ecs")
PRICES = [
    {"backend": "ionq:*", "model": "vendor_estimate", "currency": "USD", "ceiling": "50",
     "headroom_percent": 10, "source": "test", "as_of": "2026-11-01"},
]  # fmt: skip


class Parrot:
    """Says the credential back in its refusals, as some do."""

    def __init__(self, fake: IonqFake) -> None:
        self.fake, self.says = fake, False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self.says or scope["method"] != "POST" or not scope["path"].endswith("/jobs"):
            await self.fake.app(scope, receive, send)
            return
        told = json.dumps({"message": f"bad key {KEY}", "error": KEY}).encode()
        headers = [(b"content-length", str(len(told)).encode()), (b"x-key", KEY.encode())]
        await send({"type": "http.response.start", "status": 403, "headers": headers})
        await send({"type": "http.response.body", "body": told})


@dataclass
class World:
    server: Running
    fake: IonqFake
    parrot: Parrot
    agent: Agent
    receivers: dict[str, Receiver]
    collector: Daemon
    folder: Path

    def run(self) -> dict[str, Any]:
        body = {"backend": "ionq:simulator", "shots": 100,
                "program": {"format": "openqasm2", "source": GHZ}}  # fmt: skip
        answer = self.agent.call("POST", "/v1/jobs", body)
        assert answer.status_code == 202, answer.text
        found: dict[str, Any] = until(lambda: self._over(answer.json()["job_id"]))
        return found

    def _over(self, job_id: str) -> Any:
        job = self.agent.call("GET", f"/v1/jobs/{job_id}").json()
        return job if job["state"] in ("done", "failed") else None


def until(found: Any) -> Any:
    deadline = time.monotonic() + 60
    while True:
        if seen := found():
            return seen
        assert time.monotonic() < deadline
        time.sleep(0.1)


def settings(folder: Path, url: str, receivers: dict[str, Receiver], traces: str) -> str:
    bundle = folder / "bundle"
    shutil.copytree(shipped_bundle(), bundle)
    rules = bundle / "cryogate_data/settings/data.json"
    rules.write_text(rules.read_text().replace('"local:*"', '"local:*", "ionq:simulator"'))
    (folder / "metrics-token").touch(0o600)
    (folder / "metrics-token").write_text("canary-metrics-token")
    lines = [
        f'[policy]\nbundle = "{bundle}"\ninsecure_unsigned = true',
        f'[providers]\nenabled = ["ionq"]\nrefresh_s = 5\n[ionq]\nurl = "{url}/v0.4"',
        f'[metrics]\ntoken_file = "{folder}/metrics-token"',
        f'[tracing]\nurl = "{traces}"',
        '[logs]\nformat = "json"\nlevel = "debug"',
        f'[outbound]\nprivate_networks = ["127.0.0.0/8"]\nca_file = "{folder}/ca.pem"',
    ]
    for place, (name, receiver) in enumerate(sorted(receivers.items())):
        more = {"token": "canary-sink-token", **receiver.more}
        token = folder / f"token-{name}"
        token.touch(0o600)
        token.write_text(str(more.pop("token")))
        lines.append(
            f'[[sinks]]\nname = "{name}"\nurl = "{receiver.url}"\ntoken_file = "{token}"\n'
            f'format = "{FORMS[place % len(FORMS)]}"\n'
            + "".join(f'{key} = "{value}"\n' for key, value in more.items())
        )
    return "\n".join(lines) + "\n"


def _close(runner: asyncio.Runner, receiver: Receiver) -> None:
    runner.run(receiver.close())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder, fake = tmp_path_factory.mktemp("canary"), IonqFake(KEY)
    parrot, root = Parrot(fake), authority()
    (folder / "ca.pem").write_bytes(root.cert_pem)
    context = server_context(folder, issue("r", "127.0.0.1", "localhost", issuer=root), "tls")
    receivers: dict[str, Receiver] = {}
    with asyncio.Runner() as runner, ExitStack() as ends:
        for kind in (*SINKS, "otlp.collector"):
            place = folder / f"at-{kind}"
            place.mkdir()
            receivers[kind] = made = ALL[kind](place)
            if isinstance(made, HttpReceiver):
                made.tls = context
            if kind == "otlp.collector":
                vars(made).update(signal="traces", path="/v1/traces")
            runner.run(made.start())
            ends.callback(_close, runner, made)
        collector = receivers.pop("otlp.collector")
        assert isinstance(collector, Daemon)
        url = ends.enter_context(served(parrot))
        made_settings = settings(folder, url, receivers, collector.url.removeprefix("otlp+"))
        server = ends.enter_context(running(folder, made_settings, PRICES))
        server.admin("POST", "secrets", "ionq", body={"value": KEY})
        agent = server.agent(agent={"tier": "standard"}, allowed_backends=["ionq:simulator"])
        yield World(server, fake, parrot, agent, receivers, collector, folder)


def spellings(secret: str) -> list[bytes]:
    """As it is, and as an encoding would have it anywhere in a longer text."""
    found = {secret.encode(), secret.encode().hex().encode(), json.dumps(secret).encode()[1:-1]}
    for shift in range(3):
        whole = base64.b64encode(b"x" * shift + secret.encode())
        found.add(whole[4 : len(whole) // 4 * 4 - 4])
        found.add(base64.urlsafe_b64encode(b"x" * shift + secret.encode())[4 : len(whole) - 4])
    found.add(secret.replace("/", "%2F").replace("+", "%2B").replace("=", "%3D").encode())
    return sorted(found)


@pytest.mark.attack("T4", "S1", "S3")
def test_the_vendors_key_is_in_nothing_that_anybody_can_read(world: World) -> None:
    agent, operator = world.agent, world.server.operator
    job = world.run()
    assert job["state"] == "done", job
    world.parrot.says = True
    failed = world.run()
    assert failed["state"] == "failed"
    world.parrot.says = False
    assert any(KEY in str(headers) for _, _, headers, _ in world.fake.faults.seen), "it was used"

    told: dict[str, str] = {}
    for name, path in (
        ("job", f"/v1/jobs/{job['job_id']}"),
        ("result with its provenance", f"/v1/jobs/{job['job_id']}/result"),
        ("failure", f"/v1/jobs/{failed['job_id']}"),
        ("problem: no result", f"/v1/jobs/{failed['job_id']}/result"),
        ("problem: no such job", "/v1/jobs/job_x"),
        ("backends", "/v1/backends"),
    ):
        told[name] = agent.call("GET", path).text
    bad = {"backend": "ionq:simulator", "shots": 10**9, "program": {"format": "openqasm2",
           "source": "OPENQASM 2.0; canary"}}  # fmt: skip
    told["problem: refused"] = agent.call("POST", "/v1/jobs", bad).text
    for noun in ("leases", "secrets", "jobs", "alerts", "backends", "sinks"):
        told[f"admin: {noun}"] = json.dumps(world.server.admin("GET", noun))
    after = -1
    while True:
        query = {"after": after, "limit": 1000} if after >= 0 else {"limit": 1000}
        page = operator.call("GET", "audit", "events", query=query)
        told[f"events after {after}"] = json.dumps(page)
        if page["next"] is None:
            break
        after = page["next"]
    for path in ("trace", "provenance"):
        way = (path,) if path == "trace" else (path, job["job_id"])
        asked = {"job": job["job_id"]} if path == "trace" else None
        told[f"audit: {path}"] = json.dumps(operator.call("GET", "audit", *way, query=asked))
    show = {"authorization": "Bearer canary-metrics-token"}
    for form in ("text/plain", "application/openmetrics-text"):
        headers = {**show, "accept": form}
        told[form] = httpx.get(f"{world.server.url}/metrics", headers=headers).text
    circuit = str(world.server.admin("GET", "jobs", job["job_id"])["circuit_sha256"])
    Live(world.folder).run("audit", "dispute", circuit, "--out", "dispute.zip")
    with zipfile.ZipFile(world.folder / "dispute.zip") as pack:
        told |= {f"evidence: {name}": pack.read(name).decode() for name in pack.namelist()}
    for name, receiver in world.receivers.items():
        told[f"sink: {name}"] = until(
            lambda receiver=receiver: receiver.kept() if job["job_id"] in receiver.kept() and
            failed["job_id"] in receiver.kept() else None
        )  # fmt: skip
    told["traces"] = until(
        lambda: (text := world.collector.out.read_text()) and "vendor.submit" in text and text
    )
    told["log of the process"] = (world.folder / "server.log").read_text()
    assert "the vendor answered 403" in told["log of the process"]
    token = agent.client.token().value
    proof = agent.headers("GET", "/v1/jobs")["dpop"]
    assert len(told) > 25
    for what, secrets in (
        ("the vendor's key", spellings(KEY)),
        ("the agent's token", [token.encode(), token.split(".")[1].encode()]),
        ("a proof", [proof.split(".")[1].encode()]),
        ("a sink's token", spellings("canary-sink-token")),
        ("the metrics' token", spellings("canary-metrics-token")),
    ):
        for place, text in told.items():
            assert not [s for s in secrets if s in text.encode()], (what, place)
    own = {*world.folder.glob("token-*"), world.folder / "metrics-token"}
    files = [f for f in world.folder.rglob("*") if f.is_file() and f not in own]
    assert [f for f in files if f.name == "cryogate.db"]
    for file in files:
        data = file.read_bytes()
        for secret in (*spellings(KEY), token.encode()):
            assert secret not in data, file
