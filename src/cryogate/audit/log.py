"""The log's sequencer: gives events their places, and signs what it has made of them.

The argument that the log never contradicts itself:

1. Events get consecutive numbers in one unit of work with the tree's hashes above them. The
   statement must number every row it was given and numbers are unique, so of two sequencers one
   fails whole, reads the log anew and goes on.
2. A checkpoint is signed over what is stored, first put in the place of the previous one in the
   head store, and only then shown. Of two signers one finds another head there and follows it.
3. At start, and whenever the log is read anew, what is stored must begin with what the head says.
   A database that was set back, or rewritten, does not; then nothing goes on (L2).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import msgspec

from cryogate.audit.checkpoint import Checkpoint, sign_checkpoint
from cryogate.audit.errors import HeadConflict, LogIntegrityError
from cryogate.audit.heads import HeadStore
from cryogate.audit.leaf import entry_bytes
from cryogate.audit.merkle import CompactRange, leaf_hash
from cryogate.audit.nodes import ROW_LEVELS, TreeReader
from cryogate.audit.note import NoteSigner, NoteVerifier
from cryogate.audit.reading import (
    InclusionProof,
    LogEntry,
    prove_consistency,
    prove_inclusion,
    read_entries,
)
from cryogate.audit.standing import (
    Head,
    integer,
    open_head,
    stored_head,
    stored_size,
    tree_behind,
)
from cryogate.domain.errors import Unavailable
from cryogate.ports.clock import Clock
from cryogate.ports.store import GuardFailed, SqlValue, Statement, Store, UnitOfWork

# One batch keeps the event loop for a few milliseconds at most; a backlog takes several.
BATCH = 256
CHECKPOINT_EVERY_MS = 1000
_POLL_S = 0.25
# Pokes within this time share a batch, and so a transaction.
_GATHER_S = 0.05
_MAX_CONFLICTS = 8


class AuditLog:
    """See the module. One per process; any number of processes per database."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        signer: NoteSigner,
        heads: HeadStore,
        origin: str,
        earlier_keys: Sequence[NoteVerifier] = (),
        beside: Sequence[NoteSigner] = (),
    ) -> None:
        """``earlier_keys`` are public keys under which older heads of this log may be signed;
        ``beside`` sign every head as well (ML-DSA-44).
        """
        self._store = store
        self._clock = clock
        self._signers = (signer, *beside)
        self._heads = heads
        self._origin = origin
        self._trusted = (signer.verifier(), *earlier_keys)
        self._verifiers = tuple(each.verifier() for each in self._signers)
        self._reader = TreeReader(store)
        self._tree: CompactRange | None = None
        self._head: Head | None = None
        self._signed_ms = 0
        self._turn = asyncio.Lock()
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._trouble: str | None = None

    @property
    def origin(self) -> str:
        """The log's name."""
        return self._origin

    @property
    def verifier(self) -> NoteVerifier:
        """The public key that signs this log's checkpoints."""
        return self._trusted[0]

    @property
    def verifiers(self) -> tuple[NoteVerifier, ...]:
        """Every public key that signs this log's checkpoints."""
        return self._verifiers

    @property
    def trouble(self) -> str | None:
        """Why sequencing does not get on, or None: for readiness, never for agents."""
        return self._trouble

    def checkpoint(self) -> bytes | None:
        """The newest signed head, or None before `start`."""
        return self._head.note if self._head else None

    @property
    def published_size(self) -> int:
        """How many entries the newest signed head covers."""
        return self._head.size if self._head else 0

    async def start(self, *, insecure_adopt_head: bool = False) -> None:
        """Check the stored log against the head store (L2); sign the empty head of a new log.

        ``insecure_adopt_head`` takes the database's word for a head that the second store lost.

        Raises:
            LogIntegrityError: the log is not an extension of the signed head; says what to do.
            Unavailable: the database or the head store did not answer.
        """
        stored = await stored_head(self._store, self._trusted, self._origin)
        note = await self._heads.read()
        if note is None:
            new = stored is None and await stored_size(self._store) == 0
            if not (new or insecure_adopt_head):
                raise LogIntegrityError(
                    "The database holds a log, but the second copy of its head is gone, so nobody "
                    "can tell whether the log was set back. Bring the head directory back. If it "
                    "is lost for good, verify the log against a checkpoint kept elsewhere and "
                    "start once with the insecure option that adopts the database's head."
                )
            note = stored.note if stored else self._sign(CompactRange())
            with contextlib.suppress(HeadConflict):
                await self._heads.advance(None, note)
            # Another process may have been first.
            note = await self._heads.read() or note
        head = open_head(note, self._trusted, self._origin)
        await self._follow(head)
        if stored is not None:
            # The database's own newest checkpoint must agree too, and may be ahead or behind.
            await tree_behind(stored, self._store, self._reader)
            if stored.size > head.size:
                with contextlib.suppress(HeadConflict):
                    await self._heads.advance(head.note, stored.note)
                await self._follow(stored)
        await self._check_tail()

    async def run(self) -> None:
        """Sequence and sign until `close`, at every `poke` or four times a second.

        An unreachable database or head store is waited for.

        Raises:
            LogIntegrityError: the log contradicts itself; it must be looked at, and until then
                nothing more is signed.
        """
        while not self._stop.is_set():
            await self._wait(self._wake, _POLL_S)
            self._wake.clear()
            try:
                await self.tick()
            except (Unavailable, GuardFailed) as error:
                self._trouble = str(error)
            except Exception as error:
                # Nothing is sequenced any more: readiness must not look away.
                self._trouble = str(error) or type(error).__name__
                raise
            else:
                self._trouble = None
            await self._wait(self._stop, _GATHER_S)

    def poke(self) -> None:
        """Say that there are new events."""
        self._wake.set()

    async def tick(self) -> None:
        """One round: sequence what waits, then sign if a second has passed since the last head.

        Raises:
            LogIntegrityError: the log contradicts itself.
            Unavailable: the database or the head store did not answer.
        """
        await self.sequence_now()
        if self._clock.now_ms() - self._signed_ms >= CHECKPOINT_EVERY_MS:
            await self.checkpoint_now()

    async def sequence_now(self) -> int:
        """Give every waiting event its place; how many there were.

        Raises:
            LogIntegrityError: a stored event is not canonical, or the log contradicts its head.
            Unavailable: the database did not answer, or other sequencers never let us on.
        """
        total = conflicts = 0
        async with self._turn:
            while True:
                try:
                    count = await self._sequence()
                except GuardFailed as error:
                    conflicts += 1
                    if conflicts > _MAX_CONFLICTS:
                        raise Unavailable("other sequencers keep taking the turn") from error
                    continue
                total += count
                if count < BATCH:
                    return total

    async def checkpoint_now(self) -> bytes:
        """Sign a head over all that is sequenced, unless the present one is; gives the head.

        Raises:
            LogIntegrityError: the log contradicts its head.
            Unavailable: the database or the head store did not answer.
        """
        async with self._turn:
            for _ in range(_MAX_CONFLICTS):
                head = await self._newest_head()
                tree = await self._current()
                self._signed_ms = self._clock.now_ms()
                if tree.size <= head.size:
                    return head.note
                note = self._sign(tree)
                try:
                    await self._heads.advance(head.note, note)
                except HeadConflict:
                    present = await self._heads.read()
                    await self._follow(open_head(present or b"", self._trusted, self._origin))
                    continue
                self._head = Head(Checkpoint(self._origin, tree.size, tree.root()), note)
                await self._record(self._head)
                return note
        raise Unavailable("other signers keep taking the turn")

    async def close(self) -> None:
        """End `run`, sequence what waits and sign a last head.

        Raises:
            LogIntegrityError: the log contradicts its head.
            Unavailable: the database or the head store did not answer.
        """
        self._stop.set()
        self._wake.set()
        await self.sequence_now()
        await self.checkpoint_now()

    async def inclusion_proof(self, seq: int, size: int | None = None) -> InclusionProof:
        """The proof that entry ``seq`` is in the log of ``size`` (default: the newest head).

        Raises:
            NotInLog: no signed head covers it.
            LogIntegrityError: a hash of the tree is missing.
            StoreUnavailable: the database did not answer.
        """
        return await prove_inclusion(
            self._reader, seq, size, self.published_size, self.checkpoint()
        )

    async def consistency_proof(self, old: int, new: int | None = None) -> tuple[bytes, ...]:
        """The proof that the log of ``new`` entries begins with the one of ``old``.

        Raises:
            NotInLog: not ``0 < old <= new <=`` the newest head's size.
            LogIntegrityError: a hash of the tree is missing.
            StoreUnavailable: the database did not answer.
        """
        return await prove_consistency(self._reader, old, new, self.published_size)

    async def events(self, after: int = -1, limit: int = 100) -> tuple[LogEntry, ...]:
        """Entries with ``seq > after``, in order; at most 1000. The newest may not be signed yet.

        Raises:
            LogIntegrityError: a stored event is not canonical.
            StoreUnavailable: the database did not answer.
        """
        return await read_entries(self._store, after + 1, limit)

    async def _sequence(self) -> int:
        tree = (await self._current()).copy()
        rows = await self._store.fetch("log_unsequenced", {"count": BATCH})
        if not rows:
            return 0
        first, numbered, statements = tree.size, list[tuple[int, str]](), list[Statement]()
        for row in rows:
            event_id = integer(row, "event_id")
            try:
                leaf = leaf_hash(entry_bytes(str(row["body"]), tree.size))
            except ValueError as error:
                raise LogIntegrityError(
                    f"Event {event_id} waits for its place in the log and is not canonical: it "
                    f"was altered in the database. Sequencing has stopped."
                ) from error
            numbered.append((event_id, leaf.hex()))
            for level, position, value in tree.append(leaf):
                if level % ROW_LEVELS == 0:
                    params: dict[str, SqlValue] = {
                        "level": level,
                        "position": position,
                        "hash": value.hex(),
                    }
                    statements.append(Statement("log_add_node", params, guard="log_turn"))
        numbering = msgspec.json.encode(numbered).decode()
        values: dict[str, SqlValue] = {"rows": numbering, "first_seq": first}
        statements.insert(0, Statement("log_sequence", values, len(rows), "log_turn"))
        statements.insert(0, Statement("log_order", {}, guard="log_turn"))
        # Unknown until the commit has been seen to succeed: whatever happens in between, a
        # cancelled wait included, the log is read anew.
        self._tree = None
        await self._store.commit(UnitOfWork(tuple(statements)))
        self._tree = tree
        return len(rows)

    async def _current(self) -> CompactRange:
        return self._tree or await self._follow(self._started())

    async def _newest_head(self) -> Head:
        """Ours, or the one that another process has signed since: it is as good."""
        head = self._started()
        newer = await stored_head(self._store, self._trusted, self._origin, above=head.size)
        if newer is not None:
            await self._follow(newer)
        return newer or head

    async def _follow(self, head: Head) -> CompactRange:
        """Read the log anew; it must begin with ``head``, which becomes ours."""
        tree = await tree_behind(head, self._store, self._reader)
        self._tree, self._head = tree, head
        return tree

    def _started(self) -> Head:
        if self._head is None:
            raise LogIntegrityError("the log has not been started")
        return self._head

    async def _check_tail(self) -> None:
        """What no head covers yet will be signed next: its hashes must be those of its text."""
        first = self.published_size
        while entries := await read_entries(self._store, first, BATCH):
            first = entries[-1].seq + 1

    async def _record(self, head: Head) -> None:
        params: dict[str, SqlValue] = {
            "size": head.size,
            "root": head.checkpoint.root.hex(),
            "note": head.note.decode(),
            "now_ms": self._clock.now_ms(),
        }
        await self._store.commit(UnitOfWork((Statement("log_add_checkpoint", params, None),)))

    def _sign(self, tree: CompactRange) -> bytes:
        return sign_checkpoint(Checkpoint(self._origin, tree.size, tree.root()), *self._signers)

    async def _wait(self, event: asyncio.Event, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()
