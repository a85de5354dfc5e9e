"""``cryogate keys``: the keys by which the server signs."""

from __future__ import annotations

import click

from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, say
from cryogate.cli.records import BASE, listed


@click.group()
def group() -> None:
    """The server's signing keys."""


def list_(settings: Settings) -> None:
    """List signing keys; private halves never leave the server."""
    listed(settings, "keys", {}, ("kid", "kty", "crv", "alg"), none="no signing keys")


def rotate(settings: Settings) -> None:
    """Sign new tokens with a fresh key. Tokens already issued stay good until they expire."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        made = server.call("POST", *BASE, "keys", "rotate", body={})
    known = sum(1 for item in made.get("items", ()) if isinstance(item, dict))
    emit(settings, made, lambda: say(f"rotated; {known} keys are published until old tokens end"))


command(group, "list", As.OPERATOR)(list_)
command(group, "rotate", As.OPERATOR)(rotate)
