"""People at the console: who is signed in, and how they showed it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cryogate.domain.agents import Operator


class SignIn(StrEnum):
    """How a session began. ``one-time`` may do nothing but choose a password."""

    ONE_TIME = "one-time"
    PASSWORD = "password"  # noqa: S105 - a way to sign in
    OIDC = "oidc"


@dataclass(frozen=True, slots=True)
class HumanSession:
    """A person's session as it is on the server. Its secret is in the browser's cookie only."""

    session_id: str
    operator: Operator
    method: SignIn
    created_ms: int
    seen_ms: int
    expires_ms: int

    @property
    def must_choose_password(self) -> bool:
        """Whether this session is good for that and for nothing else."""
        return self.method is SignIn.ONE_TIME
