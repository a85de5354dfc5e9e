"""Is this still allowed? Asked on every request."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import StrEnum

import msgspec

from cryogate.domain.errors import Unavailable
from cryogate.tokens.access import VerifiedToken


class StaleRevocations(Unavailable):
    """The view of revocations is older than its bound, so nobody is let through (R3)."""


class RevokedUnread(Unavailable):
    """A revocation is on record and stands, but this process could not read it back.

    Others read it on their own. This process tries on, and refuses everybody once its view is
    older than its bound (R3).
    """

    told = (
        "the revocation is on record and stands; this process has not read it back yet, and "
        "refuses everybody if it cannot soon: asking again is not needed"
    )


class RevokedKind(StrEnum):
    """What a revocation can name. ``ALL`` is the global switch; its subject is ``*``."""

    TOKEN = "token"  # noqa: S105 - a kind of subject
    SESSION = "session"
    AGENT = "agent"
    EXPERIMENT = "experiment"
    OWNER = "owner"
    KEY = "key"  # the thumbprint of a client's key: by it or bound to it, nothing is good again
    ALL = "all"


class Subject(msgspec.Struct, frozen=True):
    """Everything by which a caller could have been revoked.

    ``key`` is the thumbprint that the token is bound to. ``ancestors`` are the tokens that it was
    delegated from and ``delegators`` the agents that did: a child is dead with any of them (T9).
    """

    token_id: str
    agent_id: str
    owner: str
    experiment_id: str
    issued_ms: int
    session_id: str | None = None
    key: str | None = None
    ancestors: tuple[str, ...] = ()
    delegators: tuple[str, ...] = ()

    @staticmethod
    def of(token: VerifiedToken) -> Subject:
        """Everything by which ``token`` could have been revoked."""
        return Subject(
            token.token_id,
            token.client_id,
            token.owner,
            "" if token.grant is None else token.grant.experiment_id,
            token.issued_ms,
            None,
            token.jkt or token.x5t,
            token.ancestors,
            token.chain[:-1],
        )


class RevocationView(ABC):
    """This process's view of all revocations."""

    @abstractmethod
    def revoked(self, subject: Subject) -> RevokedKind | None:
        """What revokes ``subject``, or None. Synchronous and cheap: called on every request.

        A revocation of an agent, owner, experiment or everything ends all tokens issued up to
        its time; a token issued later (after re-enablement) is a new decision. A key that was
        revoked stays so.

        Raises:
            StaleRevocations: the view is older than its bound.
        """

    @abstractmethod
    async def refresh(self) -> None:
        """Read everything up to now. Returns when this process enforces it."""
