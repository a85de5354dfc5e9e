"""One-time codes: an operator invites an agent, whose machine makes a key and registers it.

 (1) the code is an id, by which it is found, and a secret of 130 bits, of which we keep the
     digest only; comparing takes the same time wherever they differ, and if there is no such id
 (2) the request carries a proof by the new key, so nobody registers a key that he does not hold
 (3) the code is good once, until it expires: that is decided by the update that spends it, in the
     unit of work that registers the key

Every failure has one answer, so nobody learns which codes there are.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryogate.broker.client_keys import ClientKey, insert_key, registry_event
from cryogate.broker.oauth import OAuthError, only
from cryogate.broker.possession import Possession
from cryogate.broker.registry import AgentDraft
from cryogate.broker.rows import agent_of, number, text
from cryogate.domain.agents import Agent
from cryogate.domain.errors import Conflict, Malformed, NotFound
from cryogate.domain.events import Event
from cryogate.domain.ids import new_secret
from cryogate.ports.clock import Clock
from cryogate.ports.store import AlreadyExists, GuardFailed, Statement, Store, UnitOfWork

MAX_TTL_S: Final = 7 * 86_400
MAX_OPEN: Final = 4
_CODE: Final = re.compile(r"cg-([0-9a-z]{10})-([0-9a-z]{26})", re.ASCII)
_FORM: Final = frozenset({"code"})


@dataclass(frozen=True, slots=True)
class Invitation:
    """An agent's one-time code, shown once. Times are epoch milliseconds."""

    agent: Agent
    code: str
    expires_ms: int


@dataclass(frozen=True, slots=True)
class Enrolled:
    """Whose key it is now."""

    agent_id: str
    key: ClientKey


class Invitations:
    """Steps (1) to (3). ``actor`` is the operator who asks."""

    def __init__(self, store: Store, clock: Clock, possession: Possession) -> None:
        self._store, self._clock, self._possession = store, clock, possession
        self._nothing = _digest(new_secret())

    async def invite(
        self, agent_id: str, ttl_s: int, *, actor: str, draft: AgentDraft | None = None
    ) -> Invitation:
        """A code for an agent that exists, or for the new one in ``draft``.

        Raises:
            NotFound: there is no such agent.
            Malformed: the code would live too long.
            Conflict: the agent exists already, is disabled, or has too many open codes.
        """
        if not 60 <= ttl_s <= MAX_TTL_S:
            raise Malformed("malformed_ttl", f"a code lives 60 to {MAX_TTL_S} seconds")
        agent = draft.agent if draft is not None else await self._agent(agent_id)
        if not agent.active:
            raise Conflict("agent_inactive", "the agent is disabled: enable it first")
        now_ms = self._clock.now_ms()
        place, secret = new_secret()[:10], new_secret()
        expires_ms = now_ms + ttl_s * 1000
        insert = Statement(
            "invitation_insert",
            {
                "invitation_id": place,
                "digest": _digest(secret),
                "agent_id": agent.agent_id,
                "invited_by": actor,
                "created_ms": now_ms,
                "expires_ms": expires_ms,
                "most": MAX_OPEN,
            },
            guard="invitation",
        )
        event = registry_event(now_ms, "agent.invited", actor, agent, (f"code cg-{place}-…",))
        statements = (*(draft.statements if draft else ()), insert)
        events = (*(draft.events if draft else ()), event)
        try:
            await self._store.commit(UnitOfWork(statements, events))
        except AlreadyExists:
            raise Conflict("already_exists", "this agent exists already") from None
        except GuardFailed:
            raise Conflict(
                "too_many_codes", f"the agent has {MAX_OPEN} open codes: let them expire"
            ) from None
        return Invitation(agent, f"cg-{place}-{secret}", expires_ms)

    async def enrol(self, form: Mapping[str, str], proof: str | None, endpoint: str) -> Enrolled:
        """Register the key that made ``proof`` for the agent whose code is in ``form``.

        Raises:
            OAuthError: ``invalid_grant`` for whatever is wrong with the code; or the proof does
                not hold; or the key cannot be registered.
        """
        only(form, _FORM)
        found = _CODE.fullmatch(form.get("code", ""))
        place, secret = found.groups() if found else ("", "")
        row = await self._store.fetch_one("invitation_by_id", {"invitation_id": place})  # (1)
        stored = self._nothing if row is None else text(row, "digest")
        same = hmac.compare_digest(stored, _digest(secret))
        key = await self._possession.key(proof, endpoint)  # (2)
        now_ms = self._clock.now_ms()
        spent = row is None or row["used_ms"] is not None or number(row, "expires_ms") <= now_ms
        if row is None or not same or spent:
            raise _no_good()
        agent = await self._agent(text(row, "agent_id"))
        event: Event = registry_event(
            now_ms,
            "agent.enrolled",
            agent.agent_id,
            agent,
            (f"code cg-{place}-…", f"kid {key.kid}"),
        )
        work = UnitOfWork(  # (3)
            (
                Statement(
                    "invitation_use", {"invitation_id": place, "now_ms": now_ms}, guard="code"
                ),
                insert_key(now_ms, agent.agent_id, key),
            ),
            (event,),
        )
        try:
            await self._store.commit(work)
        except GuardFailed as error:
            if error.guard == "key":
                raise OAuthError("invalid_request", "this key cannot be registered") from None
            raise _no_good() from None
        return Enrolled(agent.agent_id, ClientKey(key.kid, key.jwk(), now_ms))

    async def _agent(self, agent_id: str) -> Agent:
        row = await self._store.fetch_one("agent_by_id", {"agent_id": agent_id})
        if row is None:
            raise NotFound("no_such_agent", "there is no such agent")
        return agent_of(row)


def _digest(secret: str) -> str:
    # 130 random bits need no slow hash: there is nothing to guess
    return hashlib.sha256(secret.encode()).hexdigest()


def _no_good() -> OAuthError:
    return OAuthError("invalid_grant", "the code is not good: ask for a new one")
