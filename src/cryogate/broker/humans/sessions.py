"""Sessions of people: rows on the server, of which the browser holds only a secret.

(1) the secret is 256 random bits, made anew at every sign-in: nobody can plant one beforehand
(2) only its SHA-256 is stored: who reads the database cannot sign in
(3) a session ends when it is ended, after ``idle_ms`` without use, and after ``life_ms`` at all
(4) rights are read from the operator's row on every request, never remembered in the session
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryogate.broker.rows import OPERATOR_PREFIX, number, operator_of, text
from cryogate.domain.errors import NotFound
from cryogate.domain.events import Event, Outcome
from cryogate.domain.humans import HumanSession, SignIn
from cryogate.domain.ids import new_id
from cryogate.ports.clock import Clock
from cryogate.ports.store import GuardFailed, Row, SqlValue, Statement, Store, UnitOfWork

HUMAN_SESSION: Final = "hum"
# A session of a one-time password may only choose a password; that takes minutes.
ONE_TIME_LIFE_MS: Final = 10 * 60_000
# Writing every use down would make every look at a page a write.
_SEEN_EVERY_MS: Final = 30_000
_KEEP_MS: Final = 7 * 86_400_000
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Opening:
    """A session that begins when ``statements`` commit. ``secret`` is for the cookie alone."""

    secret: str
    session_id: str
    statements: tuple[Statement, ...]

    def __repr__(self) -> str:
        return f"Opening({self.session_id})"


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session as its owner sees it in a list."""

    session_id: str
    method: SignIn
    created_ms: int
    seen_ms: int
    expires_ms: int


def human_event(
    now_ms: int,
    action: str,
    operator_id: str,
    *reasons: str,
    outcome: Outcome = Outcome.SUCCESS,
    actor: str | None = None,
) -> Event:
    """An event about a person; ``actor`` is who acted, the person itself unless given."""
    return Event(
        timestamp_ms=now_ms,
        action=action,
        outcome=outcome,
        decision_reasons=(f"operator {operator_id}", *reasons),
        actor_chain=(actor or OPERATOR_PREFIX + operator_id,),
    )


class HumanSessions:
    """See the module."""

    def __init__(self, store: Store, clock: Clock, *, idle_ms: int, life_ms: int) -> None:
        self._store, self._clock = store, clock
        self._idle_ms, self._life_ms = idle_ms, life_ms

    def opening(self, operator_id: str, method: SignIn) -> Opening:
        """A new session, to be committed together with what made it right."""
        now_ms = self._clock.now_ms()
        secret, session_id = secrets.token_urlsafe(32), new_id(HUMAN_SESSION)
        life_ms = ONE_TIME_LIFE_MS if method is SignIn.ONE_TIME else self._life_ms
        insert = Statement(
            "human_session_insert",
            {
                "session_id": session_id,
                "secret_sha256": _digest(secret),
                "operator_id": operator_id,
                "method": method.value,
                "now_ms": now_ms,
                "expires_ms": now_ms + life_ms,
            },
        )
        forget = Statement(
            "human_sessions_forget",
            {"operator_id": operator_id, "before_ms": now_ms - _KEEP_MS},
            rows=None,
        )
        return Opening(secret, session_id, (insert, forget))

    async def find(self, secret: str) -> HumanSession | None:
        """The session of ``secret``, if it is one, is open, and its operator is active.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        if _SECRET.fullmatch(secret) is None:
            return None
        now_ms = self._clock.now_ms()
        row = await self._store.fetch_one(
            "human_session_by_secret",
            {
                "secret_sha256": _digest(secret),
                "now_ms": now_ms,
                "idle_before_ms": now_ms - self._idle_ms,
            },
        )
        if row is None:
            return None
        operator = operator_of(row)  # (4)
        if not operator.active:
            return None
        seen_ms = number(row, "seen_ms")
        if now_ms - seen_ms > min(_SEEN_EVERY_MS, self._idle_ms // 4):
            params: dict[str, SqlValue] = {"session_id": text(row, "session_id"), "now_ms": now_ms}
            seen = Statement("human_session_seen", params, rows=None)
            await self._store.commit(UnitOfWork((seen,)))
        info = _info(row)
        return HumanSession(
            info.session_id, operator, info.method, info.created_ms, seen_ms, info.expires_ms
        )

    async def of(self, operator_id: str) -> Sequence[SessionInfo]:
        """Open sessions of a person, newest first."""
        now_ms = self._clock.now_ms()
        params: dict[str, SqlValue] = {
            "operator_id": operator_id,
            "now_ms": now_ms,
            "idle_before_ms": now_ms - self._idle_ms,
        }
        return tuple(map(_info, await self._store.fetch("human_sessions_open", params)))

    async def end(self, session_id: str, operator_id: str, actor: str, why: str) -> None:
        """End one session of ``operator_id``.

        Raises:
            NotFound: that person has no such open session.
        """
        now_ms = self._clock.now_ms()
        statement = Statement(
            "human_session_end",
            {"session_id": session_id, "operator_id": operator_id, "now_ms": now_ms},
        )
        event = human_event(now_ms, "human.signed_out", operator_id, why, actor=actor)
        try:
            await self._store.commit(UnitOfWork((statement,), (event,)))
        except GuardFailed:
            raise NotFound("no_such_session", "there is no such open session") from None

    def ending(self, operator_id: str) -> Statement:
        """Ends all sessions of a person, as part of something larger."""
        return Statement(
            "human_sessions_end",
            {"operator_id": operator_id, "now_ms": self._clock.now_ms()},
            rows=None,
        )

    async def end_all(self, operator_id: str, actor: str, why: str) -> None:
        """End all sessions of a person now."""
        event = human_event(
            self._clock.now_ms(), "human.sessions_ended", operator_id, why, actor=actor
        )
        await self._store.commit(UnitOfWork((self.ending(operator_id),), (event,)))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("ascii")).hexdigest()


def _info(row: Row) -> SessionInfo:
    return SessionInfo(
        text(row, "session_id"),
        SignIn(text(row, "method")),
        number(row, "began_ms"),
        number(row, "seen_ms"),
        number(row, "expires_ms"),
    )
