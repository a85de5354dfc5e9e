"""An evidence pack: everything the log says about something as one zip that verifies offline.

Each entry lies as its own file beside its ``.tlog-proof``, so that other people's tools can check
it. A pack is small and read with hard limits: it comes from whoever wants to prove something.
"""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from cryogate.audit.errors import NoteRefused, TimestampRefused
from cryogate.audit.note import NoteVerifier
from cryogate.audit.opening import in_clear, opens
from cryogate.audit.provenance_check import ProvenanceFile, read_file, verify_provenance
from cryogate.audit.receipts import JobReceipt, Receipt, parse_proof
from cryogate.audit.timestamps import TsaTrust
from cryogate.audit.tlog_policy import Policy
from cryogate.audit.trace import Story
from cryogate.ports.audit import canonical
from cryogate.ports.privacy import Opening

MAX_PACK_BYTES = 64 << 20
STAMPED_HEAD, STAMP = "timestamp.checkpoint", "timestamp.tsr"
_MAX_FILES = 10_000
_MAX_MEMBER = 1 << 20
_MAX_OPENINGS = 16 << 20
_EPOCH: Final = (2020, 1, 1, 0, 0, 0)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Opening]).decode
_README: Final = """\
Evidence from the audit log {origin}, about {about}.

  entries/N.json         log entry N, byte for byte as it was hashed
  entries/N.tlog-proof   its proof (c2sp.org/tlog-proof@v1) up to a signed head
  openings.json          what the entries commit to (sealed:…): field, value and salt of each
  provenance/JOB.json    the signed in-toto statement about a job's result (DSSE)
  timestamp.checkpoint   the signed head that all proofs lead to, where it was stamped, and
  timestamp.tsr          the RFC 3161 token about it
  vkey, provenance.pem   the keys that signed, not to be trusted from here

Offline:  cryogate audit check FILE.zip --vkey LOG_KEY --key PROVENANCE_KEY
With tools that are not ours: docs/auditor-guide.md of Cryogate.
"""


@dataclass(frozen=True, slots=True)
class PackReport:
    """What a pack holds and what is wrong with it."""

    entries: tuple[dict[str, object], ...]
    statements: int
    findings: tuple[str, ...]
    stamped: datetime | None = None

    @property
    def ok(self) -> bool:
        """Whether there is something and all of it was verified."""
        return bool(self.entries) and not self.findings


def pack(
    story: Story, vkeys: str, provenance: Mapping[str, bytes] | None = None, pem: str = ""
) -> bytes:
    """The zip. ``provenance`` has the provenance files by job."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:

        def add(name: str, content: bytes) -> None:
            # one story makes one sequence of bytes: no clock and no umask in it
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)

        add("README.txt", _README.format(origin=story.origin, about=story.about).encode())
        add("vkey", vkeys.encode())
        if story.timestamp is not None and story.receipts:
            add(STAMPED_HEAD, parse_proof(story.receipts[0].proof).checkpoint)
            add(STAMP, base64.b64decode(story.timestamp))
        if pem:
            add("provenance.pem", pem.encode())
        for receipt in story.receipts:
            add(f"entries/{receipt.seq:012}.json", receipt.entry.encode())
            add(f"entries/{receipt.seq:012}.tlog-proof", receipt.proof.encode())
        add("openings.json", _encode(dict(sorted(story.openings.items()))))
        for job_id, content in sorted((provenance or {}).items()):
            add(f"provenance/{job_id}.json", content)
    return buffer.getvalue()


def check_pack(
    content: bytes,
    trusted: Sequence[NoteVerifier],
    keys: Sequence[EllipticCurvePublicKey] = (),
    tsa: TsaTrust | None = None,
    policy: Policy | None = None,
) -> PackReport:
    """Verify every entry and statement in a pack with keys from elsewhere.

    With a ``policy`` every proof must lead to a head with its quorum. With ``tsa`` all proofs must
    lead to one head that an authority of that trust has stamped.

    Raises:
        NoteRefused: it is no pack.
    """
    if len(content) > MAX_PACK_BYTES:
        raise NoteRefused("the pack is too large")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _check(archive, trusted, keys, tsa, policy)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise NoteRefused("not an evidence pack") from error


def _check(
    archive: zipfile.ZipFile,
    trusted: Sequence[NoteVerifier],
    keys: Sequence[EllipticCurvePublicKey],
    tsa: TsaTrust | None,
    policy: Policy | None,
) -> PackReport:
    names = archive.namelist()
    if len(names) > _MAX_FILES or len(set(names)) != len(names):
        raise NoteRefused("the pack holds too many files, or one twice")
    findings: list[str] = []
    entries: list[dict[str, object]] = []
    receipts: list[Receipt] = []
    openings = _openings(archive, findings)
    for name in sorted(n for n in names if n.startswith("entries/") and n.endswith(".json")):
        try:
            text = _read(archive, name).decode()
            proof_text = _read(archive, name.removesuffix(".json") + ".tlog-proof").decode()
            proof = parse_proof(proof_text)
            proof.verify(text.encode(), trusted)
            if policy is not None:
                policy.open(proof.checkpoint)
            entry = json.loads(text)
            if canonical(entry).decode() != text or entry["seq"] != proof.index:
                raise NoteRefused("not the entry of this number")
        except (NoteRefused, ValueError, KeyError, TypeError) as error:
            findings.append(f"{name}: {error}")
            continue
        entries.append(in_clear(entry, openings))
        receipts.append(Receipt(proof.index, str(entry.get("action")), text, proof_text))
    known = {f"entries/{r.seq:012}" for r in receipts}
    findings += [
        f"{name}: a proof without its entry"
        for name in sorted(names)
        if name.endswith(".tlog-proof")
        and name.removesuffix(".tlog-proof") not in known
        and name.removesuffix(".tlog-proof") + ".json" not in names
    ]
    statements = 0
    for name in sorted(n for n in names if n.startswith("provenance/")):
        found = read_file(_read(archive, name))
        mine = _of_job(name, found, receipts, openings)
        report = verify_provenance(mine, keys, trusted)
        findings += [f"{name}: {text}" for text in report.findings]
        statements += report.ok
    stamped = None
    if tsa is not None:
        try:
            stamped = _stamped(archive, receipts, tsa)
        except (NoteRefused, TimestampRefused) as error:
            findings.append(f"{STAMP}: {error}")
    return PackReport(tuple(entries), statements, tuple(findings), stamped)


def _stamped(archive: zipfile.ZipFile, receipts: Sequence[Receipt], tsa: TsaTrust) -> datetime:
    """When the one head of all (verified) proofs was there."""
    head = _read(archive, STAMPED_HEAD)
    if any(parse_proof(receipt.proof).checkpoint != head for receipt in receipts):
        raise NoteRefused("a proof leads to another head than the one that was stamped")
    return tsa.time(head, _read(archive, STAMP))


def _openings(archive: zipfile.ZipFile, findings: list[str]) -> dict[str, Opening]:
    """The openings that open what they say, which needs no key."""
    if "openings.json" not in archive.namelist():
        return {}
    try:
        found = _decode(_read(archive, "openings.json", _MAX_OPENINGS))
    except (NoteRefused, msgspec.MsgspecError) as error:
        findings.append(f"openings.json: {error}")
        return {}
    wrong = sorted(token for token, opening in found.items() if not opens(token, opening))
    findings += [f"openings.json: {token[:64]} is no commitment to what is told" for token in wrong]
    return {token: opening for token, opening in found.items() if token not in wrong}


def _of_job(
    name: str,
    found: ProvenanceFile,
    receipts: Sequence[Receipt],
    openings: dict[str, Opening],
) -> ProvenanceFile:
    """The statement with its job's own steps from the pack as its receipts."""
    if found.receipt is not None:
        return found
    job_id = name.removeprefix("provenance/").removesuffix(".json")
    steps = tuple(
        r
        for r in receipts
        if json.loads(r.entry).get("job_id") == job_id
        and (r.action.startswith("job.") or r.action == "provenance.signed")
    )
    return ProvenanceFile(found.provenance, JobReceipt(job_id, "", steps, 0, openings))


def _read(archive: zipfile.ZipFile, name: str, limit: int = _MAX_MEMBER) -> bytes:
    try:
        with archive.open(name) as file:
            # read no more than this whatever the directory says: a small pack may unfold for ever
            content = file.read(limit + 1)
    except KeyError as error:
        raise NoteRefused(f"{name} is missing") from error
    if len(content) > limit:
        raise NoteRefused(f"{name} is too large")
    return content
