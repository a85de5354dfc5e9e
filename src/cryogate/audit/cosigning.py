"""Gathers witnesses' cosignatures for the log's heads, and knows the newest head with a quorum.

(1) Never on the way of a request and never before a head is shown: rounds run beside the log.
(2) Only a head whose quorum is met, by the operator's own tlog-policy, becomes the cosigned head,
    and never a smaller one than before.
(3) The cosigned head is kept in the database: replicas take what one of them gathered, and ask
    only when it has grown old. Who writes the database cannot fake it: it is verified again.
(4) A quorum that stays away is told to operators. Nothing waits for it: witnesses of others must
    not be able to stop this log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryogate.audit.checkpoint import open_checkpoint
from cryogate.audit.errors import LogIntegrityError, NoteRefused, WitnessContradicts, WitnessFailed
from cryogate.audit.log import AuditLog
from cryogate.audit.note import Note, NoteSignature, parse_note
from cryogate.audit.tlog_policy import Policy
from cryogate.audit.witness_client import WitnessClient
from cryogate.domain.errors import Unavailable
from cryogate.ports.alerts import Alerts, Severity
from cryogate.ports.clock import Clock
from cryogate.ports.store import SqlValue, Statement, Store, UnitOfWork

log = logging.getLogger("cryogate.audit")
_MAX_BACKOFF_MS = 600_000
# A head of another replica may be at a witness before it is in our database: once proves nothing.
_SURE_AFTER = 3


@dataclass(slots=True)
class Standing:
    """How it goes with one witness, in this process. ``trouble`` is None while it cosigns."""

    trouble: str | None = None
    failures: int = 0
    contradicted: int = 0
    again_ms: int = 0


class Cosigning:
    """See the module. ``every_ms`` is how often witnesses are asked while the log grows."""

    def __init__(
        self,
        audit: AuditLog,
        policy: Policy,
        witnesses: Sequence[WitnessClient],
        *,
        store: Store,
        clock: Clock,
        alerts: Alerts,
        every_ms: int,
        alert_ms: int,
        timeout_s: float,
    ) -> None:
        self._audit, self._policy, self._witnesses = audit, policy, tuple(witnesses)
        self._store, self._clock, self._alerts = store, clock, alerts
        self._every_ms, self._alert_ms, self._timeout_s = every_ms, alert_ms, timeout_s
        self._standings = {witness.url: Standing() for witness in witnesses}
        self._cosigned: tuple[int, bytes] | None = None
        self._asked_ms = 0
        self._waiting_since_ms: int | None = None
        self._shown: tuple[int, bytes] | None = None

    @property
    def standings(self) -> Mapping[str, Standing]:
        """How it goes with each witness, by its URL."""
        return self._standings

    @property
    def waiting_ms(self) -> int:
        """How long the log has been ahead of its quorum; 0 if it is not."""
        since = self._waiting_since_ms
        return 0 if since is None else max(0, self._clock.now_ms() - since)

    def cosigned(self) -> bytes | None:
        """The newest head with a quorum; None before the first."""
        return self._cosigned[1] if self._cosigned else None

    def served(self) -> bytes | None:
        """What others are shown: the newest cosigned head, or, when the quorum stays away for as
        long as it takes to alarm, the newest head as the log signed it. Its size never goes back.
        """
        shown, cosigned = self._shown, self._cosigned
        if cosigned is not None and self.waiting_ms < self._alert_ms:
            # what was shown without a quorum stays until the quorum has come as far
            return cosigned[1] if shown is None or cosigned[0] >= shown[0] else shown[1]
        newest = self._audit.checkpoint()
        if newest is not None:
            self._shown = self._audit.published_size, newest
        return newest

    async def run(self) -> None:
        """`round` again and again until cancelled."""
        while True:
            try:
                await self.round()
            except (Unavailable, LogIntegrityError):
                log.warning("cosignatures cannot be gathered now", exc_info=True)
            await asyncio.sleep(min(1.0, self._every_ms / 1000))

    async def round(self) -> bool:
        """Ask the witnesses, if there is something new to cosign and it is time; whether the
        newest head has its quorum.

        Raises:
            LogIntegrityError, StoreUnavailable: the log cannot be read.
        """
        await self._adopt()
        note, size, now_ms = self._audit.checkpoint(), self._audit.published_size, self._now()
        if note is None or size == 0:
            return False
        if self._cosigned is not None and self._cosigned[0] >= size:
            self._waiting_since_ms = None
            return True
        if self._waiting_since_ms is None:
            self._waiting_since_ms = now_ms
        if now_ms - self._asked_ms < self._every_ms:
            return False
        self._asked_ms = now_ms
        met = await self._gather(note, size)
        if met:
            # the log has grown meanwhile, perhaps, but its quorum is no longer late
            self._waiting_since_ms = None if self._audit.published_size == size else self._now()
        elif self.waiting_ms >= self._alert_ms:
            self._alarm(size)
        return met

    async def _adopt(self) -> None:
        """Take a cosigned head that another replica gathered, or this one before a restart (3)."""
        row = await self._store.fetch_one("cosigned_head", {"origin": self._audit.origin})
        if row is None or int(row["size"] or 0) <= (self._cosigned[0] if self._cosigned else 0):
            return
        note = str(row["note"]).encode()
        try:
            size = open_checkpoint(note, self._audit.verifiers, self._audit.origin).size
            self._policy.open(note)
        except NoteRefused:
            return  # of another policy, or altered: then it counts for nothing
        if size > self._audit.published_size:
            return  # this replica will follow in a moment; until then it could not serve its tiles
        self._asked_ms = max(self._asked_ms, int(row["asked_ms"] or 0))
        self._take(size, note)
        self._waiting_since_ms = None

    async def _gather(self, head: bytes, size: int) -> bool:
        parsed = parse_note(head)
        ours = {(key.name, key.key_id) for key in self._audit.verifiers}
        own = [s for s in parsed.signatures if (s.name, s.key_id) in ours]
        # Witnesses are sent our own signatures only: theirs would make the request large.
        bare = Note(parsed.text, tuple(own))
        found = await asyncio.gather(*(self._ask(each, bare, size) for each in self._witnesses))
        note = Note(bare.text, (*own, *(line for lines in found for line in lines))).encode()
        try:
            self._policy.open(note)  # (2)
        except NoteRefused:
            return False
        self._take(size, note)
        params: dict[str, SqlValue] = {
            "origin": self._audit.origin,
            "size": size,
            "note": note.decode(),
            "asked_ms": self._asked_ms,
        }
        await self._store.commit(UnitOfWork((Statement("cosigned_put", params, None),)))
        return True

    def _take(self, size: int, note: bytes) -> None:
        if self._cosigned is None or size > self._cosigned[0]:
            self._cosigned = size, note

    async def _ask(self, witness: WitnessClient, note: Note, size: int) -> Sequence[NoteSignature]:
        standing = self._standings[witness.url]
        if self._now() < standing.again_ms:
            return ()
        try:
            async with asyncio.timeout(2 * self._timeout_s):
                given = await witness.cosign(note, size, self._audit.consistency_proof)
        except (WitnessFailed, TimeoutError, LogIntegrityError, Unavailable) as error:
            self._failed(witness, standing, error)
            return ()
        standing.trouble, standing.failures, standing.contradicted = None, 0, 0
        standing.again_ms = 0
        return given

    def _failed(self, witness: WitnessClient, standing: Standing, error: Exception) -> None:
        said = str(error) or "it did not answer in time"
        if said != standing.trouble:
            log.warning("the witness %s did not cosign: %s", witness.name, said)
        standing.trouble = said
        standing.failures += 1
        wait_ms = self._every_ms * 2 ** min(standing.failures - 1, 10)
        if isinstance(error, WitnessContradicts):
            standing.contradicted += 1
            wait_ms = self._every_ms
            if standing.contradicted >= _SURE_AFTER:
                # What it means: somebody set this log back, or it shows different histories (L2).
                evidence = {"witness": witness.name, "said": said}
                self._alerts.tell("witness_contradicts", self._audit.origin, Severity.CRITICAL,
                                  evidence)  # fmt: skip
        standing.again_ms = self._now() + min(wait_ms, _MAX_BACKOFF_MS)

    def _alarm(self, size: int) -> None:
        silent = [w.name for w in self._witnesses if self._standings[w.url].trouble is not None]
        self._alerts.tell(
            "witness_quorum",
            self._audit.origin,
            Severity.HIGH,
            {
                "minutes": self.waiting_ms // 60_000,
                "size": size,
                "cosigned": 0 if self._cosigned is None else self._cosigned[0],
                "silent": ", ".join(silent[:8]),
            },
        )

    def _now(self) -> int:
        return self._clock.now_ms()
