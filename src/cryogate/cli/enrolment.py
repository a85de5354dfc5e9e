"""``cryogate agent``: how keys come to agents, and the other ways to prove who an agent is."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import click

from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, fields, note, say, table
from cryogate.cli.records import BASE

ROLES = click.Choice(["qpu.submit-only", "qpu.read-aggregates", "qpu.read-raw"])
GITHUB = "https://token.actions.githubusercontent.com"
ENTRA = "https://login.microsoftonline.com/{tenant}/v2.0"
_MAX_PEM = 64 << 10


def _terms(name: str, owner: str | None, tier: str, roles: tuple[str, ...]) -> dict[str, Any]:
    if owner is None:
        return {"agent_id": name}
    given = sorted(roles) or ["qpu.read-aggregates", "qpu.submit-only"]
    return {"agent_id": name, "owner": owner, "tier": tier, "roles": given}


@click.argument("name")
@click.option("--owner", help="Make a new agent, for which this human answers.")
@click.option("--tier", default="sandbox", show_default=True, help="Risk tier of a new agent.")
@click.option("--role", "roles", type=ROLES, multiple=True, help="Repeat for several.")
@click.option("--ttl", "ttl_s", type=int, default=3600, show_default=True, help="Seconds.")
def invite(
    settings: Settings, name: str, owner: str | None, tier: str, roles: tuple[str, ...], ttl_s: int
) -> None:
    """Print a one-time code, by which the agent's own machine registers a key it makes."""
    from cryogate.cli.connect import operator

    body = {**_terms(name, owner, tier, roles), "ttl_s": ttl_s}
    with operator(settings) as server:
        made = server.call("POST", *BASE, "invitations", body=body)

    def human() -> None:
        say(f"{made.get('code')}")
        note(f"good once, until {made.get('expires_at')}. On the agent's machine:")
        note(f"  cryogate agent enrol CODE --url {server.url}")

    emit(settings, made, human)


@click.argument("code")
@click.option("--experiment", help="Written into the file, so that --experiment can be left out.")
@click.option("--out", type=click.Path(path_type=Path), help="Credential file [NAME.json].")
def enrol(settings: Settings, code: str, experiment: str | None, out: Path | None) -> None:
    """Make a key here and register it by a one-time code; write the credential file (0600)."""
    _written(settings, _enroller(settings).by_code(code), experiment, out)


@click.argument("name")
@click.option("--experiment", required=True, help="What the agent is to work for.")
@click.option("--out", type=click.Path(path_type=Path), help="Credential file [NAME.json].")
def enrol_device(settings: Settings, name: str, experiment: str, out: Path | None) -> None:
    """Make a key here and wait until an operator says that it is NAME's."""

    def show(code: str, uri: str, seconds: int) -> None:
        note(f"give this code to an operator within {seconds // 60} minutes: {code}")
        note(f"they decide with: cryogate agent approve-device {code} --name {name}")
        note(f"or at {uri}")

    identity = _enroller(settings).by_device(name, experiment, show)
    _written(settings, identity, experiment, out)


def devices(settings: Settings) -> None:
    """List keys that wait for a decision. The codes are on the devices."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        found = server.call("GET", *BASE, "device-enrolments")
    columns = ("client_id", "kid", "address", "created_at", "expires_at")
    rows = [[item.get(c) for c in columns] for item in found.get("items", [])]
    emit(settings, found, lambda: table(columns, rows, none="no device waits"))


@click.argument("code")
@click.option("--name", required=True, help="The agent whose key it will be.")
@click.option("--owner", help="Make a new agent, for which this human answers.")
@click.option("--tier", default="sandbox", show_default=True, help="Risk tier of a new agent.")
@click.option("--role", "roles", type=ROLES, multiple=True, help="Repeat for several.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def approve_device(
    settings: Settings,
    code: str,
    name: str,
    owner: str | None,
    tier: str,
    roles: tuple[str, ...],
    yes: bool,
) -> None:
    """Say whose the key is that waits under CODE. Read the code from the device itself."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        waiting = server.call("GET", *BASE, "device-enrolments", code)
        if not yes:
            fields([(label, waiting.get(label)) for label in ("client_id", "address", "kid")])
            click.confirm(f"register this key for {name}?", abort=True)
        body = _terms(name, owner, tier, roles)
        made = server.call("POST", *BASE, "device-enrolments", code, "approve", body=body)
    emit(settings, made, lambda: say(f"the key {waiting.get('kid')} is {name}'s now"))


@click.argument("code")
def deny_device(settings: Settings, code: str) -> None:
    """Refuse the key that waits under CODE."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        made = server.call("POST", *BASE, "device-enrolments", code, "deny", body={})
    emit(settings, made, lambda: say("the device is told no"))


@click.argument("path", type=click.Path(path_type=Path))
def rotate_key(settings: Settings, path: Path) -> None:
    """Replace the key in a credential file, with proof of both. May be repeated."""
    from cryogate.client import read_credential

    held = read_credential(path)
    settings.url = settings.url or held.url
    settings.ca_file = settings.ca_file or held.ca_file
    identity = _enroller(settings).rotate(path)
    document = {"client_id": identity.client_id, "kid": identity.kid}
    emit(settings, document, lambda: say(f"{identity.client_id} has a new key: {identity.kid}"))


@click.argument("name")
@click.option("--issuer", help="Any OpenID issuer, by its URL.")
@click.option("--github", metavar="OWNER/REPO", help="A GitHub Actions workflow.")
@click.option("--kubernetes", metavar="NAMESPACE:ACCOUNT", help="A service account; with --issuer.")
@click.option("--entra", metavar="TENANT:OBJECT", help="An Entra workload: tenant and object id.")
@click.option("--audience", required=True, help="The one audience its tokens must have.")
@click.option("--claim", "claims", multiple=True, metavar="NAME=VALUE", help="Repeat a name: any.")
@click.option(
    "--keys",
    "max_keys",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="With how many keys one token may be used, for workloads that start anew.",
)
@click.option("--jwks-uri", help="Where the keys are, if the issuer's metadata cannot be reached.")
def trust(
    settings: Settings,
    name: str,
    issuer: str | None,
    github: str | None,
    kubernetes: str | None,
    entra: str | None,
    audience: str,
    claims: tuple[str, ...],
    max_keys: int,
    jwks_uri: str | None,
) -> None:
    """Let another issuer's tokens prove who an agent is, where every claim holds."""
    wanted: dict[str, list[str]] = {}
    if github is not None:
        issuer = issuer or GITHUB
        wanted["repository"] = [github]
    if entra is not None:
        tenant, _, subject = entra.partition(":")
        issuer = issuer or ENTRA.format(tenant=tenant)
        wanted |= {"tid": [tenant], "oid": [subject]}
    if kubernetes is not None:
        wanted["sub"] = [f"system:serviceaccount:{kubernetes}"]
    for text in claims:
        claim, equals, value = text.partition("=")
        if not claim or not equals:
            raise click.UsageError(f"{text!r} is not NAME=VALUE")
        wanted.setdefault(claim, []).append(value)
    if issuer is None:
        raise click.UsageError("say whose tokens: --issuer, --github or --entra")
    rule: dict[str, Any] = {
        "kind": "federated", "issuer": issuer, "audience": audience, "claims": wanted,
        "max_keys": max_keys,
    }  # fmt: skip
    _register(settings, name, rule | ({"jwks_uri": jwks_uri} if jwks_uri else {}))


@click.argument("name")
@click.option("--pem", type=click.Path(path_type=Path), help="A self-signed certificate.")
@click.option("--san-uri", help="A URI in certificates of the authorities, as a SPIFFE ID.")
@click.option("--san-dns", help="A DNS name in them.")
@click.option("--san-email", help="An e-mail address in them.")
@click.option("--san-ip", help="An IP address in them.")
@click.option("--subject-dn", help="Their whole subject, as RFC 4514 writes it.")
def trust_certificate(settings: Settings, name: str, pem: Path | None, **names: str | None) -> None:
    """Let a client certificate prove who an agent is (RFC 8705)."""
    given = {kind: value for kind, value in names.items() if value is not None}
    if pem is None:
        _register(settings, name, {"kind": "subject", **given})
        return
    if given:
        raise click.UsageError("give a certificate or one name, not both")
    from cryogate.domain.errors import CryogateError
    from cryogate.tokens.certificates import load_pem

    try:
        with pem.open("rb") as file:
            der = load_pem(file.read(_MAX_PEM))
    except (OSError, CryogateError) as error:
        raise click.UsageError(f"{pem.name}: {error}") from None
    _register(settings, name, {"kind": "certificate", "der": base64.b64encode(der).decode()})


def _register(settings: Settings, name: str, credential: dict[str, Any]) -> None:
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        made = server.call(
            "POST", *BASE, "agents", name, "credentials", body={"credential": credential}
        )
    kids = [c.get("kid") for c in made.get("credentials", []) if isinstance(c, dict)]
    emit(settings, made, lambda: say(f"registered for {name}: {kids[-1] if kids else ''}"))


def _enroller(settings: Settings) -> Any:
    from cryogate.cli.connect import DEFAULT_URL
    from cryogate.client import Enroller

    return Enroller(
        settings.url or DEFAULT_URL,
        insecure_http=settings.insecure_http,
        ca_file=settings.ca_file,
    )


def _written(settings: Settings, identity: Any, experiment: str | None, out: Path | None) -> None:
    from cryogate.cli.connect import DEFAULT_URL
    from cryogate.client import write_credential

    path = out or Path(f"{identity.client_id}.json")
    url = settings.url or DEFAULT_URL
    write_credential(path, identity, url, experiment, settings.ca_file)
    document = {"client_id": identity.client_id, "kid": identity.kid, "credential_file": str(path)}
    emit(settings, document, lambda: say(f"{identity.client_id} is enrolled; its key is in {path}"))


def register(group: click.Group) -> None:
    """Add these commands to ``cryogate agent``."""
    for name, speaks, body in (
        ("invite", As.OPERATOR, invite),
        ("enrol", As.STRANGER, enrol),
        ("enrol-device", As.STRANGER, enrol_device),
        ("devices", As.OPERATOR, devices),
        ("approve-device", As.OPERATOR, approve_device),
        ("deny-device", As.OPERATOR, deny_device),
        ("rotate-key", As.STRANGER, rotate_key),
        ("trust", As.OPERATOR, trust),
        ("trust-certificate", As.OPERATOR, trust_certificate),
    ):
        command(group, name, speaks)(body)
