"""``cryogate audit watch``: a witness that anyone can run beside somebody else's log."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, say

if TYPE_CHECKING:
    from cryogate.audit.note import NoteSigner

_PATH = click.Path(path_type=Path)
_SEED_BYTES = 32


@click.argument("url")
@click.option("--vkey", "vkeys", multiple=True, required=True, metavar="KEY",
              help="The log's key, or its file.")  # fmt: skip
@click.option("--name", required=True, help="The witness's name, like a URL without a scheme.")
@click.option("--dir", "directory", type=_PATH, required=True,
              help="Its own directory: its key, and the last head it cosigned.")  # fmt: skip
@click.option("--every", type=click.IntRange(1), default=60, show_default=True, help="Seconds.")
@click.option("--once", is_flag=True, help="Look once, then end.")
def watch(
    settings: Settings,
    url: str,
    vkeys: tuple[str, ...],
    name: str,
    directory: Path,
    every: int,
    once: bool,
) -> None:
    """Watch the log at URL (its /audit) and cosign its growth; a contradiction exits 4.

    The cosigned head is DIR/head: give it to auditors, who give it to `audit verify --head`. The
    witness's public keys are in DIR/witness.vkey. Only public parts of the log are read.
    """
    from cryogate.audit.errors import LogIntegrityError
    from cryogate.audit.heads import FileHeadStore
    from cryogate.audit.remote import RemoteSource
    from cryogate.audit.witness import Witness
    from cryogate.cli.failure import VerificationFailed
    from cryogate.cli.local_log import given_keys
    from cryogate.cli.remote_log import mirror
    from cryogate.domain.errors import Unavailable

    trusted = given_keys(vkeys)
    signers = _signers(directory, name)
    heads = FileHeadStore(directory)
    witness = Witness(trusted[0].name, trusted, signers, heads, directory / "evidence")
    while True:
        try:
            with mirror(url.rstrip("/")) as get:
                seen = asyncio.run(witness.look(RemoteSource(get)))
        except LogIntegrityError as error:
            raise VerificationFailed(str(error)) from error
        except Unavailable as error:
            if once:
                raise
            click.echo(f"{error}; looking again in {every} s", err=True)
        else:
            _tell(settings, seen.before, seen.size)
        if once:
            return
        time.sleep(every)


def _tell(settings: Settings, before: int, size: int) -> None:
    def human() -> None:
        say(f"cosigned {size} entries" if size > before else f"nothing new after {size} entries")

    emit(settings, {"before": before, "size": size}, human)


def _signers(directory: Path, name: str) -> tuple[NoteSigner, ...]:
    """The witness's keys: two seeds in one file, made on the first run."""
    from cryogate.audit.cosign import Ed25519Cosigner, Mldsa44Cosigner, mldsa44_available
    from cryogate.domain.errors import Malformed
    from cryogate.domain.secrets import Secret
    from cryogate.ports.clock import SystemClock

    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / "witness.key"
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(2 * _SEED_BYTES))
            file.flush()
            os.fsync(file.fileno())
    seeds = path.read_bytes()
    if len(seeds) != 2 * _SEED_BYTES or path.stat().st_mode & 0o077:
        raise Malformed("malformed_key", f"{path} is damaged, or open to others")
    clock = SystemClock()
    try:
        signers: list[NoteSigner] = [Ed25519Cosigner(name, Secret(seeds[:_SEED_BYTES]), clock)]
        if mldsa44_available():
            signers.append(Mldsa44Cosigner(name, Secret(seeds[_SEED_BYTES:]), clock))
    except ValueError as error:
        raise Malformed("malformed_name", str(error)) from None
    (directory / "witness.vkey").write_text("".join(f"{s.verifier().vkey()}\n" for s in signers))
    return tuple(signers)


def register(group: click.Group) -> None:
    """Add this command to ``group``."""
    command(group, "watch", As.NOBODY)(watch)
