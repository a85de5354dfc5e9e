"""Simulator first: an agent reaches hardware by a promotion, and a promotion needs evidence.

Every agent begins in stage ``simulator``, and no command sets another stage. An operator asks for
the promotion; the request carries what the agent ran, what was refused to it, and what its work
would have cost on each real backend of its experiments. Another human decides about exactly that
evidence (its digest is part of the terms); the stage moves in the unit of work of the decision.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from cryogate.circuits.stored_facts import read_facts
from cryogate.domain.agents import Stage
from cryogate.domain.approvals import PromotionTerms, evidence_digest
from cryogate.domain.errors import Conflict, NotFound
from cryogate.governance.approvals import SqlApprovals
from cryogate.governance.people import require_note, require_operator
from cryogate.governance.rows import number, text
from cryogate.ports.audit import rfc3339
from cryogate.ports.clock import Clock
from cryogate.ports.pricing import PriceBook, Unpriced
from cryogate.ports.provider import Backend
from cryogate.ports.store import GuardFailed, Row, Store, UnitOfWork

WINDOW_MS: Final = 30 * 86_400_000
_JOBS, _DENIALS, _NAMED = 1000, 500, 20


class Promotions:
    """Gathers evidence and asks. ``devices`` are the backends that there are."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        approvals: SqlApprovals,
        prices: PriceBook,
        devices: Callable[[], Mapping[str, Backend]],
    ) -> None:
        self._store, self._clock, self._approvals = store, clock, approvals
        self._prices, self._devices = prices, devices

    async def evidence(self, agent_id: str) -> dict[str, Any]:
        """What is known of the agent's work so far.

        Raises:
            NotFound: there is no such agent.
        """
        agent, now_ms = await self._agent(agent_id), self._clock.now_ms()
        simulators = {name for name, device in self._devices().items() if device.simulator}
        runs = await self._store.fetch("promotion_runs", {"agent_id": agent_id})
        return {
            "as_of": rfc3339(now_ms),
            "tier": text(agent, "tier"),
            "roles": msgspec.json.decode(text(agent, "roles")),
            "attributes": msgspec.json.decode(text(agent, "attributes")),
            "known_since": rfc3339(number(agent, "created_ms")),
            "ran": [
                {
                    "backend": text(row, "backend"),
                    "simulator": text(row, "backend") in simulators,
                    "state": text(row, "state"),
                    "jobs": number(row, "jobs"),
                    "shots": number(row, "shots"),
                    "circuits": number(row, "circuits"),
                }
                for row in runs[:_NAMED]
            ],
            "denied": await self._denied(agent_id),
            "projected": await self._projected(agent_id, simulators, now_ms),
        }

    async def request(self, agent_id: str, actor: str, reason: str) -> str:
        """Ask for the agent's promotion to hardware as ``actor``; the id of the request.

        Raises:
            NotFound: there is no such agent.
            Conflict: it is on hardware, has asked already, has run nothing on a simulator yet, is
                not active, or has too many requests open.
        """
        require_operator(actor)
        require_note(reason)
        agent, now_ms = await self._agent(agent_id), self._clock.now_ms()
        if agent["stage"] != Stage.SIMULATOR:
            raise Conflict("promoted_already", "the agent is on stage hardware already")
        waiting = await self._store.fetch_one(
            "promotion_waiting", {"agent_id": agent_id, "now_ms": now_ms}
        )
        if waiting is not None:
            raise Conflict("asked_already", f"{waiting['approval_id']} asks for it already")
        evidence = await self.evidence(agent_id)
        if not any(run["simulator"] and run["state"] == "done" for run in evidence["ran"]):
            raise Conflict("no_evidence", "the agent has finished no job on a simulator yet")
        shown = msgspec.json.encode(evidence, order="sorted").decode()
        terms = PromotionTerms(
            agent_id=agent_id,
            from_stage="simulator",
            to_stage="hardware",
            evidence_sha256=evidence_digest(shown),
        )
        approval_id, statements, events = self._approvals.open(
            terms, None, text(agent, "owner"), reason, now_ms, evidence=shown, requested_by=actor
        )
        try:
            await self._store.commit(UnitOfWork(statements, events))
        except GuardFailed as failed:
            [told] = self._approvals.explain(failed.guard) or (None,)
            hint = told.hint if told is not None else failed.guard
            raise Conflict("not_possible_now", hint) from failed
        return approval_id

    async def _agent(self, agent_id: str) -> Row:
        row = await self._store.fetch_one("agent_by_id", {"agent_id": agent_id})
        if row is None:
            raise NotFound("no_such_agent", "there is no such agent")
        return row

    async def _denied(self, agent_id: str) -> dict[str, Any]:
        rows = await self._store.fetch(
            "promotion_denials", {"agent_id": agent_id, "limit": _DENIALS}
        )
        why: Counter[str] = Counter()
        for row in rows:
            event = msgspec.json.decode(text(row, "body"), type=dict[str, Any])
            why.update(str(reason)[:100] for reason in event.get("decision_reasons") or ())
        return {
            "requests": len(rows),
            "or_more": len(rows) == _DENIALS,
            "reasons": dict(why.most_common(_NAMED)),
        }

    async def _projected(
        self, agent_id: str, simulators: set[str], now_ms: int
    ) -> list[dict[str, Any]]:
        """What the simulator work of the last thirty days would have cost on real backends."""
        rows = await self._store.fetch(
            "promotion_jobs",
            {"agent_id": agent_id, "since_ms": now_ms - WINDOW_MS, "limit": _JOBS},
        )
        work = [
            (read_facts(text(row, "facts")), number(row, "shots"))
            for row in rows
            if row["backend"] in simulators
        ]
        found = []
        for name in sorted(await self._allowed(agent_id, now_ms) - simulators)[:_NAMED]:
            try:
                quotes = [self._prices.quote(name, facts, shots).bound for facts, shots in work]
            except Unpriced:
                found.append({"backend": name, "jobs": len(work), "cents": None})
                continue
            found.append(
                {
                    "backend": name,
                    "jobs": len(work),
                    "cents": sum(quote.cents for quote in quotes),
                    "currency": quotes[0].currency if quotes else None,
                }
            )
        return found

    async def _allowed(self, agent_id: str, now_ms: int) -> set[str]:
        rows = await self._store.fetch(
            "promotion_backends",
            {"now_ms": now_ms, "agent_pattern": f'%"{agent_id}"%'},
        )
        return {
            name
            for row in rows
            if agent_id in msgspec.json.decode(text(row, "allowed_agents"), type=list[str])
            for name in msgspec.json.decode(text(row, "allowed_backends"), type=list[str])
        }
