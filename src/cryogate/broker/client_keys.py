"""Public keys of clients: by them, and by nothing else, a client proves who it is.

A key is one client's only, so nobody can speak for another by registering the same key twice.
Removing a key ends the tokens that are bound to it in the same unit of work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from cryogate.broker.rows import OPERATOR_PREFIX, agent_of, number, text
from cryogate.domain.agents import Agent
from cryogate.domain.errors import Conflict, Malformed, NotFound, Unavailable
from cryogate.domain.events import Event, Outcome
from cryogate.ports.clock import Clock
from cryogate.ports.revocations import RevocationView, RevokedUnread
from cryogate.ports.store import (
    AlreadyExists,
    GuardFailed,
    SqlValue,
    Statement,
    Store,
    UnitOfWork,
)
from cryogate.tokens.errors import TokenError
from cryogate.tokens.keys import CLIENT_ALGS, PublicKey, load_public

MAX_KEYS: Final = 8
# The longest token life, and slack for clocks that differ between processes.
KEEP_MS: Final = 3_600_000 + 600_000


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A public key of a client. ``kid`` is its RFC 7638 thumbprint."""

    kid: str
    jwk: Mapping[str, str]
    created_ms: int


class ClientKeys:
    """Keys of agents, and of operators as ``operator:NAME``. ``actor`` is who asks."""

    def __init__(self, store: Store, clock: Clock, view: RevocationView) -> None:
        self._store = store
        self._clock = clock
        self._view = view

    async def list(self, client_id: str) -> Sequence[ClientKey]:
        """The client's keys, oldest first; none for a client that does not exist."""
        rows = await self._store.fetch("client_keys_by_client", {"client_id": client_id})
        return tuple(
            ClientKey(
                text(row, "kid"),
                msgspec.json.decode(text(row, "jwk"), type=dict[str, str]),
                number(row, "created_ms"),
            )
            for row in rows
        )

    async def add(self, client_id: str, jwk: Mapping[str, object], *, actor: str) -> ClientKey:
        """Register one more public key.

        Raises:
            NotFound: there is no such client.
            Malformed: not an acceptable public key.
            Conflict: registered already, another client's, or there are `MAX_KEYS` of them.
        """
        agent, about = await self._client(client_id)
        key, now_ms = client_key(jwk), self._clock.now_ms()
        event = registry_event(
            now_ms, "key.added", actor, agent, reasons=(*about, f"kid {key.kid}")
        )
        try:
            await self._store.commit(UnitOfWork((insert_key(now_ms, client_id, key),), (event,)))
        except AlreadyExists:
            raise Conflict("already_exists", "this key is registered already") from None
        except GuardFailed:
            raise Conflict(
                "key_refused",
                f"the key is another client's or revoked, or there are {MAX_KEYS} keys already",
            ) from None
        return ClientKey(key.kid, key.jwk(), now_ms)

    async def remove(self, client_id: str, kid: str, *, actor: str) -> None:
        """Remove a key, and end every token that is bound to it.

        Raises:
            NotFound: the client has no such key.
        """
        agent, about = await self._client(client_id)
        now_ms = self._clock.now_ms()
        event = registry_event(
            now_ms, "key.removed", actor, agent, reasons=(*about, f"kid {kid[:64]}")
        )
        # The key goes first: an issue that holds it is waited for, a later one finds it gone, so
        # the third statement sees every token there will ever be for it.
        statements = (
            Statement("client_key_delete", {"client_id": client_id, "kid": kid}),
            Statement("revocation_order", {}, rows=None),
            *tokens_of_key(kid, client_id, "key removed", actor, now_ms),
        )
        try:
            await self._store.commit(UnitOfWork(statements, (event,)))
        except GuardFailed:
            raise NotFound("no_such_key", "the client has no such key") from None
        try:
            await self._view.refresh()
        except Unavailable as error:
            raise RevokedUnread("the removal of a key is not read back") from error

    async def _client(self, client_id: str) -> tuple[Agent | None, tuple[str, ...]]:
        if client_id.startswith(OPERATOR_PREFIX):
            name = client_id.removeprefix(OPERATOR_PREFIX)
            row = await self._store.fetch_one("operator_by_id", {"operator_id": name})
            if row is not None:
                return None, (f"operator {name}",)
        else:
            row = await self._store.fetch_one("agent_by_id", {"agent_id": client_id})
            if row is not None:
                return agent_of(row), ()
        raise NotFound("no_such_client", "there is no such client")


def client_key(jwk: Mapping[str, object]) -> PublicKey:
    """The public key in ``jwk``, of a kind that clients may bring.

    Raises:
        Malformed: it is not.
    """
    try:
        return load_public(jwk, CLIENT_ALGS)
    except TokenError as error:
        raise Malformed("malformed_key", error.detail) from None


def insert_key(now_ms: int, client_id: str, key: PublicKey) -> Statement:
    """Guarded statement that registers ``key``."""
    return Statement(
        "client_key_insert",
        {
            "client_id": client_id,
            "kid": key.kid,
            "jwk": msgspec.json.encode(key.jwk()).decode(),
            "created_ms": now_ms,
            "max_keys": MAX_KEYS,
        },
        guard="key",
    )


def tokens_of_key(
    kid: str, client_id: str | None, reason: str, actor: str, now_ms: int
) -> tuple[Statement, ...]:
    """Statements that end every token of a key, and what was delegated from them."""
    common: dict[str, SqlValue] = {
        "kid": kid,
        "until_ms": now_ms + KEEP_MS,
        "reason": reason,
        "revoked_by": actor,
        "created_ms": now_ms,
    }
    return (
        Statement("revoke_tokens_of_key", {**common, "client_id": client_id}, rows=None),
        Statement(
            "mark_tokens_of_key",
            {"kid": kid, "client_id": client_id, "created_ms": now_ms},
            rows=None,
        ),
        descendants(reason, actor, now_ms, kid=kid),
    )


def descendants(reason: str, actor: str, now_ms: int, **of: str) -> Statement:
    """Statement that ends every token delegated from those that ``of`` names, at any depth:
    ``token_id``, ``agent_id``, ``owner`` or ``kid``.
    """
    params: dict[str, SqlValue] = {
        "token_id": None,
        "agent_id": None,
        "owner": None,
        "kid": None,
        **of,
        "until_ms": now_ms + KEEP_MS,
        "reason": reason,
        "revoked_by": actor,
        "created_ms": now_ms,
    }
    return Statement("revoke_descendants", params, rows=None)


def registry_event(
    now_ms: int, action: str, actor: str, agent: Agent | None, reasons: tuple[str, ...] = ()
) -> Event:
    """The event of a change that an operator made to a client."""
    return Event(
        timestamp_ms=now_ms,
        action=action,
        outcome=Outcome.SUCCESS,
        agent_id=None if agent is None else agent.agent_id,
        human_owner=None if agent is None else agent.owner,
        decision_reasons=tuple(reason[:1024] for reason in reasons) or None,
        actor_chain=(actor,),
    )
