"""Whose yes counts, and why two accounts are never two people.

(1) A voter is an active operator with the role that the terms demand; ``admin`` includes
    ``approver``, and no other role.
(2) Nobody approves the work of an agent that it owns, nor a request that it made itself: not
    under its account's name, and not under the name of the person behind the account.
(3) One person has one vote, whatever account gives it.
(4) What is read here is only advice: the statements that accept and use an approval count again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from cryogate.domain.errors import Conflict, Forbidden
from cryogate.governance.approval_rows import ApprovalRecord
from cryogate.governance.people import person_key, require_operator, same_person
from cryogate.governance.rows import number, text
from cryogate.ports.store import ReadStore, Row

_PREFIX = "operator:"


@dataclass(frozen=True, slots=True)
class Voter:
    """An operator account and the person behind it."""

    operator_id: str
    person: str
    active: bool
    roles: frozenset[str]

    @property
    def names(self) -> tuple[str, ...]:
        """Everything by which this person is known here."""
        account = _PREFIX + self.operator_id
        return (account, self.person) if self.person else (account,)

    @property
    def key(self) -> str:
        """The person in the key of votes."""
        return person_key(self.person or self.operator_id)

    def may(self, role: str) -> bool:
        """(1) Whether a yes of this account counts where ``role`` is demanded."""
        return self.active and (
            role in self.roles or (role == "approver" and "admin" in self.roles)
        )

    def is_person(self, *names: str) -> bool:
        """Whether any of ``names`` must be taken for this person."""
        return any(same_person(mine, other) for mine in self.names for other in names)


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's yes, and the account as it is now."""

    voter: Voter
    note: str
    voted_ms: int


class Voters:
    """Reads accounts and votes."""

    def __init__(self, store: ReadStore, *, allow_self_approval: bool) -> None:
        self._store = store
        self._allow_self = allow_self_approval

    async def votes(self, approval_id: str) -> Sequence[Vote]:
        """The votes that were not taken back, oldest first; some may not count any more."""
        rows = await self._store.fetch("approval_votes", {"approval_id": approval_id})
        return tuple(
            Vote(
                voter_of(row, "operator_person"),
                text(row, "note"),
                number(row, "voted_ms"),
            )
            for row in rows
        )

    async def account(self, actor: str) -> Voter:
        """The account of ``actor``, an operator's client id.

        Raises:
            Forbidden: it is not an active operator's.
        """
        operator_id = require_operator(actor).removeprefix(_PREFIX)
        row = await self._store.fetch_one("approver", {"operator_id": operator_id})
        if row is None or row["active"] != 1:
            raise Forbidden("operators_only", "only an active operator may do this")
        return voter_of(row)

    async def approver(self, actor: str, role: str, owner: str, requested_by: str | None) -> Voter:
        """(1), (2) The account of ``actor``, who may say yes to this.

        Raises:
            Forbidden: it has not the role, or it would approve its own.
        """
        voter = await self.account(actor)
        if not voter.may(role):
            raise Forbidden("role_required", f"this needs an operator with the role {role}")
        if self._allow_self:
            return voter
        if voter.is_person(owner):
            raise Forbidden("self_approval", "the agent's owner cannot approve its work")
        asked_by_a_person = requested_by is not None and requested_by.startswith(_PREFIX)
        if asked_by_a_person and voter.is_person(str(requested_by)):
            raise Forbidden("self_approval", "who asked for this cannot approve it")
        return voter

    def counted(self, found: ApprovalRecord, votes: Sequence[Vote]) -> int:
        """How many votes count now: also who is known to be whom may have changed since."""
        role, owner = found.approval.role, found.owner
        standing = (vote.voter for vote in votes if vote.voter.may(role))
        return len({v.key for v in standing if self._allow_self or not v.is_person(owner)})


def own_vote(voter: Voter, votes: Sequence[Vote]) -> Vote | None:
    """(3) The vote that this person has given already, under this account.

    Raises:
        Conflict: the person has voted under another account.
    """
    for vote in votes:
        if vote.voter.operator_id == voter.operator_id:
            return vote
        if voter.is_person(*vote.voter.names):
            raise Conflict("already_voted", "this person has approved it under another account")
    return None


def voter_of(row: Row, person: str = "person") -> Voter:
    """The account in a row, with the name of the column that holds the person behind it."""
    roles = frozenset(msgspec.json.decode(text(row, "roles"), type=list[str]))
    return Voter(text(row, "operator_id"), text(row, person), row["active"] == 1, roles)
