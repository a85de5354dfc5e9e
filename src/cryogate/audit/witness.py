"""A small witness: cosigns a log's growth, and keeps the evidence when the log contradicts itself.

Anyone can run one, because heads and hash tiles are public. What a cosignature of it says (C2SP
tlog-cosignature): of all heads of this log that this witness has seen, this is the largest, and
every smaller one is a beginning of it.

(1) A head counts only if the log's key, which the witness was given, signed it.
(2) It must extend the last head that was cosigned: proved from the log's own hash tiles.
(3) The new head is durable in the witness's own store before the cosignature leaves.
(4) Whatever contradicts is kept: two heads with the log's signature that do not fit together prove
    to everybody that the log shows different histories.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryogate.audit.checkpoint import Checkpoint, open_checkpoint
from cryogate.audit.errors import HeadConflict, LogIntegrityError, NoteRefused
from cryogate.audit.heads import HeadStore
from cryogate.audit.merkle import EMPTY_ROOT, verify_consistency
from cryogate.audit.note import Note, NoteSignature, NoteSigner, NoteVerifier, parse_note
from cryogate.audit.remote import RemoteSource, ServedTree


@dataclass(frozen=True, slots=True)
class Seen:
    """A head that was cosigned: before this one, and now."""

    before: int
    size: int
    note: bytes

    @property
    def grew(self) -> bool:
        """Whether there was anything new."""
        return self.size > self.before


class Contradiction(LogIntegrityError):
    """The log's key signed two heads that do not fit together."""


class WrongPlace(LogIntegrityError):
    """The proof begins elsewhere than at the last cosigned head; ``size`` is that one's."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the last cosigned head covers {size} entries")
        self.size = size


class NoProof(LogIntegrityError):
    """The proof does not lead from the last cosigned head to this one."""


class Witness:
    """Watches one log. ``heads`` is the witness's own store, ``evidence`` a folder of its own."""

    def __init__(
        self,
        origin: str,
        trusted: Sequence[NoteVerifier],
        signers: Sequence[NoteSigner],
        heads: HeadStore,
        evidence: Path,
    ) -> None:
        if not trusted or not signers:
            raise ValueError("a witness needs the log's key and its own")
        self._origin = origin
        self._trusted = tuple(trusted)
        self._signers = tuple(signers)
        self._heads = heads
        self._evidence = evidence

    async def look(self, source: RemoteSource) -> Seen:
        """Fetch the log's head and cosign it if it extends the last one.

        Raises:
            Contradiction: it does not; the two heads lie in the evidence folder.
            LogIntegrityError: no head, not signed by the log, or a proof that cannot be made.
            HeadUnavailable: the witness's own store does not answer; nothing was cosigned.
        """
        note = await source.checkpoint()
        if note is None:
            raise LogIntegrityError("the log shows no head")
        head = open_checkpoint(note, self._trusted, self._origin)  # (1)
        kept, last = await self._last()
        if head.size < last.size:
            # An old head alone is no contradiction, unless it is not a beginning of the newer one,
            # which its tiles can no longer show: a cache, or a log that was set back.
            raise LogIntegrityError(
                f"the log shows a head over {head.size} entries, and {last.size} were cosigned: "
                f"an old copy is served, or the log was set back"
            )
        await self._consistent(source, last, head, kept, note)  # (2)
        if kept is not None and head.size == last.size:
            return Seen(last.size, head.size, kept)
        cosigned = self._cosign(note)
        await self._heads.advance(kept, cosigned)  # (3)
        return Seen(last.size, head.size, cosigned)

    async def submitted(
        self, old: int, proof: Sequence[bytes], note: bytes
    ) -> tuple[NoteSignature, ...]:
        """Cosignatures over a head that the log sent with its proof (C2SP tlog-witness).

        The same store as for `look`: a head is cosigned against the last one however that came.

        Raises:
            WrongPlace: ``old`` is not what was cosigned last, or no longer.
            NoProof: it does not hold; two heads of one size that differ are kept as evidence.
            NoteRefused: no signature of the log.
            HeadUnavailable: the witness's own store does not answer; nothing was cosigned.
        """
        head = open_checkpoint(note, self._trusted, self._origin)  # (1)
        kept, last = await self._last()
        if old != last.size:
            raise WrongPlace(last.size)
        holds = verify_consistency(old, head.size, tuple(proof), last.root, head.root)
        if (old == 0 and proof) or not holds:  # (2)
            if head.size == old:
                # A wrong proof alone accuses nobody; two roots for one size do.
                self._keep(f"head-{last.size}", kept or b"")
                self._keep(f"head-{head.size}-contradicts", note)
            raise NoProof("the proof does not lead from the last cosigned head to this one")
        # Anybody may send a head of the log with lines of their own: those are not kept.
        parsed = parse_note(note)
        known = {(key.name, key.key_id) for key in self._trusted}
        theirs = tuple(s for s in parsed.signatures if (s.name, s.key_id) in known)
        cosigned = self._cosign(Note(parsed.text, theirs).encode())
        if head.size > last.size:
            try:
                await self._heads.advance(kept, cosigned)  # (3)
            except HeadConflict as error:
                # Another request was faster; this one must be proved against what that one left.
                raise WrongPlace((await self._last())[1].size) from error
        ours = {(s.verifier().name, s.verifier().key_id) for s in self._signers}
        signed = parse_note(cosigned).signatures
        return tuple(s for s in signed if (s.name, s.key_id) in ours)

    async def head(self) -> bytes | None:
        """The last cosigned head, for monitors; None before the first."""
        return await self._heads.read()

    async def _last(self) -> tuple[bytes | None, Checkpoint]:
        kept = await self._heads.read()
        if kept is None:
            return None, Checkpoint(self._origin, 0, EMPTY_ROOT)
        return kept, open_checkpoint(kept, self._trusted, self._origin)

    async def _consistent(
        self,
        source: RemoteSource,
        last: Checkpoint,
        head: Checkpoint,
        kept: bytes | None,
        note: bytes,
    ) -> None:
        proof: tuple[bytes, ...] = ()
        if 0 < last.size < head.size:
            proof = await ServedTree(source).consistency(last.size, head.size)
        if verify_consistency(last.size, head.size, proof, last.root, head.root):
            return
        self._keep(f"head-{last.size}", kept or b"")  # (4)
        self._keep(f"head-{head.size}-contradicts", note)
        raise Contradiction(
            f"the log signed a head over {head.size} entries that does not continue the one over "
            f"{last.size}; nothing was cosigned, and both heads lie in {self._evidence}"
        )

    def _cosign(self, note: bytes) -> bytes:
        parsed = parse_note(note)
        ours = {(s.verifier().name, s.verifier().key_id) for s in self._signers}
        # a line in our name that somebody else put there must not pass for ours
        signatures = [s for s in parsed.signatures if (s.name, s.key_id) not in ours]
        text = parsed.text.encode()
        signatures += [signer.sign(text) for signer in self._signers]
        try:
            cosigned = Note(parsed.text, tuple(signatures)).encode()
            parse_note(cosigned)
        except NoteRefused as error:
            raise LogIntegrityError("the head has no room for another signature") from error
        return cosigned

    def _keep(self, name: str, note: bytes) -> None:
        self._evidence.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._evidence / name).write_bytes(note)
