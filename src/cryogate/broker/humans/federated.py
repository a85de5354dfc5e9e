"""People whom an identity provider vouches for.

(1) a person is the provider's ``iss`` and ``sub``, which never change hands; the first sign-in
    links them to an operator's name, and the link is for good
(2) a name that an operator has already is never taken over: whoever gets the name ``admin`` at
    the provider does not become our ``admin``
(3) roles are what the claims say at every sign-in: who lost a group there has lost the role here,
    and with the last role every session
(4) the human behind the account is who the provider says: nobody approves the work of agents that
    they own under that name, and two accounts of one human are one voice (H3)
"""

from __future__ import annotations

from collections.abc import Mapping

from cryogate.broker.humans.claims import ClaimRules, name_of, person_of, roles_of
from cryogate.broker.humans.sessions import HumanSessions, Opening, human_event
from cryogate.broker.rows import names_text, operator_of, text
from cryogate.domain.errors import Conflict, Forbidden
from cryogate.domain.events import Event, Outcome
from cryogate.domain.humans import SignIn
from cryogate.ports.clock import Clock
from cryogate.ports.store import (
    AlreadyExists,
    GuardFailed,
    Row,
    SqlValue,
    Statement,
    Store,
    UnitOfWork,
)


class FederatedPeople:
    """See the module."""

    def __init__(
        self, store: Store, clock: Clock, sessions: HumanSessions, rules: ClaimRules
    ) -> None:
        self._store, self._clock = store, clock
        self._sessions, self._rules = sessions, rules

    async def sign_in(self, issuer: str, subject: str, claims: Mapping[str, object]) -> Opening:
        """A session for the person that ``issuer`` calls ``subject``.

        Raises:
            Forbidden: no role, no usable name, or not active any more.
            Conflict: the name is another operator's.
        """
        roles = roles_of(claims, self._rules)
        person: dict[str, SqlValue] = {"issuer": issuer, "subject": subject}
        row = await self._store.fetch_one("federated_person", person)
        now_ms = self._clock.now_ms()
        if row is None:
            if not roles:
                raise await self._no_role(subject)
            operator_id = name_of(claims, self._rules)
            before, events = self._link(operator_id, person, claims, roles, now_ms)
        else:
            operator_id = text(row, "operator_id")
            if not operator_of(row).active:
                raise Forbidden("operator_inactive", "this operator has no rights any more")
            before, events = self._renew(row, person, claims, roles, now_ms)
            if not roles:
                await self._commit((*before, self._sessions.ending(operator_id)), events)
                raise await self._no_role(subject)
        opening = self._sessions.opening(operator_id, SignIn.OIDC)
        signed_in = human_event(now_ms, "human.sign_in", operator_id, "method oidc")
        await self._commit((*before, *opening.statements), (*events, signed_in))
        return opening

    def _link(
        self,
        operator_id: str,
        person: Mapping[str, SqlValue],
        claims: Mapping[str, object],
        roles: frozenset[str],
        now_ms: int,
    ) -> tuple[tuple[Statement, ...], tuple[Event, ...]]:
        statements = (
            Statement(
                "operator_insert",
                {"operator_id": operator_id, "roles": names_text(roles), "created_ms": now_ms},
            ),
            Statement(
                "federated_person_insert",
                {**person, "operator_id": operator_id, "now_ms": now_ms},
            ),
            _is_person(operator_id, claims),
        )
        said = (f"issuer {person['issuer']}", *(f"role {role}" for role in sorted(roles)))
        return statements, (human_event(now_ms, "operator.created", operator_id, *said),)

    @staticmethod
    def _renew(
        row: Row,
        person: Mapping[str, SqlValue],
        claims: Mapping[str, object],
        roles: frozenset[str],
        now_ms: int,
    ) -> tuple[tuple[Statement, ...], tuple[Event, ...]]:
        operator_id, old, new = text(row, "operator_id"), text(row, "roles"), names_text(roles)
        seen = (
            Statement("federated_person_seen", {**person, "now_ms": now_ms}),
            _is_person(operator_id, claims),
        )
        if old == new:
            return seen, ()
        update = Statement(
            "operator_update",
            {
                "operator_id": operator_id,
                "active": 1,
                "roles": new,
                "old_active": 1,
                "old_roles": old,
            },
        )
        event = human_event(now_ms, "operator.updated", operator_id, f"roles: {old} -> {new}")
        return (*seen, update), (event,)

    async def _no_role(self, subject: str) -> Forbidden:
        event = human_event(
            self._clock.now_ms(), "human.sign_in", "none", f"no role for subject {subject[:128]}",
            outcome=Outcome.REFUSED, actor="unknown",
        )  # fmt: skip
        await self._store.commit(UnitOfWork((), (event,)))
        return Forbidden("no_role", "you are known to the identity provider, but have no role here")

    async def _commit(self, statements: tuple[Statement, ...], events: tuple[Event, ...]) -> None:
        try:
            await self._store.commit(UnitOfWork(statements, events))
        except AlreadyExists:  # (2)
            raise Conflict(
                "name_taken", "another operator has this name; ask an admin to sort it out"
            ) from None
        except GuardFailed:
            raise Conflict(
                "changed_meanwhile", "somebody changed this operator; try again"
            ) from None


def _is_person(operator_id: str, claims: Mapping[str, object]) -> Statement:
    return Statement(
        "operator_is_person", {"operator_id": operator_id, "person": person_of(claims)}
    )
