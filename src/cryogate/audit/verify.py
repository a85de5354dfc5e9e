"""Offline verification of a whole log.

1. Trust comes from keys that the caller brings. A key found with the log proves nothing.
2. Every signed head that is at hand (the log's newest, older ones kept beside it, and those the
   caller kept elsewhere) must be signed by a trusted key; what it says is then a *claim*.
3. Every entry must be there, be canonical, bear its own number and hash to its leaf.
4. The tree is computed from the entries alone, and must have the claimed root at each claimed
   size. Kept hashes are compared only to tell where a difference is. Only the first bundles may
   have no texts: their kept hashes are then taken, which the roots prove, and an entry under a
   signed head must say that they were pruned.
5. Nothing to check against is a failure: without a claim no log is good.

A log cut back to an older head of its own, with every newer head gone, is found only by who kept
a newer one: give `verify_log` the head store's, a witness's or last month's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cryogate.audit.checkpoint import Checkpoint, open_checkpoint
from cryogate.audit.errors import NoteRefused
from cryogate.audit.export import Progress
from cryogate.audit.findings import Finding, FindingKind, Findings
from cryogate.audit.inspection import Inspector, Roots
from cryogate.audit.merkle import EMPTY_ROOT
from cryogate.audit.nodes import TILE_WIDTH
from cryogate.audit.note import NoteVerifier
from cryogate.audit.seal_check import SealReport
from cryogate.audit.sources import LogSource
from cryogate.audit.tlog_policy import Policy

NEWEST = "the log's checkpoint"
_MAX_UNSIGNED = 1 << 20


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was found. ``ok`` only if every claim was checked and nothing contradicts it.

    ``size`` is that of the largest signed head and ``root`` the root computed there, None if it
    could not be computed. ``unsigned`` entries follow that no head covers yet; ``omitted`` further
    findings are not listed. The first ``pruned`` entries are there as their hashes only.
    """

    ok: bool
    size: int
    root: bytes | None
    findings: tuple[Finding, ...]
    unsigned: int = 0
    omitted: int = 0
    pruned: int = 0
    seals: SealReport | None = None

    def with_seals(self, seals: SealReport) -> VerifyReport:
        """This, and what was found of the values that the log commits to."""
        return replace(
            self,
            ok=self.ok and seals.ok,
            findings=(*self.findings, *seals.findings),
            omitted=self.omitted + seals.omitted,
            seals=seals,
        )


@dataclass(frozen=True, slots=True)
class _Claim:
    source: str
    checkpoint: Checkpoint


async def verify_log(
    source: LogSource,
    anchors: Sequence[NoteVerifier],
    *,
    kept: Mapping[str, bytes] | None = None,
    origin: str | None = None,
    policy: Policy | None = None,
    progress: Progress | None = None,
) -> VerifyReport:
    """Verify everything in ``source``.

    ``anchors`` are the trusted keys, ``kept`` signed heads from elsewhere by a name for messages,
    ``origin`` the log's expected name (default: the name of the first anchor).
    With a ``policy`` one of the heads must be cosigned as it demands.

    Raises:
        StoreUnavailable: the database did not answer.
        OSError: the directory cannot be read.
    """
    findings = Findings()
    if not anchors:
        findings.add(FindingKind.NO_TRUST, "no trusted key was given, so nothing can be believed")
        return VerifyReport(False, 0, None, findings.listed(), 0, 0)
    verification = _Verification(source, anchors, origin or anchors[0].name, findings, policy)
    return await verification.run(kept or {}, progress)


class _Verification:
    def __init__(
        self,
        source: LogSource,
        anchors: Sequence[NoteVerifier],
        origin: str,
        findings: Findings,
        policy: Policy | None,
    ) -> None:
        self._source = source
        self._anchors = anchors
        self._origin = origin
        self._findings = findings
        self._policy = policy
        self._unmet = "no signed head is at hand"
        self._claims: dict[int, list[_Claim]] = {}
        self._claimed = 0
        self._compared = 0
        self._largest = 0
        self._agreed = 0
        self._root: bytes | None = None
        self._rewritten = False

    async def run(self, kept: Mapping[str, bytes], progress: Progress | None) -> VerifyReport:
        newest = await self._source.checkpoint()
        if newest is not None:
            self._claim(NEWEST, newest)
        for name, note in kept.items():
            self._claim(name, note)
        if not self._claims and newest is None:
            self._findings.add(FindingKind.NO_CHECKPOINT, "no signed head lies with the log")

        size = await self._extent()
        inspector = Inspector(self._source, self._findings)
        self._compare(Roots(0, EMPTY_ROOT, EMPTY_ROOT))
        for first in range(0, size, TILE_WIDTH):
            past = min(first + TILE_WIDTH, size)
            for stated, note in await self._source.notes(first + 1, past + 1):
                self._claim(f"checkpoint {stated}", note, stated)
            for roots in await inspector.page(first, past, self._claims):
                self._compare(roots)
            if progress is not None:
                progress(past, size)
        inspector.finish()
        self._check_pruned(inspector.pruned, inspector.vouched(self._largest))
        strays = await self._source.strays()
        if strays:
            self._findings.add(
                FindingKind.SEQUENCE, f"{strays} events bear numbers outside the log"
            )
        for claimed, claims in sorted(self._claims.items()):
            self._findings.add(
                FindingKind.TRUNCATED,
                f"{claims[0].source} covers {claimed} entries, the log has {size}",
                size,
                claimed - 1,
            )
        if self._policy is not None:
            self._findings.add(FindingKind.NO_QUORUM, self._unmet)
        # Nothing found and every claim compared: either alone would let a gap of ours pass.
        clean = self._findings.empty and 0 < self._claimed == self._compared
        return VerifyReport(
            clean,
            self._largest,
            self._root if self._largest <= size else None,
            self._findings.listed(),
            max(0, size - self._largest),
            self._findings.omitted,
            inspector.pruned,
        )

    def _check_pruned(self, pruned: int, vouched: int) -> None:
        if pruned > vouched:
            self._findings.add(
                FindingKind.MISSING,
                "no entry is found, and what is signed says nothing of its having been pruned",
                vouched,
                pruned - 1,
            )

    async def _extent(self) -> int:
        """How far to look. One entry with a huge number must not keep a verifier for ever."""
        size = await self._source.size()
        limit = self._largest + _MAX_UNSIGNED
        if size > limit:
            self._findings.add(
                FindingKind.SEQUENCE,
                f"there are entries up to {size - 1}, far beyond what is signed; looked at those "
                f"before {limit} only",
            )
        return min(size, limit)

    def _claim(self, source: str, note: bytes, stated: int | None = None) -> None:
        try:
            checkpoint = open_checkpoint(note, self._anchors, self._origin)
        except NoteRefused as error:
            self._findings.add(FindingKind.SIGNATURE, f"{source}: {error}", stated)
            return
        if stated is not None and checkpoint.size != stated:
            self._findings.add(
                FindingKind.SIGNATURE, f"{source} is signed for the size {checkpoint.size}", stated
            )
            return
        if self._policy is not None:
            try:
                self._policy.open(note)
                self._policy = None  # met: nothing more is demanded
            except NoteRefused as error:
                self._unmet = str(error)
        beside = self._claims.setdefault(checkpoint.size, [])
        if beside and beside[0].checkpoint.root != checkpoint.root:
            self._findings.add(
                FindingKind.FORK,
                f"{beside[0].source} and {source} are both signed for {checkpoint.size} entries "
                f"and contradict each other: the log's key signed two histories",
                checkpoint.size,
            )
        beside.append(_Claim(source, checkpoint))
        self._claimed += 1
        self._largest = max(self._largest, checkpoint.size)

    def _compare(self, roots: Roots) -> None:
        if roots.size == self._largest:
            self._root = roots.true
        # A log of years has millions of heads; those that are compared are let go.
        for claim in self._claims.pop(roots.size, ()):
            self._compared += 1
            if roots.true is None:
                # What is missing has been found and said.
                continue
            if roots.true == claim.checkpoint.root:
                self._agreed = roots.size
            elif not self._rewritten:
                # One difference spoils every root after it: the first one says where to look.
                self._rewritten = True
                genuine = roots.kept == claim.checkpoint.root
                self._findings.add(
                    FindingKind.ROOT,
                    f"{claim.source} is signed for another root over {roots.size} entries; "
                    f"the first {self._agreed} agree with what was signed"
                    + (", and so do all kept hashes" if genuine else ""),
                    self._agreed,
                    roots.size - 1,
                )
