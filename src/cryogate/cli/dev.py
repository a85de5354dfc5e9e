"""``cryogate dev``: things to try Cryogate with."""

from __future__ import annotations

import sys

import click

from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, say


@click.group()
def group() -> None:
    """Things to try Cryogate with; nothing for production."""


@click.option(
    "--port", type=click.IntRange(1, 65500), default=8701, help="The first port; one a vendor."
)
@click.option("--polls", type=click.IntRange(0, 1000), default=2, help="Polls until a job is done.")
def vendors_(settings: Settings, port: int, polls: int) -> None:
    """Serve vendors' wire formats on this machine until interrupted.

    They hold no real device and check nothing but their own test keys.
    """
    import asyncio

    from cryogate.dev.serving import serve
    from cryogate.dev.vendors import vendors

    made = vendors(port, polls)
    document = {v.scheme: {"url": v.url, "secret": v.secret} for v in made}

    def human() -> None:
        say("Settings for the server:\n")
        names = ", ".join(f'"{v.scheme}"' for v in made)
        say(f"[providers]\nenabled = [{names}]")
        for vendor in made:
            say(f"\n[{vendor.scheme}]\n{vendor.settings}")
        say("\nAnd once it runs:\n")
        for vendor in made:
            say(f"printf '%s' '{vendor.secret}' | cryogate secret set {vendor.scheme}")

    emit(settings, document, human)
    sys.stdout.flush()
    asyncio.run(serve({v.port: v.app for v in made}))


command(group, "vendors", As.NOBODY)(vendors_)
