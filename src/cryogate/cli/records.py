"""What the nouns of the admin API share: lists, revocations, name=value pairs, public keys."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec

import click

from cryogate.cli.options import Settings
from cryogate.cli.output import emit, note, say, table

BASE = ("admin", "v1")
P = ParamSpec("P")
_MAX_JWK_FILE = 16 << 10


def listed(
    settings: Settings,
    noun: str,
    query: Mapping[str, str | int | None],
    columns: Sequence[str],
    *,
    none: str,
    cursor: str = "--after",
) -> None:
    """Print one page of an admin list."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        page = server.call("GET", *BASE, noun, query=query)
    show_page(settings, page, columns, none=none, cursor=cursor)


def show_page(
    settings: Settings,
    page: Mapping[str, Any],
    columns: Sequence[str],
    *,
    none: str,
    cursor: str = "--after",
) -> None:
    """Print one page: ``{"items": […], "next": …}``."""
    items = [item for item in page.get("items", ()) if isinstance(item, dict)]

    def human() -> None:
        table(columns, [[item.get(column) for column in columns] for item in items], none=none)
        if page.get("next"):
            note(f"there are more; continue with {cursor} {page['next']}")

    emit(settings, page, human)


def paged(body: Callable[P, None]) -> Callable[P, None]:
    """The options of a list that comes in pages."""
    more = click.option("--after", metavar="CURSOR", help="Continue a longer list.")
    size = click.option("--limit", type=click.IntRange(1, 200), help="Most items to list.")
    return size(more(body))


def revoke(settings: Settings, kind: str, subject: str, reason: str, *, wait: bool = False) -> None:
    """Revoke a subject and say what that means. ``wait``: until no replica accepts it."""
    from cryogate.cli.connect import operator

    body = {"kind": kind, "subject": subject, "reason": reason}
    with operator(settings) as server:
        query = {"wait": "all"} if wait else None
        made = server.call("POST", *BASE, "revocations", query=query, body=body)

    def human() -> None:
        say(f"revoked {kind} {subject}")
        say("its next request is refused, waiting jobs are removed, running ones are cancelled")
        if wait:
            silent = made.get("refusing") or ()
            say(f"no replica accepts it any more ({len(silent)} did not answer and refuse all)")

    emit(settings, made, human)


def pairs(texts: Sequence[str]) -> dict[str, str | int | bool]:
    """``name=value`` texts as a mapping; true, false and whole numbers get their type."""
    found: dict[str, str | int | bool] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise click.UsageError(f"{text!r} is not NAME=VALUE")
        if name in found:
            raise click.UsageError(f"{name} is given twice")
        if value in ("true", "false"):
            found[name] = value == "true"
        elif value.isascii() and value.isdigit() and len(value) < 16:
            found[name] = int(value)
        else:
            found[name] = value
    return found


def parameters(texts: Sequence[str]) -> dict[str, float]:
    """``name=value`` texts as numbers for a circuit's ``input`` declarations."""
    found: dict[str, float] = {}
    for name, value in pairs(texts).items():
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if isinstance(value, bool) or not math.isfinite(number):
            raise click.UsageError(f"{name} must be a number")
        found[name] = number
    return found


def read_jwk(path: Path) -> dict[str, Any]:
    """A public JWK from a file; a private one never gets as far as the network."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_MAX_JWK_FILE))
    except (OSError, ValueError):
        raise click.UsageError(f"{path.name} is not a readable JWK") from None
    if not isinstance(found, dict) or "kty" not in found:
        raise click.UsageError(f"{path.name} is not a JWK")
    if "d" in found or "k" in found:
        raise click.UsageError(f"{path.name} is a private key; register its public half")
    return found
