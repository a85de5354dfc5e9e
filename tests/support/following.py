"""Streams of server-sent events, read to their end."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from tests.support.running import Agent


def events_of(agent: Agent, path: str, begun: threading.Event) -> list[tuple[str, Any]]:
    found, name = [], ""
    with agent.http.stream("GET", path, headers=agent.headers("GET", path)) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                found.append((name, json.loads(line.removeprefix("data: "))))
                begun.set()
    return found


def followed(agent: Agent, path: str, then: Callable[[], object]) -> list[tuple[str, Any]]:
    """The events of a stream, during which ``then`` happens."""
    begun = threading.Event()
    agent.call("GET", "/v1/backends")  # learns the nonce that the stream's proof needs
    got: list[tuple[str, Any]] = []
    reader = threading.Thread(target=lambda: got.extend(events_of(agent, path, begun)))
    reader.start()
    assert begun.wait(20)
    then()
    reader.join(timeout=30)
    assert not reader.is_alive()
    return got
