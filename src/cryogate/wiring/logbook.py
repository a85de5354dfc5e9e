"""The audit log as it is configured: its keys, its heads, and what auditors find beside it."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from cryogate.audit import dsse
from cryogate.audit.cosign import mldsa44_available
from cryogate.audit.errors import LogIntegrityError, NoteRefused
from cryogate.audit.heads import HeadStore
from cryogate.audit.keys import (
    load_or_create,
    load_or_create_mldsa44,
    load_or_create_provenance,
)
from cryogate.audit.log import AuditLog
from cryogate.audit.provenance import Provenances
from cryogate.audit.pruning import Pruner
from cryogate.audit.receipts import Receipts
from cryogate.audit.shredding import Shredder
from cryogate.audit.vkeys import MAX_VKEYS_BYTES, parse_vkeys
from cryogate.config.retention import read_retention
from cryogate.server.audit_routes import AuditRoutes
from cryogate.server.endpoints import Endpoint
from cryogate.server.privacy_routes import PrivacyRoutes
from cryogate.server.proof_routes import ProofRoutes
from cryogate.wiring.ground import Ground
from cryogate.wiring.outside import Outside
from cryogate.wiring.road import Road

log = logging.getLogger("cryogate.audit")
VKEY_FILE, PROVENANCE_FILE = "log.vkey", "provenance.pem"


async def open_log(ground: Ground, heads: HeadStore) -> AuditLog:
    """The log, not started yet, with the second store of its head.

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
    return AuditLog(ground.store, ground.clock, signer, heads, origin, beside=beside)


async def open_provenances(ground: Ground) -> Provenances:
    """What signs statements about results. Raises as `open_log`."""
    key = await load_or_create_provenance(
        ground.store, ground.sealer, ground.clock, ground.config.audit.origin
    )
    origin = ground.config.audit.origin
    return Provenances(ground.store, ground.clock, key, origin, lambda: ground.devices)


def log_endpoints(
    ground: Ground, road: Road, audit: AuditLog, provenances: Provenances, outside: Outside
) -> tuple[Endpoint, ...]:
    """The log for auditors, and receipts and provenance for agents."""
    receipts = Receipts(ground.store, audit, outside.cosigned, ground.opener)
    proofs = ProofRoutes(receipts, provenances, road.jobs.job)
    road.agent_routes.attach(proofs.attach)
    heads = outside.served, outside.cosigned
    return (
        *AuditRoutes(audit, ground.store, provenances, ground.opener, *heads).endpoints(),
        *proofs.endpoints(),
        *_privacy(ground, audit, outside).endpoints(),
    )


def _privacy(ground: Ground, audit: AuditLog, outside: Outside) -> PrivacyRoutes:
    config = ground.config
    path = config.audit.retention_file
    policy = read_retention(Path(path)) if path else None
    # What has not been copied yet to where it is to go stays.
    sinks = [table.name for table in config.sinks]
    sinks += [outside.mirror.name] if outside.mirror is not None else []
    pruner = Pruner(ground.store, audit, ground.clock, policy, tuple(sinks))
    return PrivacyRoutes(Shredder(ground.store, ground.clock), pruner)


def tell_auditors(state: Path, audit: AuditLog, provenances: Provenances) -> None:
    """Write the public keys to the state directory, for auditors and `cryogate audit verify`.

    Raises:
        LogIntegrityError: a file is there and does not hold the log's key: one of the two was
            replaced, and nobody but an operator can say which.
    """
    path = state / VKEY_FILE
    if path.exists():
        try:
            known = [key.vkey() for key in parse_vkeys(_read(path).decode())]
        except (NoteRefused, UnicodeDecodeError):
            known = []
        if audit.verifier.vkey() not in known:
            raise LogIntegrityError(
                f"{path} does not hold the key of this log: the file or the database is not the "
                f"one that was here before. Find out which; remove the file only if it is the file."
            )
    _write(path, "".join(f"{key.vkey()}\n" for key in audit.verifiers))
    _write(state / PROVENANCE_FILE, dsse.pem(provenances.public_key))


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_VKEYS_BYTES)


def _write(path: Path, text: str) -> None:
    if path.exists() and _read(path) == text.encode():
        return
    partial = path.with_suffix(".new")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    partial.rename(path)
