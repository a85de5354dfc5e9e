"""Ending rights: durable first, then enforced here, then acknowledged.

 (1) who or what is named is made unable to get new tokens: agents are set inactive, experiments
     closed. `Registry.update_agent` or reopening the experiment is the way back.
 (2) the revocation row, under the lock that keeps the feed in order
 (3) the event; (1) to (3) commit together
 (4) this process's view is read up to now
 (5) only then does the caller get an answer

Why no token slips through (R5): issuing takes share locks on the rows that (1) changes. An issue
before (1) has committed when (2) looks, and (2) dates the revocation no earlier than the newest
token; an issue after (1) finds the row inactive and issues nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryogate.broker.authn import ClientAuthenticator
from cryogate.broker.oauth import OAuthError, invalid_client, only
from cryogate.broker.rows import OPERATOR_PREFIX, number
from cryogate.domain.errors import Malformed, NotFound
from cryogate.domain.events import Event, Outcome
from cryogate.ports.clock import Clock
from cryogate.ports.revocations import RevocationView, RevokedKind
from cryogate.ports.store import AlreadyExists, Row, Statement, Store, UnitOfWork
from cryogate.tokens.access import AccessTokenVerifier, VerifiedToken
from cryogate.tokens.errors import TokenError

# The longest token life, and slack for clocks that differ between processes.
KEEP_MS: Final = 3_600_000 + 600_000
MAX_REASON: Final = 1000
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


@dataclass(frozen=True, slots=True)
class _Target:
    """What a revocation needs to know of its subject."""

    disable: Statement | None
    until_ms: int
    event: Mapping[str, str]


class RevocationService:
    """See the module. ``verifiers`` are those of every audience (for RFC 7009)."""

    def __init__(
        self,
        store: Store,
        view: RevocationView,
        clock: Clock,
        clients: ClientAuthenticator,
        verifiers: tuple[AccessTokenVerifier, ...],
    ) -> None:
        self._store, self._view, self._clock = store, view, clock
        self._clients, self._verifiers = clients, verifiers

    async def revoke(self, kind: RevokedKind, subject: str, reason: str, actor: str) -> Revocation:
        """Revoke, and return once it is durable and enforced by this process.

        Raises:
            NotFound: there is no such token, session, agent, operator or experiment.
            Malformed: the reason is too long, or the subject of `RevokedKind.ALL` is not ``*``.
        """
        if len(reason) > MAX_REASON or not reason.strip():
            raise Malformed("malformed_reason", f"give a reason of at most {MAX_REASON} characters")
        now_ms = self._clock.now_ms()
        target = await self._target(kind, subject, now_ms)
        return await self._commit(kind, subject, reason, actor, target, now_ms)

    async def revoke_token(self, form: Mapping[str, str], endpoint: str) -> None:
        """RFC 7009: a client ends a token of its own. Unknown tokens are no error (section 2.2).

        Raises:
            OAuthError: the client is not authenticated, or the request is not well-formed.
        """
        only(form, _FORM)
        client = await self._clients.authenticate(form, endpoint)
        if not form.get("token"):
            raise OAuthError("invalid_request", "token is missing")
        verified = own_token(self._verifiers, form["token"], client.client_id)
        if verified is None:
            await self._spend(client.use)
            return
        target = _Target(None, verified.expires_ms, {"token_id": verified.token_id})
        actor, now_ms = client.client_id, self._clock.now_ms()
        try:
            await self._commit(
                RevokedKind.TOKEN, verified.token_id, "revoked by its client", actor, target,
                now_ms, (client.use,),
            )  # fmt: skip
        except AlreadyExists:
            raise invalid_client("the assertion was used before") from None

    async def page(self, before: int | None = None, limit: int = 100) -> tuple[Row, ...]:
        """Revocations, newest first, older than the ``rev_seq`` given."""
        cursor = 2**62 if before is None else before
        rows = await self._store.fetch("revocations_page", {"before": cursor, "limit": limit})
        return tuple(rows)

    async def _spend(self, use: Statement) -> None:
        try:
            await self._store.commit(UnitOfWork((use,)))
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
    ) -> Revocation:
        covering = kind not in (RevokedKind.TOKEN, RevokedKind.SESSION)
        insert = Statement(
            "revocation_insert_covering" if covering else "revocation_insert",
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
        disable = () if target.disable is None else (target.disable,)  # (1)
        event = Event(  # (3)
            timestamp_ms=now_ms,
            action="revocation.created",
            outcome=Outcome.SUCCESS,
            decision_reasons=(f"{kind.value} {subject}", reason),
            actor_chain=(actor,),
            **target.event,  # type: ignore[arg-type]
        )
        work = UnitOfWork((*first, *disable, order, insert), (event,))  # (2)
        row = (await self._store.commit(work))[-1][0]
        await self._view.refresh()  # (4)
        return Revocation(  # (5)
            number(row, "rev_seq"), kind, subject, target.until_ms, reason, actor,
            number(row, "created_ms"),
        )  # fmt: skip

    async def _target(self, kind: RevokedKind, subject: str, now_ms: int) -> _Target:
        keep_ms, by_subject = now_ms + KEEP_MS, {"subject": subject}
        match kind:
            case RevokedKind.TOKEN:
                row = await self._need("token_by_id", {"token_id": subject}, kind)
                known = {"token_id": subject, **_texts(row, "agent_id", "experiment_id")}
                return _Target(None, number(row, "expires_ms"), known)
            case RevokedKind.SESSION:
                row = await self._need("revocation_target_session", by_subject, kind)
                known = {"session_id": subject, **_texts(row, "agent_id", "experiment_id")}
                return _Target(None, number(row, "expires_ms"), known)
            case RevokedKind.AGENT if subject.startswith(OPERATOR_PREFIX):
                name = subject.removeprefix(OPERATOR_PREFIX)
                await self._need("operator_by_id", {"operator_id": name}, kind)
                return _Target(_disable("revoke_operator", name), keep_ms, {})
            case RevokedKind.AGENT:
                row = await self._need("agent_by_id", {"agent_id": subject}, kind)
                known = {"agent_id": subject, "human_owner": str(row["owner"])}
                return _Target(_disable("revoke_agent", subject), keep_ms, known)
            case RevokedKind.EXPERIMENT:
                await self._need("revocation_target_experiment", by_subject, kind)
                known = {"experiment_id": subject}
                return _Target(_disable("revoke_experiment", subject), keep_ms, known)
            case RevokedKind.OWNER:
                # An owner without agents may still be named: a token may be all that is left.
                if not 0 < len(subject) <= 128:
                    raise Malformed("malformed_subject", "owner has 1 to 128 characters")
                known = {"human_owner": subject}
                return _Target(_disable("revoke_owner", subject), keep_ms, known)
            case RevokedKind.ALL:
                if subject != "*":
                    raise Malformed("malformed_subject", "the subject of 'all' is *")
                return _Target(Statement("revoke_all", {}, rows=None), keep_ms, {})

    async def _need(self, query: str, params: Mapping[str, str], kind: RevokedKind) -> Row:
        row = await self._store.fetch_one(query, params)
        if row is None:
            raise NotFound("no_such_subject", f"there is no such {kind.value}")
        return row


def own_token(
    verifiers: tuple[AccessTokenVerifier, ...], token: str, client_id: str | None
) -> VerifiedToken | None:
    """The token, if it is genuine, in its time and (unless None) ``client_id``'s."""
    for verifier in verifiers:
        try:
            verified = verifier.verify(token)
        except TokenError:
            continue
        return verified if client_id in (None, verified.client_id) else None
    return None


def _disable(name: str, subject: str) -> Statement:
    return Statement(name, {"subject": subject}, rows=None)


def _texts(row: Row, *columns: str) -> dict[str, str]:
    return {name: str(row[name]) for name in columns if row[name]}
