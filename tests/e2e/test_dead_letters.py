"""A receiver that refuses an entry, and an operator who sees to it, by the command line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.http_receivers import Refuse, WebhookReceiver
from tests.support.live import Live
from tests.support.running import Running, running
from tests.support.tls import authority, issue, server_context

POISON = "exp-poison"


class Picky(WebhookReceiver):
    """Will not have whatever names that experiment."""

    picky = True

    def take(self, path: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        if self.picky and POISON.encode() in body:
            raise Refuse(422)
        return super().take(path, headers, body)


@dataclass
class World:
    server: Running
    receiver: Picky
    cli: Live

    def letters(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.cli.json("audit", "dead-letters", "list", "hook")[
            "items"
        ]
        return found

    def told(self) -> list[tuple[str, str]]:
        """What the log says of sinks."""
        page = self.server.operator.call("GET", "audit", "events", query={"limit": 1000})
        events = [e for e in page["items"] if e["action"].startswith("sink.")]
        return [(e["action"], e["outcome"]) for e in events]

    def experiment(self) -> None:
        self.server.admin("POST", "experiments", body={
            "experiment_id": POISON, "purpose": "test", "classification": "poc",
            "owner": "ada@example.org", "closes_at": "2099-01-01T00:00:00.000Z",
            "allowed_agents": [], "allowed_backends": ["local:null"], "budget_cents": 1,
            "currency": "USD", "budget_shots": 1})  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    root, receiver = authority(), Picky(tmp_path)
    (tmp_path / "ca.pem").write_bytes(root.cert_pem)
    receiver.tls = server_context(tmp_path, issue("r", "127.0.0.1", issuer=root), "tls")
    secret = tmp_path / "secret"
    secret.touch(0o600)
    with asyncio.Runner() as runner:
        runner.run(receiver.start())
        secret.write_text(receiver.more["token"])
        settings = (
            f'[outbound]\nprivate_networks = ["127.0.0.0/8"]\nca_file = "{tmp_path}/ca.pem"\n'
            f'[[sinks]]\nname = "hook"\nurl = "{receiver.url}"\ntoken_file = "{secret}"\n'
        )
        with running(tmp_path, settings) as server:
            yield World(server, receiver, Live(tmp_path))
        runner.run(receiver.close())


def until(holds: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while not (found := holds()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


@pytest.mark.attack("L3")
def test_what_was_refused_is_seen_to(world: World) -> None:
    world.experiment()
    [letter] = until(world.letters)
    assert letter["reason"] == "answered 422"
    seq = str(letter["seq"])
    alerts = until(
        lambda: [a for a in world.server.admin("GET", "alerts")["items"]
                 if a["kind"] == "sink_dead_letter"]
    )  # fmt: skip
    assert alerts[0]["subject"] == "hook"
    [sink] = world.cli.json("audit", "sinks")["items"]
    assert (sink["name"], sink["dead_letters"], sink["feeding"]) == ("hook", 1, True)
    # asked too early: it is refused again, and waits for the next who asks
    world.cli.run("audit", "dead-letters", "retry", "hook", seq)
    again = until(lambda: [found for found in world.letters() if found["tries"] == 2])
    assert again[0]["asked_at"] is None
    assert f'"seq":{seq}' not in world.receiver.kept()
    world.receiver.picky = False
    world.cli.run("audit", "dead-letters", "retry", "hook", "--all")
    until(lambda: not world.letters())
    assert f'"seq":{seq}' in world.receiver.kept()
    assert POISON in world.receiver.kept()
    assert until(lambda: len(world.told()) >= 4 and world.told()) == [
        ("sink.retry_asked", "success"), ("sink.refused_again", "refused"),
        ("sink.retry_asked", "success"), ("sink.redelivered", "success"),
    ]  # fmt: skip
    world.cli.run("audit", "dead-letters", "drop", "hook", seq, "--reason", "gone", expect=1)
    world.cli.run("audit", "dead-letters", "retry", "elsewhere", "--all", expect=1)
    world.cli.run("audit", "dead-letters", "retry", "hook", expect=2)
