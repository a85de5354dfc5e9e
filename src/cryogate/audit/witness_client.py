"""Asks one witness, by its URL, to cosign this log's growth (C2SP tlog-witness).

A witness is a stranger: its answer is bounded and parsed once, and of its signatures only those
count that verify under the keys that the operator wrote down for it. A witness that cannot be had
costs a cosignature, never a request and never a head.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from cryogate.audit.errors import NoteRefused, WitnessContradicts, WitnessFailed
from cryogate.audit.note import Note, NoteSignature, NoteVerifier
from cryogate.audit.witness_protocol import (
    AddCheckpoint,
    parse_conflict,
    parse_cosignatures,
)
from cryogate.outbound.fetcher import Answer

Send = Callable[[str, str, Mapping[str, str], bytes], Awaitable[Answer]]
#: The consistency proof between two sizes, as `AuditLog.consistency_proof` gives it.
Prove = Callable[[int, int], Awaitable[tuple[bytes, ...]]]
_HEADERS = {"content-type": "text/plain; charset=utf-8", "accept": "text/plain"}
_SAID = {
    403: "it does not know this log, or does not trust its key",
    404: "it does not know this log",
    429: "it is asked too often",
}


class WitnessClient:
    """One witness: its URL (the submission prefix) and its keys, one or two of them."""

    def __init__(self, url: str, keys: Sequence[NoteVerifier], send: Send) -> None:
        self.url = url.rstrip("/")
        self.keys = tuple(keys)
        self._send = send
        # What it has cosigned, as far as this process knows: it says so itself when this is wrong.
        self._known = 0

    @property
    def name(self) -> str:
        """The witness's name, as its first key has it."""
        return self.keys[0].name

    async def cosign(self, note: Note, size: int, prove: Prove) -> tuple[NoteSignature, ...]:
        """Verified cosignatures over ``note``, a head over ``size`` entries.

        Raises:
            WitnessContradicts: the witness has cosigned another history, or a longer one.
            WitnessFailed: it did not cosign for another reason.
            LogIntegrityError, StoreUnavailable: the proof cannot be made.
        """
        for _ in range(2):  # the second time with the size that it told us
            old = self._known
            if old > size:
                self._known = 0  # ask again next time: its word is all we have
                raise WitnessContradicts(f"it has cosigned {old} entries, this head covers {size}")
            proof = await prove(old, size) if 0 < old < size else ()
            answer = await self._post(AddCheckpoint(old, proof, note.encode()))
            if answer.status == 409:
                try:
                    self._known = parse_conflict(answer.body)
                except NoteRefused as error:
                    raise WitnessFailed(f"its answer cannot be read: {error}") from error
                continue
            return self._taken(note, size, answer)
        raise WitnessFailed("it does not agree with itself about what it has cosigned")

    async def _post(self, request: AddCheckpoint) -> Answer:
        try:
            return await self._send(
                "POST", f"{self.url}/add-checkpoint", _HEADERS, request.encode()
            )
        except Exception as error:
            raise WitnessFailed(f"no answer ({type(error).__name__})") from error

    def _taken(self, note: Note, size: int, answer: Answer) -> tuple[NoteSignature, ...]:
        if answer.status == 422:
            self._known = 0
            raise WitnessContradicts("it has cosigned another history of this log")
        if answer.status != 200:
            raise WitnessFailed(_SAID.get(answer.status, f"it answers {answer.status}"))
        try:
            given = parse_cosignatures(answer.body)
        except NoteRefused as error:
            raise WitnessFailed(f"its answer cannot be read: {error}") from error
        self._known = size
        keys = {(key.name, key.key_id): key for key in self.keys}
        text = note.text.encode()
        found = []
        for signature in given:
            # each key counts once; what unknown keys signed is ignored, as the protocol wants it
            key = keys.pop((signature.name, signature.key_id), None)
            if key is None:
                continue
            if not key.verify(text, signature.signature):
                raise WitnessFailed(f"its signature by {key.name} does not verify")
            found.append(signature)
        if not found:
            raise WitnessFailed("none of its signatures is by a key that it is known by")
        return tuple(found)
