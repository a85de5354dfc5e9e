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
    from cryogate.audit.witness import Witness

_PATH = click.Path(path_type=Path)
_SEED_BYTES = 32


@click.argument("url", required=False)
@click.option("--vkey", "vkeys", multiple=True, required=True, metavar="KEY",
              help="The log's key, or its file.")  # fmt: skip
@click.option("--name", required=True, help="The witness's name, like a URL without a scheme.")
@click.option("--dir", "directory", type=_PATH, required=True,
              help="Its own directory: its key, and the last head it cosigned.")  # fmt: skip
@click.option("--every", type=click.IntRange(1), default=60, show_default=True, help="Seconds.")
@click.option("--once", is_flag=True, help="Look once, then end.")
@click.option("--listen", metavar="HOST:PORT",
              help="Let the log send its heads here instead (C2SP tlog-witness).")  # fmt: skip
def watch(
    settings: Settings,
    url: str | None,
    vkeys: tuple[str, ...],
    name: str,
    directory: Path,
    every: int,
    once: bool,
    listen: str | None,
) -> None:
    """Watch the log at URL (its /audit) and cosign its growth; a contradiction exits 4.

    With --listen the witness waits for the log instead of looking: it serves `POST /add-checkpoint`
    until it is interrupted. Put TLS in front of it for a log on another machine.

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
    if (url is None) == (listen is None):
        raise click.UsageError("give the URL of the log, or --listen, and not both")
    if url is None:
        asyncio.run(_serve(settings, witness, trusted[0].name, str(listen)))
        return
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


async def _serve(settings: Settings, witness: Witness, origin: str, listen: str) -> None:
    """The witness as a service, until SIGTERM or SIGINT."""
    import socket

    import uvicorn

    from cryogate.domain.errors import Malformed
    from cryogate.server.connections import ConnectionLimits, Watch
    from cryogate.server.witness_app import witness_app

    host, _, port = listen.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host.strip("[]"), int(port)), family=family)
    except (OSError, ValueError, OverflowError) as error:
        raise Malformed("cannot_listen", f"cannot listen on {listen}: {error}") from None
    watched = Watch(ConnectionLimits(max_body_bytes=1 << 20, max_connections=256))
    config = uvicorn.Config(
        witness_app(witness, origin),
        http=watched.protocol(),
        lifespan="off",
        ws="none",
        proxy_headers=False,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=30,
    )
    place = f"http://{host}:{listener.getsockname()[1]}"
    emit(settings, {"url": place, "origin": origin}, lambda: say(f"witness of {origin} at {place}"))
    with listener:
        await uvicorn.Server(config).serve(sockets=[listener])


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
