"""Offline verification of a result's provenance.

(1) A trusted key signed the envelope, and it holds an in-toto statement of our type.
(2) The counts, if they come along, are the ones that the statement is about.
(3) Every receipt leads from its entry to a head that a trusted log key signed.
(4) One of the entries bears this statement's digest: the log knows it. Without that the statement
    is a signature alone, and the finding says so.
(5) The entries tell of the same job, circuit, backend and shots, and their texts have the digests
    that the statement names. What they only commit to is told by openings, which are checked.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from cryogate.audit import dsse
from cryogate.audit.errors import NoteRefused
from cryogate.audit.note import NoteVerifier
from cryogate.audit.opening import in_clear, opens
from cryogate.audit.provenance import (
    PAYLOAD,
    PREDICATE,
    SIGNED,
    STATEMENT,
    counts_digest,
    logged_digest,
)
from cryogate.audit.receipts import JobReceipt, parse_proof
from cryogate.audit.tlog_policy import Policy
from cryogate.ports.audit import canonical

MAX_FILE_BYTES = 16 << 20


class ProvenanceFile(msgspec.Struct, frozen=True):
    """What `GET /v1/jobs/{id}/provenance` answers, and a saved result holds."""

    provenance: dsse.Envelope
    receipt: JobReceipt | None = None
    counts: dict[str, int] | None = None
    counts_salt: str | None = None


@dataclass(frozen=True, slots=True)
class ProvenanceReport:
    """What was found; no findings means that everything said was checked."""

    findings: tuple[str, ...]
    predicate: dict[str, Any] | None = None
    sizes: tuple[int, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the statement can be believed."""
        return not self.findings and self.predicate is not None


def read_file(content: bytes) -> ProvenanceFile:
    """The file's parts.

    Raises:
        NoteRefused: it is too large or not such a file.
    """
    if len(content) > MAX_FILE_BYTES:
        raise NoteRefused("the file is too large")
    try:
        return msgspec.json.decode(content, type=ProvenanceFile)
    except msgspec.MsgspecError as error:
        raise NoteRefused(f"not a provenance file: {error}") from error


def verify_provenance(
    found: ProvenanceFile,
    keys: Sequence[EllipticCurvePublicKey],
    log_keys: Sequence[NoteVerifier],
    policy: Policy | None = None,
) -> ProvenanceReport:
    """Steps 1 to 5 of the module; with a ``policy`` every head must have its quorum."""
    findings: list[str] = []
    try:
        payload = dsse.opened(found.provenance, PAYLOAD, keys)
        predicate, subject = _statement(payload)
    except NoteRefused as error:
        return ProvenanceReport((str(error),))
    if found.counts is not None and found.counts_salt is None:
        findings.append("the counts come without their salt: part of them was withheld")
    elif found.counts is not None and subject != counts_digest(found.counts, found.counts_salt):
        findings.append("the counts are not the ones that the statement is about")
    receipts = () if found.receipt is None else found.receipt.receipts
    origin = predicate.get("log", {}).get("origin")
    sizes: set[int] = set()
    logged = False
    for receipt in receipts:
        try:
            proof = parse_proof(receipt.proof)
            head = proof.verify(receipt.entry.encode(), log_keys, origin)
            entry = _entry(receipt.entry, proof.index)
            if policy is not None:
                policy.open(proof.checkpoint)
        except NoteRefused as error:
            findings.append(f"entry {receipt.seq}: {error}")
            continue
        sizes.add(head.size)
        told = _told(entry, found)
        findings += [
            f"entry {proof.index}: {text}" for text in _differences(entry, told, predicate)
        ]
        if entry.get("action") == SIGNED:
            logged |= logged_digest(payload) in (entry.get("decision_reasons") or ())
    if not logged:
        findings.append("no receipt shows that the log knows this very statement")
    return ProvenanceReport(tuple(findings), predicate, tuple(sorted(sizes)))


def _statement(payload: bytes) -> tuple[dict[str, Any], str]:
    try:
        document = json.loads(payload)
        if canonical(document) != payload:
            raise NoteRefused("the statement has another spelling than its own")
        if (document["_type"], document["predicateType"]) != (STATEMENT, PREDICATE):
            raise NoteRefused("a statement of another type")
        (subject,) = document["subject"]
        predicate, digest = document["predicate"], subject["digest"]["sha256"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise NoteRefused("the statement is malformed") from error
    if not isinstance(predicate, dict) or not isinstance(digest, str):
        raise NoteRefused("the statement is malformed")
    return predicate, digest


def _entry(text: str, index: int) -> dict[str, Any]:
    try:
        entry = json.loads(text)
        if not isinstance(entry, dict) or canonical(entry).decode() != text:
            raise NoteRefused("the entry is not a canonical event")
    except (ValueError, RecursionError) as error:
        raise NoteRefused("the entry is not a canonical event") from error
    if entry.pop("seq", None) != index:
        raise NoteRefused("the entry bears another number than its proof")
    return entry


def _told(entry: dict[str, Any], found: ProvenanceFile) -> dict[str, Any]:
    """The entry with what the file opens of it; an opening that does not fit opens nothing."""
    openings = {} if found.receipt is None else found.receipt.openings
    return in_clear(entry, {token: each for token, each in openings.items() if opens(token, each)})


def _differences(
    entry: dict[str, Any], told: dict[str, Any], predicate: dict[str, Any]
) -> list[str]:
    circuit, backend = predicate.get("circuit", {}), predicate.get("backend", {})
    agent = predicate.get("agent", {})
    said = {
        "job_id": predicate.get("job_id"),
        "circuit_sha256": circuit.get("sha256"),
        "qpu": backend.get("name"),
        "shots": predicate.get("shots"),
        "agent_id": agent.get("agent_id"),
    }
    wrong = [
        f"{name} is {told.get(name)!r}, the statement says {value!r}"
        for name, value in said.items()
        if told.get(name) != value
    ]
    if entry.get("action") != SIGNED:
        mine = {"action": entry.get("action"), "sha256": sha256(canonical(entry)).hexdigest()}
        if mine not in predicate.get("log", {}).get("steps", ()):
            wrong.append("the statement does not name this entry")
    return wrong
