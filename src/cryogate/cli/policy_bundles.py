"""``cryogate policy``: sign bundles, put them in force, go back, pack them for an OPA server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, fields, say, table
from cryogate.cli.records import BASE

_DIRECTORY = click.Path(path_type=Path, file_okay=False)
_NOTE = click.option("--note", default="", help="Why; kept in the audit log.")


@click.argument("bundle", type=_DIRECTORY)
@click.option(
    "--kit", required=True, help="research-group, startup, regulated-enterprise, ci-only."
)
@click.option("--version", type=click.IntRange(min=1), default=2, show_default=True)
def new(settings: Settings, bundle: Path, kit: str, version: int) -> None:
    """Write a new bundle from a starter kit into the directory BUNDLE."""
    from cryogate.policies.kits import assemble

    files = assemble(kit, version)
    if bundle.exists():
        raise click.UsageError(f"{bundle} is there already")
    _write(bundle, files)
    document = {"bundle": str(bundle), "kit": kit, "version": version, "files": len(files)}
    emit(settings, document, lambda: say(f"wrote {bundle}; next: cryogate policy test {bundle}"))


@click.argument("bundle", type=_DIRECTORY)
@click.option(
    "--key",
    "key_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Private JWK to sign with, instead of the state directory's own.",
)
def sign(settings: Settings, bundle: Path, key_file: Path | None) -> None:
    """Sign BUNDLE as it is now: writes .signatures.json, which OPA reads as well.

    Raise the revision in .manifest first; only newer bundles are put in force.
    """
    from cryogate.policies.local_key import open_signer, read_signer, sign_directory

    key = read_signer(key_file) if key_file is not None else open_signer(settings.state)
    signed = sign_directory(bundle, key)
    document = {"digest": signed.digest, "version": signed.version, "signer": key.public.kid}
    emit(settings, document, lambda: fields(list(document.items())))


@click.argument("bundle", type=_DIRECTORY)
@_NOTE
def activate(settings: Settings, bundle: Path, note: str) -> None:
    """Put the signed BUNDLE in force now, without a restart.

    Refused, and recorded as such: a bundle that no trusted key signed, one that is not newer than
    every one before, and one whose own tests or the product's samples fail.
    """
    from cryogate.cli.connect import operator
    from cryogate.policies.bundle_files import read_files

    files = {name: content.decode("utf-8") for name, content in read_files(bundle).items()}
    with operator(settings) as server:
        body = {"files": files, "note": note}
        found = server.call("POST", *BASE, "policies", "activate", body=body)
    emit(settings, found, lambda: say(f"version {found['version']} is in force"))


@click.option("--to", "version", type=click.IntRange(min=0), help="Version [the one before].")
@_NOTE
def rollback(settings: Settings, version: int | None, note: str) -> None:
    """Put a bundle in force again that was before."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        body: dict[str, Any] = {"version": version, "note": note}
        found = server.call("POST", *BASE, "policies", "rollback", body=body)
    emit(settings, found, lambda: say(f"version {found['version']} is in force again"))


def history(settings: Settings) -> None:
    """List what was in force, newest first."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        found = server.call("GET", *BASE, "policies", "history")
    columns = ("at", "kind", "version", "digest", "signer", "actor", "note")

    def human() -> None:
        table(columns, [[row.get(c) for c in columns] for row in found["items"]])

    emit(settings, found, human)


@click.argument("bundle", type=_DIRECTORY)
def pull(settings: Settings, bundle: Path) -> None:
    """Write the bundle in force into the new directory BUNDLE."""
    from cryogate.cli.connect import operator
    from cryogate.policies import Bundle

    if bundle.exists():
        raise click.UsageError(f"{bundle} is there already")
    with operator(settings) as server:
        found = server.call("GET", *BASE, "policies", "bundle")
    # checked before a path of it is used: a name cannot lead out of the directory
    loaded = Bundle.of({name: text.encode() for name, text in found["files"].items()})
    _write(bundle, loaded.files)
    document = {"bundle": str(bundle), "version": loaded.version, "digest": loaded.digest}
    emit(settings, document, lambda: say(f"wrote {bundle}, version {loaded.version}"))


@click.argument("bundle", type=_DIRECTORY)
@click.argument("archive", type=click.Path(path_type=Path, dir_okay=False))
def pack(settings: Settings, bundle: Path, archive: Path) -> None:
    """Write BUNDLE as ARCHIVE (.tar.gz), as an OPA server loads and verifies it."""
    import io
    import tarfile

    from cryogate.policies import Bundle, BundleInvalid

    found = Bundle.load(bundle)
    if not found.indexed:
        raise BundleInvalid("cryogate_index is not that of the statements: sign it again")
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in sorted(found.files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    document = {"archive": str(archive), "digest": found.digest, "version": found.version}
    emit(settings, document, lambda: say(f"wrote {archive}, version {found.version}"))


def key_(settings: Settings) -> None:
    """Print the public key that signs bundles here: a JWK, and the PEM that OPA takes."""
    from cryogate.policies.local_key import open_signer

    public = open_signer(settings.state).public
    pem = public.pem()
    document = {"kid": public.kid, "jwk": public.jwk(), "pem": pem}
    emit(settings, document, lambda: say(pem.rstrip()))


def _write(directory: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def register(group: click.Group) -> None:
    """Add the commands to ``cryogate policy``."""
    for name, body, speaks in (
        ("new", new, As.NOBODY),
        ("sign", sign, As.NOBODY),
        ("activate", activate, As.OPERATOR),
        ("rollback", rollback, As.OPERATOR),
        ("history", history, As.OPERATOR),
        ("pull", pull, As.OPERATOR),
        ("pack", pack, As.NOBODY),
        ("key", key_, As.NOBODY),
    ):
        command(group, name, speaks)(body)
