"""What a token or a backend would refuse of a circuit, by the gateway's own rules."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from cryogate.cli.options import Settings
from cryogate.domain.errors import Malformed

if TYPE_CHECKING:
    from cryogate.circuits import Facts, Program
    from cryogate.domain.decisions import Violation

_MAX_FILE = 1 << 20


def read_items(path: Path, member: str) -> list[dict[str, Any]]:
    """The objects under ``member`` of a JSON document that another command has printed.

    Raises:
        Malformed: it cannot be read, or is no such document.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
        document = json.loads(data) if len(data) <= _MAX_FILE else None
    except (OSError, ValueError, RecursionError) as error:
        raise Malformed("unreadable", f"cannot read {path.name}: {error}") from None
    items = document.get(member) if isinstance(document, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise Malformed("unreadable", f"{path.name} has no list of {member}")
    return items


def ask(settings: Settings) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What the agent's token grants, and the backends it may use, from the server."""
    from cryogate.cli.connect import agent

    with agent(settings) as client:
        granted = [dict(item) for item in client.token().granted]
        return granted, list(client.backends())


def refused_by_token(facts: Facts, granted: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Gates that a token does not allow; a token that says nothing of gates allows none."""
    from cryogate.gateway.checks.token_limits import gates_allowed

    found: list[Violation] = []
    for item in granted:
        allowed = item.get("allowed_gate_set")
        gates = tuple(map(str, allowed)) if isinstance(allowed, list | tuple) else ()
        found += gates_allowed(gates, facts)
    return _documents("token", found)


def refused_by_backend(
    facts: Facts, program: Program | None, documents: Iterable[Mapping[str, Any]], name: str | None
) -> list[dict[str, Any]]:
    """What each backend refuses, or the one of that name.

    Raises:
        Malformed: it is not among them, or is not described as the gateway describes it.
    """
    from cryogate.gateway.checks.device_limits import circuit_limits
    from cryogate.ports.provider import Backend

    found: list[dict[str, Any]] = []
    seen = False
    for document in documents:
        if name is not None and document.get("name") != name:
            continue
        seen = True
        try:
            scheme = str(document.get("name")).partition(":")[0]
            device = msgspec.convert({"scheme": scheme, **document}, Backend)
        except (msgspec.ValidationError, ValueError):
            raise Malformed(
                "unreadable", "a backend is not described as the gateway does"
            ) from None
        found += _documents(device.name, circuit_limits(device, facts, program))
    if name is not None and not seen:
        raise Malformed("no_such_backend", f"{name} is not among the backends")
    return found


def _documents(by: str, violations: Iterable[Violation]) -> list[dict[str, Any]]:
    return [{"by": by, **msgspec.to_builtins(violation)} for violation in violations]
