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
    listed(
        settings,
        "keys",
        {},
        ("kid", "alg", "signs", "created_at", "retired_at"),
        none="no signing keys",
    )


@click.option("--emergency", is_flag=True, help="The old keys are known to others: end them now.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def rotate(settings: Settings, emergency: bool, yes: bool) -> None:
    """Sign new tokens with a fresh key. Tokens already issued stay good until they expire.

    In an emergency they do not: every token that the old keys signed ends at once.
    """
    from cryogate.cli.connect import operator

    if emergency and not yes:
        click.confirm("End every token that there is now?", abort=True, err=True)
    with operator(settings) as server:
        made = server.call("POST", *BASE, "keys", "rotate", body={"emergency": emergency})
    known = sum(1 for item in made.get("items", ()) if isinstance(item, dict))

    def human() -> None:
        if emergency:
            say("rotated; every token that was signed before is dead")
        else:
            say(f"rotated; {known} keys are published until old tokens end")

    emit(settings, made, human)


command(group, "list", As.OPERATOR)(list_)
command(group, "rotate", As.OPERATOR)(rotate)
