"""Which bundle is in force: activated, rolled back and followed while the service runs (A9).

(1) A bundle is known by its digest, and signed by a key that is trusted here. Without a signature
    only the shipped bundle counts, whose digest is part of the program.
(2) Its version is higher than any that was ever in force. Going back is a command of its own,
    and only to a bundle that was in force before.
(3) It was run in a process that can be killed: its own tests pass, and it allows none of the
    samples that no bundle may allow.
(4) Bundle, activation and event are one unit of work that fails if another activation came first.
(5) Only then is the engine exchanged, in one assignment; the other processes follow.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from cryogate.domain.errors import Conflict, Malformed, NotFound
from cryogate.domain.events import Event, Outcome
from cryogate.policies.active import ActivePolicy
from cryogate.policies.bundle_files import Bundle, BundleInvalid
from cryogate.policies.rehearsal import Rehearsal
from cryogate.policies.signing import Untrusted, verify_files
from cryogate.ports.clock import Clock
from cryogate.ports.policy import PolicyEngine
from cryogate.ports.store import (
    AlreadyExists,
    Row,
    Statement,
    Store,
    StoreUnavailable,
    UnitOfWork,
)
from cryogate.tokens.keys import PublicKey

SHIPPED, UNSIGNED = "shipped", "unsigned"
_NEWEST = 2**62
log = logging.getLogger("cryogate.policy")


class Refusal(Malformed):
    """The bundle may not be put in force; the text says why."""

    def __init__(self, detail: str) -> None:
        super().__init__("bundle_refused", detail[:900])


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose bundles count: keys by thumbprint, the shipped bundle, or (insecurely) anybody's."""

    keys: Mapping[str, PublicKey]
    shipped_digest: str
    insecure_unsigned: bool = False

    def signer(self, bundle: Bundle) -> str:
        """Step (1): who vouches for the bundle.

        Raises:
            BundleInvalid: nobody who is trusted here.
        """
        if not bundle.indexed:
            raise BundleInvalid("cryogate_index is not that of the statements: sign it again")
        try:
            return verify_files(bundle.files, self.keys)
        except Untrusted:
            if bundle.digest == self.shipped_digest:
                return SHIPPED
            if self.insecure_unsigned:
                return UNSIGNED
            raise


class PolicyDesk:
    """Puts bundles in force. ``make`` opens an engine on a bundle."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        active: ActivePolicy,
        make: Callable[[Bundle], PolicyEngine],
        rehearsal: Rehearsal,
        trust: Trust,
    ) -> None:
        self._store, self._clock, self._active = store, clock, active
        self._make, self._rehearsal, self._trust = make, rehearsal, trust
        self._seq = 0
        self._version = 0
        # What is committed second must also be exchanged second.
        self._one_at_a_time = asyncio.Lock()

    @property
    def version(self) -> int:
        """The version of the bundle in force."""
        return self._version

    async def start(self, first: Callable[[], Bundle]) -> None:
        """Put the bundle in force that was last; the ``first`` one if there was none yet.

        Raises:
            BundleInvalid: it is not trusted (any more), or the engine does not read it.
            StoreUnavailable: the database did not answer.
        """
        row = await self._store.fetch_one("policy_newest", {})
        if row is not None:
            await self._follow_to(row)
            return
        bundle = first()
        signer = self._trust.signer(bundle)
        if signer != SHIPPED:
            await self._rehearse(bundle.files)
        engine = self._make(bundle)
        try:
            await self._record(bundle, "first", signer, "first-start", "", 0)
        except Conflict:  # another process was first
            row = await self._store.fetch_one("policy_newest", {})
            if row is None:
                raise
            await self._follow_to(row)
            return
        await self._active.put(engine)

    async def activate(self, files: Mapping[str, bytes], actor: str, note: str = "") -> Bundle:
        """Put a newer bundle in force; steps (1) to (5).

        Raises:
            Refusal: not signed, not newer, or its tests or the samples fail. Recorded.
            Conflict: another activation came first.
        """
        async with self._one_at_a_time:
            return await self._activate(files, actor, note)

    async def _activate(self, files: Mapping[str, bytes], actor: str, note: str) -> Bundle:
        try:
            bundle = Bundle.of(files)
            signer = self._trust.signer(bundle)  # (1)
            seq, highest = await self._standing()
            if bundle.version <= highest:  # (2)
                raise BundleInvalid(
                    f"version {bundle.version} is not newer than {highest}: raise the revision in "
                    ".manifest, or use cryogate policy rollback to go back"
                )
            await self._rehearse(files)  # (3)
            engine = self._make(bundle)
        except BundleInvalid as error:
            await self._refused(str(error), actor)
            raise Refusal(str(error)) from error
        await self._record(bundle, "activate", signer, actor, note, seq)  # (4)
        await self._active.put(engine)  # (5)
        return bundle

    async def rollback(self, version: int | None, actor: str, note: str = "") -> Bundle:
        """Put the bundle in force that was there before, or the one of ``version``.

        Raises:
            NotFound: no other bundle, or none of this version, was ever in force.
            Refusal: it is not trusted any more, or no longer passes.
            Conflict: another activation came first.
        """
        async with self._one_at_a_time:
            return await self._rollback(version, actor, note)

    async def _rollback(self, version: int | None, actor: str, note: str) -> Bundle:
        seq, _ = await self._standing()
        row = await self._earlier(version)
        if row is None or row["digest"] == self._active.digest:
            raise NotFound("no_such_bundle", "no other bundle of this version was in force before")
        try:
            bundle = await self._stored(str(row["digest"]))
            signer = self._trust.signer(bundle)
            await self._rehearse(bundle.files)
            engine = self._make(bundle)
        except BundleInvalid as error:
            await self._refused(str(error), actor)
            raise Refusal(str(error)) from error
        await self._record(bundle, "rollback", signer, actor, note, seq)
        await self._active.put(engine)
        return bundle

    async def history(self, limit: int = 50) -> tuple[Row, ...]:
        """Activations, newest first."""
        params = {"before_seq": _NEWEST, "limit": limit}
        return tuple(await self._store.fetch("policy_activations_page", params))

    async def bundle(self) -> Bundle:
        """The bundle in force."""
        return await self._stored(self._active.digest)

    async def follow(self, poll_s: float) -> None:
        """Follow activations of other processes, for ever.

        A bundle that cannot be used here leaves the present one in force and is told in the log:
        it was checked where it was activated, so this process is the one that is wrong.
        """
        while True:
            await asyncio.sleep(poll_s)
            try:
                await self.catch_up()
            except Exception as error:
                # whatever it is: the present bundle stays in force, and the next turn tries again
                log.error("cannot follow the policy in force: %s", error)

    async def catch_up(self) -> None:
        """Put the newest activation in force here, if it is not yet.

        Raises:
            BundleInvalid: it cannot be used here.
            StoreUnavailable: the database did not answer.
        """
        async with self._one_at_a_time:
            row = await self._store.fetch_one("policy_newest", {})
            if row is not None and row["activation_seq"] != self._seq:
                await self._follow_to(row)

    async def _follow_to(self, row: Row) -> None:
        bundle = await self._stored(str(row["digest"]))
        self._trust.signer(bundle)
        await self._active.put(self._make(bundle))
        self._seq, self._version = _number(row, "activation_seq"), bundle.version

    async def _standing(self) -> tuple[int, int]:
        newest = await self._store.fetch_one("policy_newest", {})
        highest = await self._store.fetch_one("policy_highest_version", {})
        return (
            0 if newest is None else _number(newest, "activation_seq"),
            0 if highest is None else _number(highest, "version"),
        )

    async def _earlier(self, version: int | None) -> Row | None:
        if version is not None:
            return await self._store.fetch_one("policy_earlier", {"version": version})
        rows = await self._store.fetch(
            "policy_activations_page", {"before_seq": _NEWEST, "limit": 50}
        )
        return next((r for r in rows if r["digest"] != self._active.digest), None)

    async def _stored(self, digest: str) -> Bundle:
        row = await self._store.fetch_one("policy_bundle", {"digest": digest})
        if row is None:
            raise BundleInvalid("the bundle in force is not stored")
        texts = msgspec.json.decode(str(row["files"]), type=dict[str, str])
        bundle = Bundle.of({name: text.encode() for name, text in texts.items()})
        if bundle.digest != digest:
            raise BundleInvalid("the stored bundle is not what its digest says")
        return bundle

    async def _rehearse(self, files: Mapping[str, bytes]) -> None:
        results = await self._rehearsal.run(files)
        failed = [f"{r.name} ({r.detail})" for r in results if not r.passed]
        if failed or not results:
            raise BundleInvalid(f"{len(failed)} of its tests fail: {'; '.join(failed[:5])}")

    async def _record(
        self, bundle: Bundle, kind: str, signer: str, actor: str, note: str, previous_seq: int
    ) -> None:
        now_ms = self._clock.now_ms()
        texts = {name: content.decode() for name, content in bundle.files.items()}
        store = Statement(
            "policy_bundle_insert",
            {
                "digest": bundle.digest,
                "version": bundle.version,
                "files": msgspec.json.encode(texts).decode(),
                "now_ms": now_ms,
            },
            None,
        )
        activate = Statement(
            "policy_activation_insert",
            {
                "previous_seq": previous_seq,
                "digest": bundle.digest,
                "version": bundle.version,
                "kind": kind,
                "signer": signer,
                "actor": actor,
                "note": note,
                "now_ms": now_ms,
            },
            guard="policy.head",
        )
        action = "policy.rolled_back" if kind == "rollback" else "policy.activated"
        reasons = (f"version {bundle.version}", f"signed by {signer}", *([note] if note else ()))
        event = Event(
            timestamp_ms=now_ms,
            action=action,
            outcome=Outcome.SUCCESS,
            policy_digest=bundle.digest,
            decision_reasons=(*reasons, f"before: {self._active.digest or 'none'}"),
            actor_chain=(actor,),
        )
        try:
            done = await self._store.commit(UnitOfWork((store, activate), (event,)))
        except AlreadyExists:
            raise Conflict("changed_meanwhile", "another bundle was activated meanwhile") from None
        self._seq, self._version = _number(done[1][0], "activation_seq"), bundle.version

    async def _refused(self, why: str, actor: str) -> None:
        event = Event(
            timestamp_ms=self._clock.now_ms(),
            action="policy.refused",
            outcome=Outcome.REFUSED,
            policy_digest=self._active.digest or None,
            decision_reasons=(why[:1000],),
            actor_chain=(actor,),
        )
        await self._store.commit(UnitOfWork((), (event,)))


def _number(row: Row, column: str) -> int:
    value = row[column]
    if not isinstance(value, int):
        raise StoreUnavailable(f"{column} is no number")
    return value
