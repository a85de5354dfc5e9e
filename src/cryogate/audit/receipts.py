"""C2SP tlog-proof: a receipt that verifies with nothing but the entry and the log's keys.

A receipt is made when it is asked for, never on the way of a submission: the log needs some tenths
of a second to give an event its place and at most another second to sign a head over it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from cryogate.audit.checkpoint import Checkpoint, open_checkpoint, peek_checkpoint
from cryogate.audit.errors import NoteRefused, NotInLog
from cryogate.audit.leaf import entry_bytes
from cryogate.audit.log import AuditLog
from cryogate.audit.merkle import leaf_hash, verify_inclusion
from cryogate.audit.note import MAX_NOTE_BYTES, NoteVerifier, decode_base64
from cryogate.ports.privacy import EventReader, Opening
from cryogate.ports.store import ReadStore, StoreUnavailable

MAGIC = "c2sp.org/tlog-proof@v1"
MAX_PROOF_BYTES = MAX_NOTE_BYTES + 8192
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,15})")
_MAX_PATH = 63
#: What a job's own agent may have a receipt of: its work, not what people did about it.
JOB_STEPS = frozenset({"job.accepted", "job.parked", "job.dispatching", "job.done", "job.failed",
                       "job.expired", "provenance.signed"})  # fmt: skip
_STEP_S = 0.05


@dataclass(frozen=True, slots=True)
class TlogProof:
    """An entry's place, its inclusion proof, and the signed head that it leads to."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes

    def encode(self) -> str:
        """The text of a ``.tlog-proof`` file."""
        lines = [MAGIC, f"index {self.index}"]
        lines += [base64.b64encode(node).decode() for node in self.path]
        return "\n".join(lines) + "\n\n" + self.checkpoint.decode()

    def verify(
        self, entry: bytes, trusted: Sequence[NoteVerifier], origin: str | None = None
    ) -> Checkpoint:
        """The signed head that ``entry`` is proved to be under.

        Raises:
            NoteRefused: no trusted signature, another log, or another entry.
        """
        head = open_checkpoint(self.checkpoint, trusted, origin)
        if not verify_inclusion(leaf_hash(entry), self.index, head.size, self.path, head.root):
            raise NoteRefused("the proof does not lead from this entry to the signed root")
        return head


def parse_proof(text: str) -> TlogProof:
    """The proof in a ``.tlog-proof`` file. Extra data are refused: nothing here would check them.

    Raises:
        NoteRefused: malformed, or spelled in another way than `TlogProof.encode` does.
    """
    if len(text) > MAX_PROOF_BYTES:
        raise NoteRefused("the proof is too large")
    head, blank, checkpoint = text.partition("\n\n")
    lines = head.split("\n")
    index = _INDEX.fullmatch(lines[1]) if len(lines) > 1 else None
    if not blank or lines[0] != MAGIC or index is None or len(lines) > 2 + _MAX_PATH:
        raise NoteRefused(f"not a proof of the form {MAGIC}")
    path = tuple(decode_base64(line, "a hash of the proof") for line in lines[2:])
    if any(len(node) != 32 for node in path):
        raise NoteRefused("a hash of the proof is not 32 bytes long")
    found = TlogProof(int(index[1]), path, checkpoint.encode())
    peek_checkpoint(found.checkpoint)
    if found.encode() != text:
        raise NoteRefused("the proof has another spelling than its own")
    return found


class Receipt(msgspec.Struct, frozen=True):
    """One entry of the log and its proof. ``entry`` is the text that was hashed, byte for byte."""

    seq: int
    action: str
    entry: str
    proof: str


class JobReceipt(msgspec.Struct, frozen=True):
    """What the log holds of a job; ``pending`` events have no signed head above them yet."""

    job_id: str
    origin: str
    receipts: tuple[Receipt, ...]
    pending: int
    #: What the entries commit to: of the circuit only, which whose job it is knows.
    openings: dict[str, Opening] = {}


class Receipts:
    """Makes receipts from the log; without ``reader`` what is sealed in them stays so."""

    def __init__(
        self,
        store: ReadStore,
        log: AuditLog,
        cosigned: Callable[[], bytes | None] | None = None,
        reader: EventReader | None = None,
    ) -> None:
        """``cosigned`` gives the newest head with a quorum of witnesses, where there are any."""
        self._store = store
        self._log = log
        self._cosigned = cosigned or (lambda: None)
        self._reader = reader

    async def of_job(
        self, job_id: str, wait_s: float = 0, *, cosigned_only: bool = False
    ) -> JobReceipt:
        """The receipts of a job's steps; waits up to ``wait_s`` for those that are pending.

        A receipt leads to the cosigned head if that covers its entry, else to the newest head;
        with ``cosigned_only`` the entry is pending until the witnesses' quorum covers it.

        Raises:
            LogIntegrityError: what is stored is not what was logged.
            StoreUnavailable: the database did not answer.
        """
        seen = self._log.checkpoint(), self._cosigned()
        found = await self._of_job(job_id, cosigned_only)
        for _ in range(int(wait_s / _STEP_S)):
            if not found.pending:
                break
            await asyncio.sleep(_STEP_S)
            now = self._log.checkpoint(), self._cosigned()
            if now != seen:
                seen = now
                found = await self._of_job(job_id, cosigned_only)
        return found

    async def _of_job(self, job_id: str, cosigned_only: bool) -> JobReceipt:
        receipts: list[Receipt] = []
        pending = 0
        cosigned = self._cosigned()
        best = (cosigned, peek_checkpoint(cosigned).size) if cosigned else (None, 0)
        newest = self._log.checkpoint(), self._log.published_size
        for row in await self._store.fetch("log_of_job", {"job_id": job_id}):
            action, seq = str(row["action"]), row["seq"]
            if action not in JOB_STEPS:
                continue
            head, size = best
            if not cosigned_only and (not isinstance(seq, int) or seq >= size):
                head, size = newest
            if head is None or not isinstance(seq, int) or seq >= size:
                pending += 1
                continue
            receipts.append(await self.of_entry(seq, str(row["body"]), action, head, size))
        openings = await self._openings([json.loads(each.entry) for each in receipts])
        return JobReceipt(job_id, self._log.origin, tuple(receipts), pending, openings)

    async def _openings(self, entries: list[dict[str, Any]]) -> dict[str, Opening]:
        if self._reader is None:
            return {}
        names = ("timestamp", "action", "experiment_id", "job_id", "circuit_sha256")
        about = [{name: entry.get(name) for name in names} for entry in entries]
        return await self._reader.openings(about)

    async def of_entry(self, seq: int, body: str, action: str, head: bytes, size: int) -> Receipt:
        """The receipt of one entry under ``head``, checked before it is handed out.

        Raises:
            LogIntegrityError: the stored entry or its proof is not what was signed.
            StoreUnavailable: the database did not answer.
        """
        try:
            entry = entry_bytes(body, seq)
        except ValueError as error:
            raise StoreUnavailable("a stored event is not canonical") from error
        try:
            proof = TlogProof(seq, (await self._log.inclusion_proof(seq, size)).path, head)
        except NotInLog as error:
            raise StoreUnavailable("the log's head went back") from error
        proof.verify(entry, self._log.verifiers, self._log.origin)
        return Receipt(seq, action, entry.decode(), proof.encode())
