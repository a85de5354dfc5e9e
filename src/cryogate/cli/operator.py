"""``cryogate operator``: people (and automation) with rights on the admin API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, say
from cryogate.cli.records import BASE, listed, paged

_PERSON = click.option(
    "--person",
    metavar="OWNER",
    help="Who it is, by the name under which they own agents: they approve none of those.",
)
_COLUMNS = ("operator_id", "active", "roles", "created_at")


@click.group()
def group() -> None:
    """Operators: create, list, change; passwords and sessions."""


def me(settings: Settings) -> None:
    """Say which operator this command speaks as."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        found = server.call("GET", *BASE, "me")
    emit(settings, found, lambda: say(f"{found['operator_id']}: {', '.join(found['roles'])}"))


@paged
def list_(settings: Settings, after: str | None, limit: int | None) -> None:
    """List operators."""
    query: dict[str, str | int | None] = {"after": after, "limit": limit}
    listed(settings, "operators", query, _COLUMNS, none="no operators")


@click.argument("name")
@click.option(
    "--role",
    "roles",
    multiple=True,
    required=True,
    type=click.Choice(["admin", "approver", "auditor"]),
    help="May be given more than once.",
)
@_PERSON
def create(settings: Settings, name: str, roles: tuple[str, ...], person: str | None) -> None:
    """Make an operator who signs in to the console with a one-time password."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        body = {"operator_id": name, "roles": list(roles), "person": person or ""}
        made = server.call("POST", *BASE, "operators", body=body)
    _tell(settings, made)


@click.argument("name")
def password(settings: Settings, name: str) -> None:
    """Give an operator a new one-time password. The old one and all sessions are gone."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        made = server.call("POST", *BASE, "operators", name, "password", body={})
    _tell(settings, made)


@click.argument("name")
@click.option("--role", "roles", multiple=True, type=click.Choice(["admin", "approver", "auditor"]))
@click.option("--active/--inactive", default=None, help="Whether it has any rights at all.")
@_PERSON
def set_(
    settings: Settings,
    name: str,
    roles: tuple[str, ...],
    active: bool | None,
    person: str | None,
) -> None:
    """Change an operator's roles, or take all rights away."""
    from cryogate.cli.connect import operator

    body: dict[str, Any] = {}
    if roles:
        body["roles"] = list(roles)
    if active is not None:
        body["active"] = active
    if person is not None:
        body["person"] = person
    with operator(settings) as server:
        found = server.call("PATCH", *BASE, "operators", name, body=body)
    state = "active" if found["active"] else "inactive"
    emit(settings, found, lambda: say(f"{name}: {state}, {', '.join(found['roles'])}"))


@click.argument("name")
def sign_out(settings: Settings, name: str) -> None:
    """End every console session of an operator now."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        found = server.call("DELETE", *BASE, "operators", name, "sessions")
    emit(settings, found, lambda: say(f"{name} is signed out everywhere"))


def _tell(settings: Settings, made: Mapping[str, Any]) -> None:
    def human() -> None:
        say(f"operator           {made['operator_id']}")
        say(f"one-time password  {made['one_time_password']}")
        say("Good once, for 24 hours. It is not shown again.")

    emit(settings, made, human)


command(group, "me", As.OPERATOR)(me)
command(group, "list", As.OPERATOR)(list_)
command(group, "create", As.OPERATOR)(create)
command(group, "password", As.OPERATOR)(password)
command(group, "set", As.OPERATOR)(set_)
command(group, "sign-out", As.OPERATOR)(sign_out)
