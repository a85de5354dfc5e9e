"""Every fake vendor, with what leads a server to it."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.types import ASGIApp

from cryogate.dev.ionq import IonqFake


@dataclass(frozen=True, slots=True)
class Vendor:
    """A fake on a port. ``settings`` is a piece of TOML; ``secret`` is for ``secret set``."""

    scheme: str
    port: int
    url: str
    secret: str = field(repr=False)
    settings: str
    app: ASGIApp


def vendors(port: int, polls: int) -> list[Vendor]:
    """All of them, on ports from ``port`` on."""
    ionq = IonqFake(polls=polls)
    url = f"http://127.0.0.1:{port}/v0.4"
    return [Vendor("ionq", port, url, ionq.key, f'url = "{url}"', ionq.app)]
