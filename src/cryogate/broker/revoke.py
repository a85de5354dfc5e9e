"""Ending rights: durable first, then enforced here, then acknowledged.

 (1) who or what is named is made unable to get new tokens: agents are set inactive, experiments
     closed. `Registry.update_agent` or reopening the experiment is the way back.
 (2) the revocation row, under the lock that keeps the feed in order, and one for every token that
     was delegated from what is revoked: a child dies with its parent (T9)
 (3) the event; (1) to (3) commit together, and the notice to other replicas leaves with them
 (4) this process's view is read up to now
 (5) only then does the caller get an answer; who asked to wait for all gets it once every replica
     enforces the revocation or refuses everything (`cryogate.broker.replicas`)

Why no token slips through (R5): issuing takes share locks on the rows that (1) changes. An issue
before (1) has committed when (2) looks, and (2) dates the revocation no earlier than the newest
token; an issue after (1) finds the row inactive and issues nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from cryogate.broker.authn import Client, ClientAuthenticator
from cryogate.broker.client_keys import KEEP_MS, descendants, tokens_of_key
from cryogate.broker.oauth import OAuthError, invalid_client, only
from cryogate.broker.replicas import Reach, Replicas
from cryogate.broker.rows import OPERATOR_PREFIX, number, text
from cryogate.domain.errors import Malformed, NotFound, Unavailable
from cryogate.domain.events import Event, Outcome
from cryogate.ports.clock import Clock
from cryogate.ports.revocations import RevocationView, RevokedKind, RevokedUnread
from cryogate.ports.store import AlreadyExists, Row, Statement, Store, UnitOfWork
from cryogate.tokens.access import AccessTokenVerifier, VerifiedToken
from cryogate.tokens.certificates import PeerCertificate
from cryogate.tokens.errors import TokenError

# A key that was compromised is never good again. The last moment that RFC 3339 can write.
FOREVER_MS: Final = 253_402_300_799_999
MAX_REASON: Final = 1000
# These end what was issued up to their time; the others name what is dead for good.
_COVERING: Final = frozenset(
    {RevokedKind.AGENT, RevokedKind.EXPERIMENT, RevokedKind.OWNER, RevokedKind.ALL}
)
_THUMBPRINT: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_FORM: Final = frozenset(
    {"token", "token_type_hint", "client_assertion_type", "client_assertion", "client_id"}
)


@dataclass(frozen=True, slots=True)
class Revocation:
    """A revocation that is in force. Times are epoch milliseconds."""

    rev_seq: int
    kind: RevokedKind
    subject: str
    until_ms: int
    reason: str
    revoked_by: str
    created_ms: int
    reach: Reach | None = None


@dataclass(frozen=True, slots=True)
class _Target:
    """What a revocation needs to know of its subject, and what it has to change besides."""

    until_ms: int
    event: Mapping[str, str]
    before: tuple[Statement, ...] = ()
    after: tuple[Statement, ...] = ()


class RevocationService:
    """See the module. ``verifiers`` are those of every audience (for RFC 7009), ``replicas`` the
    other processes, where there may be some.
    """

    def __init__(
        self,
        store: Store,
        view: RevocationView,
        clock: Clock,
        clients: ClientAuthenticator,
        verifiers: tuple[AccessTokenVerifier, ...],
        replicas: Replicas | None = None,
    ) -> None:
        self._store, self._view, self._clock = store, view, clock
        self._clients, self._verifiers, self._replicas = clients, verifiers, replicas

    async def revoke(
        self,
        kind: RevokedKind,
        subject: str,
        reason: str,
        actor: str,
        *,
        wait_for_all: bool = False,
    ) -> Revocation:
        """Revoke, and return once it is durable and enforced by this process.

        With ``wait_for_all``: once no replica accepts what was revoked any more.

        Raises:
            NotFound: there is no such token, session, agent, operator or experiment.
            RevokedUnread: it is durable, but not known to be enforced by this process yet.
            Malformed: the reason is too long, the subject of `RevokedKind.ALL` is not ``*``, or
                that of `RevokedKind.KEY` is no thumbprint.
        """
        if len(reason) > MAX_REASON or not reason.strip():
            raise Malformed("malformed_reason", f"give a reason of at most {MAX_REASON} characters")
        now_ms = self._clock.now_ms()
        target = await self._target(kind, subject, reason, actor, now_ms)
        done, newest = await self._commit(kind, subject, reason, actor, target, now_ms)
        if not wait_for_all:
            return done
        reach = Reach((), ()) if self._replicas is None else await self._replicas.reached(newest)
        return replace(done, reach=reach)

    async def revoke_token(
        self, form: Mapping[str, str], endpoint: str, peer: PeerCertificate | None = None
    ) -> None:
        """RFC 7009: a client ends a token of its own. Unknown tokens are no error (section 2.2).

        Raises:
            OAuthError: the client is not authenticated, or the request is not well-formed.
        """
        only(form, _FORM)
        client = await self._clients.authenticate(form, endpoint, peer)
        if not form.get("token"):
            raise OAuthError("invalid_request", "token is missing")
        verified = own_token(self._verifiers, form["token"], client.client_id)
        if verified is None:
            await self._spend(client)
            return
        actor, now_ms = client.client_id, self._clock.now_ms()
        reason = "revoked by its client"
        target = _token_target(verified.token_id, verified.expires_ms, {}, reason, actor, now_ms)
        try:
            await self._commit(
                RevokedKind.TOKEN, verified.token_id, reason, actor, target, now_ms, client.uses
            )  # fmt: skip
        except AlreadyExists:
            raise invalid_client("the assertion was used before") from None

    async def page(self, before: int | None = None, limit: int = 100) -> tuple[Row, ...]:
        """Revocations, newest first, older than the ``rev_seq`` given."""
        cursor = 2**62 if before is None else before
        rows = await self._store.fetch("revocations_page", {"before": cursor, "limit": limit})
        return tuple(rows)

    async def _spend(self, client: Client) -> None:
        try:
            await self._store.commit(UnitOfWork(client.uses))
        except AlreadyExists:
            raise invalid_client("the assertion was used before") from None

    async def _commit(
        self,
        kind: RevokedKind,
        subject: str,
        reason: str,
        actor: str,
        target: _Target,
        now_ms: int,
        first: tuple[Statement, ...] = (),
    ) -> tuple[Revocation, int]:
        """The revocation, and the ``rev_seq`` up to which the feed has to be enforced for it."""
        insert = Statement(
            "revocation_insert_covering" if kind in _COVERING else "revocation_insert",
            {
                "kind": kind.value,
                "subject": subject,
                "until_ms": target.until_ms,
                "reason": reason,
                "revoked_by": actor,
                "created_ms": now_ms,
            },
        )
        order = Statement("revocation_order", {}, rows=None)
        event = Event(  # (3)
            timestamp_ms=now_ms,
            action="revocation.created",
            outcome=Outcome.SUCCESS,
            decision_reasons=(f"{kind.value} {subject}", reason),
            actor_chain=(actor,),
            **target.event,  # type: ignore[arg-type]
        )
        begin = (*first, *target.before, order)  # (1)
        work = UnitOfWork((*begin, insert, *target.after), (event,))  # (2)
        rows = (await self._store.commit(work))[len(begin) :]
        try:
            await self._view.refresh()  # (4)
        except Unavailable as error:
            raise RevokedUnread(f"revocation of {kind} {subject} is not read back") from error
        row = rows[0][0]
        newest = max(number(r, "rev_seq") for answers in rows for r in answers)
        done = Revocation(  # (5)
            number(row, "rev_seq"), kind, subject, target.until_ms, reason, actor,
            number(row, "created_ms"),
        )  # fmt: skip
        return done, newest

    async def _target(
        self, kind: RevokedKind, subject: str, reason: str, actor: str, now_ms: int
    ) -> _Target:
        keep_ms, by_subject = now_ms + KEEP_MS, {"subject": subject}

        def children(**of: str) -> tuple[Statement, ...]:
            return (descendants(reason, actor, now_ms, **of),)

        match kind:
            case RevokedKind.TOKEN:
                row = await self._need("token_by_id", {"token_id": subject}, kind)
                known = _texts(row, "agent_id", "experiment_id")
                ends_ms = max(number(row, "expires_ms"), keep_ms)
                return _token_target(subject, ends_ms, known, reason, actor, now_ms)
            case RevokedKind.SESSION:
                row = await self._need("revocation_target_session", by_subject, kind)
                known = {"session_id": subject, **_texts(row, "agent_id", "experiment_id")}
                return _Target(number(row, "expires_ms"), known)
            case RevokedKind.AGENT if subject.startswith(OPERATOR_PREFIX):
                name = subject.removeprefix(OPERATOR_PREFIX)
                await self._need("operator_by_id", {"operator_id": name}, kind)
                return _Target(keep_ms, {}, _disable("revoke_operator", name))
            case RevokedKind.AGENT:
                row = await self._need("agent_by_id", {"agent_id": subject}, kind)
                known = {"agent_id": subject, "human_owner": str(row["owner"])}
                before = _disable("revoke_agent", subject)
                return _Target(keep_ms, known, before, children(agent_id=subject))
            case RevokedKind.EXPERIMENT:
                await self._need("revocation_target_experiment", by_subject, kind)
                known = {"experiment_id": subject}
                return _Target(keep_ms, known, _disable("revoke_experiment", subject))
            case RevokedKind.OWNER:
                # An owner without agents may still be named: a token may be all that is left.
                if not 0 < len(subject) <= 128:
                    raise Malformed("malformed_subject", "owner has 1 to 128 characters")
                before = _disable("revoke_owner", subject)
                return _Target(keep_ms, {"human_owner": subject}, before, children(owner=subject))
            case RevokedKind.KEY:
                # Nobody need hold the key now: it may be banned before it comes.
                if _THUMBPRINT.fullmatch(subject) is None:
                    raise Malformed("malformed_subject", "a key is named by its thumbprint (kid)")
                holder = await self._store.fetch_one("revocation_target_key", by_subject)
                client_id = "" if holder is None else text(holder, "client_id")
                known = {"agent_id": client_id} if client_id and ":" not in client_id else {}
                after = tokens_of_key(subject, None, reason, actor, now_ms)
                return _Target(FOREVER_MS, known, _disable("revoke_key", subject), after)
            case RevokedKind.ALL:
                if subject != "*":
                    raise Malformed("malformed_subject", "the subject of 'all' is *")
                return _Target(keep_ms, {}, (Statement("revoke_all", {}, rows=None),))

    async def _need(self, query: str, params: Mapping[str, str], kind: RevokedKind) -> Row:
        row = await self._store.fetch_one(query, params)
        if row is None:
            raise NotFound("no_such_subject", f"there is no such {kind.value}")
        return row


def own_token(
    verifiers: tuple[AccessTokenVerifier, ...], token: str, client_id: str | None
) -> VerifiedToken | None:
    """The token, if it is genuine, in its time and (unless None) ``client_id``'s, or delegated by
    it: who gave a sub-agent a token may look at it and end it.
    """
    for verifier in verifiers:
        try:
            verified = verifier.verify(token)
        except TokenError:
            continue
        concerned = (None, verified.client_id, *verified.chain)
        return verified if client_id in concerned else None
    return None


def _token_target(
    token_id: str, until_ms: int, known: Mapping[str, str], reason: str, actor: str, now_ms: int
) -> _Target:
    lock = Statement("revoke_token", {"subject": token_id, "now_ms": now_ms}, rows=None)
    after = (descendants(reason, actor, now_ms, token_id=token_id),)
    return _Target(until_ms, {"token_id": token_id, **known}, (lock,), after)


def _disable(name: str, subject: str) -> tuple[Statement, ...]:
    return (Statement(name, {"subject": subject}, rows=None),)


def _texts(row: Row, *columns: str) -> dict[str, str]:
    return {name: str(row[name]) for name in columns if row[name]}
