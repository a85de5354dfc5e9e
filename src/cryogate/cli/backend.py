"""``cryogate backend``: where an agent may run."""

from __future__ import annotations

from typing import Any

import click

from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import note
from cryogate.cli.records import BASE, show_page


@click.group()
def group() -> None:
    """Backends an agent may use."""


def list_(settings: Settings) -> None:
    """List the backends that the agent's token allows, or all as an operator."""
    from cryogate.cli.connect import agent, operator

    if settings.agent_file is not None:
        with agent(settings) as client:
            page: dict[str, Any] = {"items": list(client.backends()), "next": None}
    else:
        with operator(settings) as server:
            page = server.call("GET", *BASE, "backends")
    show_page(
        settings,
        page,
        ("name", "simulator", "status", "qubits", "max_shots", "features"),
        none="no backend is allowed here; an operator can: cryogate experiment set --backend",
    )
    for found in page.get("providers", ()):
        if isinstance(found, dict) and found.get("state") != "closed":
            wait_s = found.get("retry_in_ms", 0) // 1000
            note(f"{found.get('provider')} does not take jobs; tried again in {wait_s} s")


def limits(settings: Settings) -> None:
    """What bounds cost and time at each backend's vendor, and who set it there."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        page = server.call("GET", *BASE, "backends")
    rows = [
        {"backend": item.get("name"), "per": limit.get("per"), "limit": limit.get("text")}
        for item in page.get("items", ())
        for limit in item.get("limits", ())
    ]
    bare = sorted(
        str(item.get("name"))
        for item in page.get("items", ())
        if not item.get("simulator") and not item.get("limits")
    )
    found: dict[str, Any] = {"items": rows, "next": None, "without": bare}
    show_page(settings, found, ("backend", "per", "limit"), none="no vendor enforces a limit")
    for name in bare:
        note(f"{name}: the vendor enforces no limit of cost or time")


command(group, "list", As.EITHER)(list_)
command(group, "limits", As.OPERATOR)(limits)
