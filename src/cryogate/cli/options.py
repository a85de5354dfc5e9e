"""Options that many commands share, and where they are kept.

Every command takes ``--json``. What else it takes follows from whom it speaks as.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import click

P = ParamSpec("P")


class As(StrEnum):
    """Whom a command speaks as."""

    NOBODY = "nobody"
    STRANGER = "stranger"
    OPERATOR = "operator"
    AGENT = "agent"
    EITHER = "either"


@dataclass(slots=True)
class Settings:
    """The shared options of one invocation."""

    as_json: bool = False
    url: str | None = None
    state_dir: Path | None = None
    agent_file: Path | None = None
    experiment: str | None = None
    insecure_http: bool = False
    ca_file: str | None = None

    @property
    def state(self) -> Path:
        """The state directory: the option, the environment, or the user's own."""
        from cryogate.config import default_state_dir

        if self.state_dir is not None:
            return self.state_dir
        import os

        return Path(default_state_dir(os.environ))


def _keep(name: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def store(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        if value is not None and value is not False:
            setattr(settings_of(ctx), name, value)
        return value

    return store


def settings_of(ctx: click.Context) -> Settings:
    """The invocation's settings, kept at the root so that error handling sees them too."""
    root = ctx.find_root()
    if not isinstance(root.obj, Settings):
        root.obj = Settings()
    return root.obj


def _option(*names: str, keep: str, **more: Any) -> Callable[[Any], Any]:
    return click.option(*names, keep, callback=_keep(keep), expose_value=False, **more)


_JSON = _option("--json", keep="as_json", is_flag=True, help="Print one JSON document.")
_URL = _option("--url", keep="url", envvar="CRYOGATE_URL", help="Where the server is.")
_HTTP = _option(
    "--insecure-http", keep="insecure_http", is_flag=True, help="Allow http beyond this machine."
)
_CA = _option(
    "--ca-file",
    keep="ca_file",
    envvar="CRYOGATE_CA_FILE",
    metavar="PEM",
    help="Authorities of the server's certificate, where the system does not know them.",
)
_STATE = _option(
    "--state-dir",
    keep="state_dir",
    type=click.Path(path_type=Path),
    help="The server's state directory; holds operator.jwk.",
)
_AGENT = _option(
    "--as",
    keep="agent_file",
    envvar="CRYOGATE_AGENT",
    type=click.Path(path_type=Path),
    metavar="AGENT_FILE",
    help="Act as the agent of this credential file.",
)
_EXPERIMENT = _option(
    "--experiment",
    keep="experiment",
    metavar="ID",
    help="What the work is for; for an agent, if its file does not say.",
)
_SETS = {
    As.NOBODY: (_JSON, _STATE),
    As.STRANGER: (_JSON, _URL, _HTTP, _CA),
    As.OPERATOR: (_JSON, _URL, _STATE, _HTTP, _CA),
    As.AGENT: (_JSON, _URL, _AGENT, _EXPERIMENT, _HTTP, _CA),
    As.EITHER: (_JSON, _URL, _AGENT, _EXPERIMENT, _STATE, _HTTP, _CA),
}


def command(
    group: click.Group, name: str, speaks: As
) -> Callable[[Callable[Concatenate[Settings, P], None]], click.Command]:
    """Register a command of ``group`` with the options of whom it speaks as."""

    def wrap(body: Callable[Concatenate[Settings, P], None]) -> click.Command:
        @click.pass_context
        def run(ctx: click.Context, /, *args: P.args, **kwargs: P.kwargs) -> None:
            body(settings_of(ctx), *args, **kwargs)

        run.__doc__ = body.__doc__
        # click reads the parameters that its decorators left on the function
        parameters = getattr(body, "__click_params__", None)
        wrapped: Any = run
        if parameters is not None:
            wrapped.__click_params__ = parameters
        for option in reversed(_SETS[speaks]):
            wrapped = option(wrapped)
        made: click.Command = group.command(name)(wrapped)
        # the command's own options come first in its help, the shared ones after them
        shared = len(_SETS[speaks])
        made.params = made.params[shared:] + made.params[:shared]
        return made

    return wrap
