"""Connections for commands: as an operator from the state directory, or as an agent."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryogate.cli.options import Settings
from cryogate.domain.errors import Malformed

if TYPE_CHECKING:
    from cryogate.client import Client, Operator

DEFAULT_URL = "http://127.0.0.1:8642"
_MAX_SERVER_FILE = 16 << 10


def _without_httpx_command() -> None:
    """Keep httpx from importing the command line it ships with.

    It would load pygments and half of rich, which is half the time of a short command. httpx
    itself goes on without it when it cannot be imported.
    """
    modules: dict[str, Any] = sys.modules
    modules.setdefault("httpx._main", None)


def operator(settings: Settings) -> Operator:
    """An operator's connection, with the credential in the state directory.

    Raises:
        Malformed: there is none, or others can read it.
    """
    _without_httpx_command()
    from cryogate.client import Operator, read_credential

    path = settings.state / "operator.jwk"
    if not path.exists():
        raise Malformed("no_credential", f"there is no operator.jwk in {settings.state}")
    held = read_credential(path)
    url = settings.url or held.url or server_url(settings.state)
    return Operator(
        url,
        held.identity,
        insecure_http=settings.insecure_http,
        ca_file=settings.ca_file or held.ca_file,
    )


def agent(settings: Settings) -> Client:
    """An agent's connection, with the credential file named by ``--as``.

    Raises:
        Malformed: no file is named, others can read it, or no experiment is known.
    """
    _without_httpx_command()
    from cryogate.client import Client
    from cryogate.client.provers import read_agent

    if settings.agent_file is None:
        raise Malformed("no_credential", "this is done as an agent, and no agent is named")
    held = read_agent(settings.agent_file)
    experiment = settings.experiment or held.experiment_id
    if experiment is None:
        raise Malformed("no_experiment", "the work must be for some experiment")
    url = settings.url or held.url or DEFAULT_URL
    return Client.from_file(
        settings.agent_file,
        experiment,
        url=url,
        insecure_http=settings.insecure_http,
        ca_file=settings.ca_file or held.ca_file,
    )


def server_url(state: Path) -> str:
    """Where the server of this state directory said that it listens."""
    try:
        with (state / "server.json").open("rb") as file:
            found = json.loads(file.read(_MAX_SERVER_FILE))
        url = found["url"]
    except (OSError, ValueError, KeyError, TypeError):
        return DEFAULT_URL
    return url if isinstance(url, str) else DEFAULT_URL
