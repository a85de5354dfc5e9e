"""``cryogate agent``: workloads, the humans who own them, and their keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cryogate.cli.enrolment import register as register_enrolment
from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, fields, say, table
from cryogate.cli.promotion import register
from cryogate.cli.records import BASE, listed, paged, pairs, read_jwk, revoke

STAGES = click.Choice(["simulator"])
ROLES = click.Choice(["qpu.submit-only", "qpu.read-aggregates", "qpu.read-raw"])


@click.group()
def group() -> None:
    """Agents: create, list, change, revoke."""


@click.argument("name")
@click.option("--owner", required=True, help="The human who answers for it.")
@click.option("--tier", default="sandbox", show_default=True, help="Risk tier, as policy names it.")
@click.option("--role", "roles", type=ROLES, multiple=True, help="Repeat for several.")
@click.option("--attribute", "attributes", multiple=True, metavar="NAME=VALUE")
@click.option("--experiment", help="Written into the file, so that --experiment can be left out.")
@click.option("--out", type=click.Path(path_type=Path), help="Credential file [NAME.json].")
@click.option("--no-key", is_flag=True, help="It proves itself another way: `trust`, `invite`.")
def create(
    settings: Settings,
    name: str,
    owner: str,
    tier: str,
    roles: tuple[str, ...],
    attributes: tuple[str, ...],
    experiment: str | None,
    out: Path | None,
    no_key: bool,
) -> None:
    """Make a key here, register its public half, and write the credential file (0600).

    The private key never leaves this machine.
    """
    from cryogate.cli.connect import operator
    from cryogate.client import Identity, write_credential
    from cryogate.domain.errors import Refused
    from cryogate.domain.ids import require_slug

    require_slug(name, "an agent's name")
    if experiment is not None:
        require_slug(experiment, "an experiment's name")
    identity = None if no_key else Identity.generate(name)
    path = out or Path(f"{name}.json")
    body: dict[str, Any] = {
        "agent_id": name,
        "owner": owner,
        "tier": tier,
        "roles": sorted(roles) or ["qpu.read-aggregates", "qpu.submit-only"],
        "attributes": pairs(attributes),
        **({} if identity is None else {"jwk": identity.public_jwk()}),
    }
    with operator(settings) as server:
        # The file comes first: a registered key that was never written would be of no use.
        if identity is not None:
            write_credential(path, identity, server.url, experiment, settings.ca_file)
        try:
            made = server.call("POST", *BASE, "agents", body=body)
        except Refused:
            if identity is not None:
                path.unlink()
            raise
    document = {**made, "credential_file": None if identity is None else str(path)}

    def human() -> None:
        if identity is None:
            say(f"created agent {name}; it has no key")
            return
        say(f"created agent {name}; its credential is in {path} (keep it private)")
        within = "" if experiment else " --experiment EXPERIMENT"
        say(f"next: cryogate job submit CIRCUIT.qasm --as {path}{within} --wait")

    emit(settings, document, human)


@paged
def list_(settings: Settings, after: str | None, limit: int | None) -> None:
    """List agents."""
    listed(
        settings,
        "agents",
        {"after": after, "limit": limit},
        ("agent_id", "owner", "tier", "stage", "active", "roles"),
        none="no agents yet: cryogate agent create NAME --owner YOU",
    )


@click.argument("name")
def show_(settings: Settings, name: str) -> None:
    """Show one agent with its keys."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        found = server.call("GET", *BASE, "agents", name)
    emit(settings, found, lambda: _human(found))


@click.argument("name")
def enable(settings: Settings, name: str) -> None:
    """Let an agent get tokens again."""
    _patch(settings, name, {"active": True})


@click.argument("name")
def disable(settings: Settings, name: str) -> None:
    """Give an agent no new tokens. Tokens it holds go on; `revoke` ends those too."""
    _patch(settings, name, {"active": False})


@click.argument("name")
@click.option("--tier")
@click.option("--stage", type=STAGES, help="Back to simulators; `promote` is the way up.")
@click.option("--role", "roles", type=ROLES, multiple=True, help="The whole new set of roles.")
@click.option("--attribute", "attributes", multiple=True, metavar="NAME=VALUE", help="New set.")
def set_(
    settings: Settings,
    name: str,
    tier: str | None,
    stage: str | None,
    roles: tuple[str, ...],
    attributes: tuple[str, ...],
) -> None:
    """Change tier, stage, roles or attributes."""
    change: dict[str, Any] = {}
    if tier is not None:
        change["tier"] = tier
    if stage is not None:
        change["stage"] = stage
    if roles:
        change["roles"] = sorted(roles)
    if attributes:
        change["attributes"] = pairs(attributes)
    if not change:
        raise click.UsageError("say what to change: --tier, --stage, --role or --attribute")
    _patch(settings, name, change)


@click.argument("name")
@click.option("--reason", required=True, help="Why; kept in the audit log.")
def revoke_(settings: Settings, name: str, reason: str) -> None:
    """End all tokens and jobs of an agent now."""
    revoke(settings, "agent", name, reason)


@click.argument("name")
@click.option(
    "--jwk", "jwk_file", type=click.Path(path_type=Path), help="Public JWK to register instead."
)
@click.option("--out", type=click.Path(path_type=Path), help="Where a new credential file goes.")
def add_key(settings: Settings, name: str, jwk_file: Path | None, out: Path | None) -> None:
    """Register another key: a given public JWK, or a new one written to a credential file."""
    from cryogate.cli.connect import operator
    from cryogate.client import Identity, write_credential
    from cryogate.domain.errors import Refused
    from cryogate.tokens.keys import thumbprint

    if (jwk_file is None) == (out is None):
        raise click.UsageError("give --jwk FILE to register a key, or --out FILE to make one")
    with operator(settings) as server:
        jwk: dict[str, Any]
        if out is not None:
            identity = Identity.generate(name)
            jwk = dict(identity.public_jwk())
            kid = identity.kid
            write_credential(out, identity, server.url)
        else:
            assert jwk_file is not None  # noqa: S101 - told by the check above
            jwk = read_jwk(jwk_file)
            kid = thumbprint(jwk)
        try:
            made = server.call("POST", *BASE, "agents", name, "keys", body={"jwk": jwk})
        except Refused:
            if out is not None:
                out.unlink()
            raise
    emit(settings, made, lambda: say(f"registered a key of {name}: {kid}"))


@click.argument("name")
@click.argument("kid")
def remove_key(settings: Settings, name: str, kid: str) -> None:
    """Remove a key; tokens bound to it end with it."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        found = server.call("DELETE", *BASE, "agents", name, "keys", kid)
    emit(settings, found, lambda: say(f"removed key {kid} of {name}"))


def _patch(settings: Settings, name: str, change: dict[str, Any]) -> None:
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        found = server.call("PATCH", *BASE, "agents", name, body=change)
    emit(settings, found, lambda: _human(found))


def _human(found: dict[str, Any]) -> None:
    names = ("agent_id", "owner", "tier", "stage", "active", "roles", "attributes", "created_at")
    fields([(label, found.get(label)) for label in names])
    keys = found.get("keys")
    if isinstance(keys, list):
        rows = [(k.get("kid"), k.get("created_at")) for k in keys if isinstance(k, dict)]
        table(("kid", "created_at"), rows)
    others = found.get("credentials")
    if isinstance(others, list) and others:
        told = [(c.get("kid"), c.get("credential"), c.get("created_at")) for c in others]
        table(("kid", "credential", "created_at"), told)


register(group)
for _name, _body in (
    ("create", create),
    ("list", list_),
    ("show", show_),
    ("enable", enable),
    ("disable", disable),
    ("set", set_),
    ("revoke", revoke_),
    ("add-key", add_key),
    ("remove-key", remove_key),
):
    command(group, _name, As.OPERATOR)(_body)
register_enrolment(group)
