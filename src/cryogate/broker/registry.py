"""Agents, operators and their public keys: who exists, and who says so.

Every change is one unit of work with the event that names the operator who made it. An agent is
never given a human's role (`AGENT_ROLES`), and a key belongs to one client only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from cryogate.broker.client_keys import (
    MAX_KEYS,
    client_key,
    descendants,
    insert_key,
    registry_event,
)
from cryogate.broker.registry_rules import (
    agent_roles,
    operator_roles,
    owner_name,
    plain_attributes,
)
from cryogate.broker.rows import (
    OPERATOR_PREFIX,
    agent_of,
    attributes_text,
    names_text,
    operator_of,
)
from cryogate.domain.agents import Agent, Operator, Role, Stage
from cryogate.domain.decisions import Scalar
from cryogate.domain.errors import Conflict, NotFound
from cryogate.domain.events import Event
from cryogate.domain.ids import require_slug
from cryogate.ports.clock import Clock
from cryogate.ports.store import (
    AlreadyExists,
    GuardFailed,
    SqlValue,
    Statement,
    Store,
    UnitOfWork,
)


@dataclass(frozen=True, slots=True)
class AgentDraft:
    """An agent as it will be, and what makes it so: statements (guard ``agent``) and events."""

    agent: Agent
    statements: tuple[Statement, ...]
    events: tuple[Event, ...]


class Registry:
    """See the module. ``actor`` is always the id of the operator who asks."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create_agent(
        self,
        *,
        agent_id: str,
        owner: str,
        tier: str,
        actor: str,
        roles: Collection[Role] = (Role.SUBMIT_ONLY,),
        attributes: Mapping[str, Scalar] | None = None,
        jwk: Mapping[str, object] | None = None,
    ) -> Agent:
        """A new, active agent in stage ``simulator``, with its first key if there is one.

        Raises:
            Malformed: a name, role, attribute or key is not acceptable.
            Conflict: the agent exists, or the key is another client's.
        """
        draft = self.draft_agent(
            agent_id=agent_id,
            owner=owner,
            tier=tier,
            actor=actor,
            roles=roles,
            attributes=attributes,
            jwk=jwk,
        )
        await self._commit(draft.statements, draft.events, "this agent exists already")
        return draft.agent

    def draft_agent(
        self,
        *,
        agent_id: str,
        owner: str,
        tier: str,
        actor: str,
        roles: Collection[Role] = (Role.SUBMIT_ONLY,),
        attributes: Mapping[str, Scalar] | None = None,
        jwk: Mapping[str, object] | None = None,
    ) -> AgentDraft:
        """What `create_agent` would commit, for a unit of work that does more.

        Raises:
            Malformed: as `create_agent`.
        """
        agent = Agent(
            agent_id=require_slug(agent_id, "agent_id"),
            owner=owner_name(owner),
            tier=require_slug(tier, "tier"),
            stage=Stage.SIMULATOR,
            active=True,
            roles=agent_roles(roles),
            attributes=plain_attributes(attributes or {}),
            created_ms=self._clock.now_ms(),
        )
        insert = Statement(
            "agent_insert",
            {
                "agent_id": agent.agent_id,
                "owner": agent.owner,
                "created_ms": agent.created_ms,
                **_changeable(agent),
            },
            guard="agent",
        )
        statements, events = (
            [insert],
            [registry_event(self._clock.now_ms(), "agent.created", actor, agent)],
        )
        if jwk is not None:
            key = client_key(jwk)
            statements.append(insert_key(self._clock.now_ms(), agent.agent_id, key))
            events.append(
                registry_event(
                    self._clock.now_ms(), "key.added", actor, agent, reasons=(f"kid {key.kid}",)
                )
            )
        return AgentDraft(agent, tuple(statements), tuple(events))

    async def update_agent(
        self,
        agent_id: str,
        *,
        actor: str,
        tier: str | None = None,
        stage: Stage | None = None,
        active: bool | None = None,
        roles: Collection[Role] | None = None,
        attributes: Mapping[str, Scalar] | None = None,
    ) -> Agent:
        """The agent with the given parts changed. Its owner never changes: register another agent.

        Raises:
            NotFound: there is no such agent.
            Malformed: a value is not acceptable.
            Conflict: somebody else changed it at the same time, or a promotion is due for this.
        """
        old = await self.agent(agent_id)
        if stage is Stage.HARDWARE and old.stage is not Stage.HARDWARE:
            raise Conflict(
                "promotion_required",
                "an agent reaches hardware by an approved promotion: cryogate agent promote",
            )
        new = replace(
            old,
            tier=old.tier if tier is None else require_slug(tier, "tier"),
            stage=old.stage if stage is None else stage,
            active=old.active if active is None else active,
            roles=old.roles if roles is None else agent_roles(roles),
            attributes=old.attributes if attributes is None else plain_attributes(attributes),
        )
        before, after = _changeable(old), _changeable(new)
        if before == after and new.active == old.active:
            return old
        params: dict[str, SqlValue] = {
            "agent_id": agent_id,
            **after,
            "active": int(new.active),
            **{f"old_{name}": value for name, value in before.items()},
            "old_active": int(old.active),
        }
        changes = tuple(
            f"{name}: {getattr(old, name)!s} -> {getattr(new, name)!s}"
            for name in ("tier", "stage", "active")
            if getattr(old, name) != getattr(new, name)
        )
        changes += tuple(
            f"{name}: {before[name]} -> {after[name]}"
            for name in ("roles", "attributes")
            if before[name] != after[name]
        )
        now_ms = self._clock.now_ms()
        event = registry_event(now_ms, "agent.updated", actor, new, reasons=changes)
        statements = [Statement("agent_update", params)]
        if old.active and not new.active:
            # Its own tokens are refused while it is inactive; what it delegated ends with it (T9).
            statements.append(Statement("revocation_order", {}, rows=None))
            statements.append(descendants("agent inactive", actor, now_ms, agent_id=agent_id))
        await self._commit(statements, [event], "")
        return new

    async def agent(self, agent_id: str) -> Agent:
        """The agent of this id.

        Raises:
            NotFound: there is none.
        """
        row = await self._store.fetch_one("agent_by_id", {"agent_id": agent_id})
        if row is None:
            raise NotFound("no_such_agent", "there is no such agent")
        return agent_of(row)

    async def agents(self, after: str = "", limit: int = 100) -> Sequence[Agent]:
        """Agents in order of their ids, beginning behind ``after``."""
        rows = await self._store.fetch("agents_page", {"after": after, "limit": limit})
        return tuple(map(agent_of, rows))

    async def create_operator(
        self,
        *,
        operator_id: str,
        roles: Collection[str],
        jwk: Mapping[str, object],
        actor: str,
    ) -> Operator:
        """A new, active operator with its first key.

        Raises:
            Malformed: a name, role or key is not acceptable.
            Conflict: the operator exists, or the key is another client's.
        """
        operator = Operator(
            operator_id=require_slug(operator_id, "operator_id"),
            active=True,
            roles=operator_roles(roles),
            created_ms=self._clock.now_ms(),
        )
        key = client_key(jwk)
        insert = Statement(
            "operator_insert",
            {
                "operator_id": operator_id,
                "roles": names_text(operator.roles),
                "created_ms": operator.created_ms,
            },
        )
        reasons = (f"operator {operator_id}", *(f"role {r}" for r in sorted(operator.roles)))
        await self._commit(
            [insert, insert_key(self._clock.now_ms(), OPERATOR_PREFIX + operator_id, key)],
            [
                registry_event(
                    self._clock.now_ms(), "operator.created", actor, None, reasons=reasons
                ),
                registry_event(
                    self._clock.now_ms(),
                    "key.added",
                    actor,
                    None,
                    reasons=(reasons[0], f"kid {key.kid}"),
                ),
            ],
            "this operator exists already",
        )
        return operator

    async def update_operator(
        self,
        operator_id: str,
        *,
        actor: str,
        active: bool | None = None,
        roles: Collection[str] | None = None,
    ) -> Operator:
        """The operator with the given parts changed.

        Raises:
            NotFound: there is no such operator.
            Malformed: a role does not exist.
            Conflict: somebody else changed it at the same time.
        """
        old = await self.operator(operator_id)
        new = replace(
            old,
            active=old.active if active is None else active,
            roles=old.roles if roles is None else operator_roles(roles),
        )
        if new == old:
            return old
        update = Statement(
            "operator_update",
            {
                "operator_id": operator_id,
                "active": int(new.active),
                "roles": names_text(new.roles),
                "old_active": int(old.active),
                "old_roles": names_text(old.roles),
            },
        )
        reasons = (
            f"operator {operator_id}",
            f"active: {old.active} -> {new.active}",
            f"roles: {names_text(old.roles)} -> {names_text(new.roles)}",
        )
        event = registry_event(
            self._clock.now_ms(), "operator.updated", actor, None, reasons=reasons
        )
        await self._commit([update], [event], "")
        return new

    async def operator(self, operator_id: str) -> Operator:
        """The operator of this id.

        Raises:
            NotFound: there is none.
        """
        found = await self.find_operator(operator_id)
        if found is None:
            raise NotFound("no_such_operator", "there is no such operator")
        return found

    async def find_operator(self, operator_id: str) -> Operator | None:
        """The operator of this id, or None."""
        row = await self._store.fetch_one("operator_by_id", {"operator_id": operator_id})
        return None if row is None else operator_of(row)

    async def operators(self, after: str = "", limit: int = 100) -> Sequence[Operator]:
        """Operators in order of their ids, beginning behind ``after``."""
        rows = await self._store.fetch("operators_page", {"after": after, "limit": limit})
        return tuple(map(operator_of, rows))

    async def _commit(
        self, statements: Sequence[Statement], events: Sequence[Event], exists: str
    ) -> None:
        try:
            await self._store.commit(UnitOfWork(tuple(statements), tuple(events)))
        except AlreadyExists as error:
            detail = "this key is registered already" if error.guard == "key" else exists
            raise Conflict("already_exists", detail) from None
        except GuardFailed as error:
            if error.guard == "key":
                raise Conflict(
                    "key_refused",
                    f"the key is another client's, or there are {MAX_KEYS} keys already",
                ) from None
            raise Conflict("changed_meanwhile", "somebody changed it: read it again") from None


def _changeable(agent: Agent) -> dict[str, str]:
    return {
        "tier": agent.tier,
        "stage": agent.stage.value,
        "roles": names_text(agent.roles),
        "attributes": attributes_text(agent.attributes),
    }
