"""The audit log as it is configured: its keys, its heads, and what auditors find beside it."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from cryogate.audit.cosign import mldsa44_available
from cryogate.audit.errors import LogIntegrityError, NoteRefused
from cryogate.audit.heads import FileHeadStore
from cryogate.audit.keys import load_or_create, load_or_create_mldsa44
from cryogate.audit.log import AuditLog
from cryogate.audit.vkeys import MAX_VKEYS_BYTES, parse_vkeys
from cryogate.wiring.ground import Ground

log = logging.getLogger("cryogate.audit")
VKEY_FILE = "log.vkey"


async def open_log(ground: Ground) -> AuditLog:
    """The log, not started yet.

    Raises:
        CryogateError: a key cannot be opened, or the database did not answer.
    """
    config, origin = ground.config.audit, ground.config.audit.origin
    parts = ground.store, ground.sealer, ground.clock, origin
    signer = await load_or_create(*parts)
    beside = []
    if config.mldsa44:
        if mldsa44_available():
            beside.append(await load_or_create_mldsa44(*parts))
        else:
            log.warning("heads are signed with Ed25519 only: ML-DSA-44 is not available here")
    heads = FileHeadStore(ground.config.heads)
    return AuditLog(ground.store, ground.clock, signer, heads, origin, beside=beside)


def write_vkeys(state: Path, audit: AuditLog) -> None:
    """Write the log's public keys to the state directory, for auditors and `audit verify`.

    Raises:
        LogIntegrityError: the file is there and does not hold the log's key: one of the two was
            replaced, and nobody but an operator can say which.
    """
    path = state / VKEY_FILE
    wanted = "".join(f"{key.vkey()}\n" for key in audit.verifiers)
    if path.exists():
        with path.open("rb") as file:
            found = file.read(MAX_VKEYS_BYTES)
        try:
            known = [key.vkey() for key in parse_vkeys(found.decode())]
        except (NoteRefused, UnicodeDecodeError):
            known = []
        if audit.verifier.vkey() not in known:
            raise LogIntegrityError(
                f"{path} does not hold the key of this log: the file or the database is not the "
                f"one that was here before. Find out which; remove the file only if it is the file."
            )
        if found == wanted.encode():
            return
    partial = path.with_suffix(".new")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(wanted)
    partial.rename(path)
