"""Accounts of our own: for the first start, and for places without an identity provider.

The order of a sign-in, and why guessing gets nowhere:

 (1) a try is counted *before* the password is looked at, in a statement that names the count it
     was made from: a thousand parallel guesses are one guess
 (2) from the fifth failure on the next try must wait, twice as long each time, up to a minute. Not
     longer: who knows a name must not be able to lock its owner out for good
 (3) whatever is wrong, name, password, too early or expired, the answer is the same one, costs one
     hash and comes no sooner than `REFUSAL_S` after the question: nobody learns who has an account
 (4) a one-time password is *spent* by the sign-in that uses it. What it opens can do nothing but
     choose a password, and ends after minutes; what stood on a terminal is worth nothing then
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from cryogate.broker.humans.passwords import (
    MAX_LENGTH,
    PasswordHasher,
    one_time_password,
    require_acceptable,
)
from cryogate.broker.humans.sessions import HumanSessions, Opening, human_event
from cryogate.broker.registry_rules import OPERATOR_ROLES, owner_name
from cryogate.broker.rows import names_text, number, operator_of, text
from cryogate.domain.errors import Conflict, Forbidden, Malformed, NotFound, Unauthenticated
from cryogate.domain.events import Event, Outcome
from cryogate.domain.humans import HumanSession, SignIn
from cryogate.domain.ids import is_slug, require_slug
from cryogate.domain.secrets import Secret
from cryogate.ports.clock import Clock
from cryogate.ports.store import (
    AlreadyExists,
    GuardFailed,
    Row,
    Statement,
    Store,
    UnitOfWork,
)

ONE_TIME_MS: Final = 24 * 3_600_000
REFUSAL_S: Final = 0.4
_FREE_FAILURES: Final = 5
_FIRST_WAIT_MS, _LONGEST_WAIT_MS = 1_000, 60_000


class SignInRefused(Unauthenticated):
    """One answer for everything that can be wrong (3)."""

    def __init__(self) -> None:
        super().__init__(
            "sign_in_refused",
            "the name or the password is wrong; after several tries, wait a minute",
        )


@dataclass(frozen=True, slots=True)
class NewPassword:
    """A one-time password, to be shown once and to one person."""

    operator_id: str
    password: Secret


class LocalAccounts:
    """See the module."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        sessions: HumanSessions,
        hasher: PasswordHasher | None = None,
        *,
        refusal_s: float = REFUSAL_S,
    ) -> None:
        self._store, self._clock, self._sessions = store, clock, sessions
        self._hasher, self._refusal_s = hasher or PasswordHasher(), refusal_s

    async def any(self) -> bool:
        """Whether there is an account already."""
        return await self._store.fetch_one("local_accounts_any", {}) is not None

    async def create(
        self, operator_id: str, roles: Collection[str], actor: str, person: str = ""
    ) -> NewPassword:
        """A new operator who signs in with a one-time password. ``person`` as `is_person`.

        Raises:
            Malformed: no name, or roles that do not exist.
            Conflict: the operator exists.
        """
        require_slug(operator_id, "operator_id")
        if not roles or not set(roles) <= OPERATOR_ROLES:
            raise Malformed("role_refused", "operators are admin, approver or auditor")
        now_ms = self._clock.now_ms()
        operator = Statement(
            "operator_insert",
            {"operator_id": operator_id, "roles": names_text(roles), "created_ms": now_ms},
        )
        said = tuple(f"role {role}" for role in sorted(set(roles)))
        created = human_event(now_ms, "operator.created", operator_id, *said, actor=actor)
        before = (operator, _is_person(operator_id, person)) if person else (operator,)
        return await self._give(operator_id, actor, "local_account_insert", before, (created,))

    async def is_person(self, operator_id: str, person: str, actor: str) -> None:
        """Say which human is behind an account, by the name under which they may own agents: they
        approve none of those, and two accounts of one human are one voice (H3).

        Raises:
            Malformed: not a name that an owner could have.
            NotFound: no such operator.
        """
        statement = _is_person(operator_id, person)
        event = human_event(
            self._clock.now_ms(), "operator.updated", operator_id, f"person {person}", actor=actor
        )
        try:
            await self._store.commit(UnitOfWork((statement,), (event,)))
        except GuardFailed:
            raise NotFound("no_such_operator", "there is no such operator") from None

    async def enable(self, operator_id: str, actor: str) -> NewPassword:
        """A one-time password for an operator who has none yet.

        Raises:
            Conflict: there is an account.
        """
        return await self._give(operator_id, actor, "local_account_insert")

    async def reset(self, operator_id: str, actor: str) -> NewPassword:
        """A new one-time password; the old password and all sessions of the person are gone.

        Raises:
            NotFound: no such account.
        """
        try:
            return await self._give(
                operator_id, actor, "local_account_reset", (self._sessions.ending(operator_id),)
            )
        except GuardFailed:
            raise NotFound("no_such_account", "that operator has no password here") from None

    async def _give(
        self,
        operator_id: str,
        actor: str,
        statement: str,
        before: tuple[Statement, ...] = (),
        events: tuple[Event, ...] = (),
    ) -> NewPassword:
        now_ms, password = self._clock.now_ms(), one_time_password()
        give = Statement(
            statement,
            {
                "operator_id": operator_id,
                "password": await self._hasher.hash(password),
                "good_until_ms": now_ms + ONE_TIME_MS,
                "now_ms": now_ms,
            },
        )
        event = human_event(now_ms, "human.one_time_password", operator_id, actor=actor)
        try:
            await self._store.commit(UnitOfWork((*before, give), (*events, event)))
        except AlreadyExists:
            raise Conflict("already_exists", "this operator exists already") from None
        return NewPassword(operator_id, Secret(password.encode()))

    async def sign_in(self, operator_id: str, password: str) -> tuple[Opening, SignIn]:
        """A session for who knows the password.

        Raises:
            SignInRefused: anything is wrong.
            Unavailable: too many people sign in, or the database did not answer.
        """
        loop = asyncio.get_running_loop()
        due = loop.time() + self._refusal_s
        try:
            return await self._sign_in(operator_id, password)
        except SignInRefused:
            # a name that exists costs writes besides the hash: the floor hides them
            await asyncio.sleep(due - loop.time())
            raise

    async def _sign_in(self, operator_id: str, password: str) -> tuple[Opening, SignIn]:
        now_ms = self._clock.now_ms()
        row = None
        if is_slug(operator_id) and len(password) <= MAX_LENGTH:
            row = await self._store.fetch_one("local_account", {"operator_id": operator_id})
        counted = row is not None and await self._count(row, now_ms)  # (1), (2)
        form = text(row, "password") if row is not None and counted else None
        right = await self._hasher.verify(password[:MAX_LENGTH], form)  # (3)
        if row is None or not (counted and right and operator_of(row).active):
            if counted:
                refused = human_event(
                    now_ms, "human.sign_in", operator_id, outcome=Outcome.REFUSED, actor="unknown"
                )
                await self._store.commit(UnitOfWork((), (refused,)))
            raise SignInRefused
        one_time = number(row, "one_time") == 1
        method = SignIn.ONE_TIME if one_time else SignIn.PASSWORD
        opening = self._sessions.opening(operator_id, method)
        params = {"operator_id": operator_id, "password": text(row, "password")}
        settle = (
            Statement("local_account_spend", {**params, "now_ms": now_ms})  # (4)
            if one_time
            else Statement("local_account_signed_in", params)
        )
        event = human_event(now_ms, "human.sign_in", operator_id, f"method {method.value}")
        try:
            await self._store.commit(UnitOfWork((settle, *opening.statements), (event,)))
        except GuardFailed:
            raise SignInRefused from None
        return opening, method

    async def _count(self, row: Row, now_ms: int) -> bool:
        failures = number(row, "failures")
        over = failures + 1 - _FREE_FAILURES
        wait_ms = 0 if over < 0 else min(_LONGEST_WAIT_MS, _FIRST_WAIT_MS << min(over, 10))
        count = Statement(
            "local_account_try",
            {
                "operator_id": text(row, "operator_id"),
                "failures": failures,
                "now_ms": now_ms,
                "retry_ms": now_ms + wait_ms,
            },
        )
        try:
            await self._store.commit(UnitOfWork((count,)))
        except GuardFailed:
            return False
        return True

    async def choose(self, session: HumanSession, current: str, new: str) -> Opening:
        """Set the password of the session's person; every other session of theirs ends.

        ``current`` is not asked of a session that a one-time password opened.

        Raises:
            Malformed: the new password is too weak.
            SignInRefused: the current one is wrong.
            Forbidden: this person signs in elsewhere, or was given a new one-time password.
        """
        name = session.operator.operator_id
        row = await self._store.fetch_one("local_account", {"operator_id": name})
        if row is None:
            raise Forbidden("no_password", "you sign in at your identity provider, not here")
        now_ms, old = self._clock.now_ms(), text(row, "password")
        if session.must_choose_password:
            if old != "spent":
                raise Forbidden("password_superseded", "sign in with the newest password you have")
        else:
            counted = await self._count(row, now_ms)
            if not (await self._hasher.verify(current[:MAX_LENGTH], old if counted else None)):
                raise SignInRefused
        require_acceptable(new, name)
        chosen = Statement(
            "local_account_set",
            {
                "operator_id": name,
                "password": await self._hasher.hash(new),
                "old_password": old,
                "now_ms": now_ms,
            },
        )
        opening = self._sessions.opening(name, SignIn.PASSWORD)
        event = human_event(now_ms, "human.password_chosen", name)
        work = UnitOfWork((chosen, self._sessions.ending(name), *opening.statements), (event,))
        try:
            await self._store.commit(work)
        except GuardFailed:
            raise Forbidden(
                "password_superseded", "the password was changed meanwhile; sign in again"
            ) from None
        return opening


def _is_person(operator_id: str, person: str) -> Statement:
    return Statement(
        "operator_is_person", {"operator_id": operator_id, "person": owner_name(person)}
    )
