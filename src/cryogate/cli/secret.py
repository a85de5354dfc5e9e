"""``cryogate secret``: vendors' credentials. A value is read from standard input, never shown."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, say
from cryogate.cli.records import BASE, listed

_MAX_VALUE = 16 << 10


@click.group()
def group() -> None:
    """Vendors' credentials: set, rotate, list, remove; leases of them."""


def read_value() -> str:
    """The value on standard input, without the newline that ends it."""
    if sys.stdin.isatty():
        value: str = click.prompt("Value", hide_input=True, err=True)
    else:
        data = sys.stdin.buffer.read(_MAX_VALUE + 1)
        try:
            value = data.decode("utf-8").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise click.UsageError("the value is no text") from None
    if not 0 < len(value) <= _MAX_VALUE:
        raise click.UsageError(f"a value has 1 to {_MAX_VALUE} characters, on standard input")
    return value


_FOR = click.option(
    "--for-experiment", "experiment_id", default="", help="For this experiment alone."
)


def _send(settings: Settings, path: tuple[str, ...], experiment_id: str, done: str) -> None:
    from cryogate.cli.connect import operator

    value = read_value()
    with operator(settings) as server:
        body = {"value": value, "experiment_id": experiment_id}
        made = server.call("POST", *BASE, "secrets", *path, body=body)
    emit(settings, made, lambda: say(f"{done} {made['scheme']}, version {made['version']}"))


@click.argument("scheme")
@_FOR
def set_(settings: Settings, scheme: str, experiment_id: str) -> None:
    """Keep a vendor's credential; its value comes on standard input."""
    _send(settings, (scheme,), experiment_id, "kept the secret for")


@click.argument("scheme")
@_FOR
def rotate(settings: Settings, scheme: str, experiment_id: str) -> None:
    """Replace a credential by the one on standard input; leases of the old one end."""
    _send(settings, (scheme, "rotate"), experiment_id, "rotated the secret for")


@click.argument("scheme")
@_FOR
def remove(settings: Settings, scheme: str, experiment_id: str) -> None:
    """Forget a credential; its leases end."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        query = {"experiment_id": experiment_id} if experiment_id else None
        done = server.call("DELETE", *BASE, "secrets", scheme, query=query)
    emit(settings, done, lambda: say(f"removed the secret for {scheme}"))


def list_(settings: Settings) -> None:
    """List credentials; values never leave the server."""
    columns = ("scheme", "experiment_id", "version", "changed_at", "changed_by")
    listed(settings, "secrets", {}, columns, none="no secrets")


@click.option("--state", type=click.Choice(["active", "revoking", "revoked", "expired", "failed"]))
@click.option("--limit", type=click.IntRange(1, 200), help="Most items to list.")
def leases(settings: Settings, state: str | None, limit: int | None) -> None:
    """List the newest leases."""
    columns = ("lease_id", "scheme", "backend", "agent_id", "experiment_id", "state", "expires_at")
    listed(settings, "leases", {"state": state, "limit": limit}, columns, none="no leases")


@click.argument("lease_id")
def revoke(settings: Settings, lease_id: str) -> None:
    """End a lease now; one that cannot be ended is tried again, and its agent waits."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        done = server.call("POST", *BASE, "leases", lease_id, "revoke", body={})
    emit(settings, done, lambda: say(f"{lease_id}: {done['state']}"))


@click.option("--config", "config_path", type=click.Path(path_type=Path), help="A TOML file.")
def rekey(settings: Settings, config_path: Path | None) -> None:
    """Put everything sealed under a new master key. Stop the server first.

    With a key file the new key is made here. With a passphrase or a key in the environment the
    new one comes on standard input; the old one is where it always is.
    """
    from cryogate.startup import run_rekey

    count = run_rekey(config_path, settings.state_dir, lambda: read_value().encode())
    done = {"resealed": count}
    emit(settings, done, lambda: say(f"{count} values are under the new master key"))


command(group, "set", As.OPERATOR)(set_)
command(group, "rotate", As.OPERATOR)(rotate)
command(group, "list", As.OPERATOR)(list_)
command(group, "remove", As.OPERATOR)(remove)
command(group, "leases", As.OPERATOR)(leases)
command(group, "revoke-lease", As.OPERATOR)(revoke)
command(group, "rekey", As.NOBODY)(rekey)
