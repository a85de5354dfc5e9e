"""``cryogate backend``: where an agent may run."""

from __future__ import annotations

import click

from cryogate.cli.options import As, Settings, command
from cryogate.cli.records import show_page


@click.group()
def group() -> None:
    """Backends an agent may use."""


def list_(settings: Settings) -> None:
    """List the backends that the agent's token allows."""
    from cryogate.cli.connect import agent

    with agent(settings) as client:
        items = client.backends()
    show_page(
        settings,
        {"items": list(items), "next": None},
        ("name", "simulator", "status", "qubits", "max_shots", "features"),
        none="this token allows no backend; an operator can: cryogate experiment set --backend",
    )


command(group, "list", As.AGENT)(list_)
