"""``cryogate up``: everything in one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cryogate.cli.options import As, Settings, command


@click.group()
def _holder() -> None:
    """Holds the one command of this module."""


@click.option("--config", "config_path", type=click.Path(path_type=Path), help="A TOML file.")
@click.option("--host", help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one."
)
def _up(settings: Settings, config_path: Path | None, host: str | None, port: int | None) -> None:
    """Start broker, gateway, dispatcher and log in one process.

    The first start makes keys, a database and a sample policy in the state directory.
    """
    from cryogate.startup import run_up

    overrides: dict[str, Any] = {}
    if host is not None:
        overrides["server.host"] = host
    if port is not None:
        overrides["server.port"] = port
    run_up(config_path, settings.state_dir, overrides)


up = command(_holder, "up", As.NOBODY)(_up)
