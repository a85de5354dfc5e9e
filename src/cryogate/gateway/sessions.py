"""Sessions: a narrower room inside a token, which ends with the token at the latest."""

from __future__ import annotations

import msgspec

from cryogate.domain.decisions import Allow, Deny, Violation
from cryogate.domain.errors import Forbidden, NotFound
from cryogate.domain.events import Event, Outcome
from cryogate.domain.experiments import Release
from cryogate.domain.ids import SESSION, is_minted, new_id
from cryogate.gateway.caller import Caller
from cryogate.gateway.checks.policy import grant_facts, standing_facts
from cryogate.gateway.requests import SessionRequest
from cryogate.gateway.standing import number, read_standing, strings, text
from cryogate.ports.audit import rfc3339
from cryogate.ports.clock import Clock
from cryogate.ports.policy import PolicyEngine, Question
from cryogate.ports.store import GuardFailed, Row, Statement, Store, UnitOfWork


class OpenSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session as its agent sees it."""

    session_id: str
    experiment_id: str
    backends: tuple[str, ...]
    max_jobs: int
    results: str
    used_jobs: int
    state: str
    opened_at: str
    expires_at: str


class SessionService:
    """Open, look at and close sessions."""

    def __init__(self, store: Store, clock: Clock, policy: PolicyEngine) -> None:
        self._store = store
        self._clock = clock
        self._policy = policy

    async def open(self, caller: Caller, request: SessionRequest) -> OpenSession:
        """A session within the token's bounds; what is not asked for is taken from the token.

        Raises:
            Forbidden: a bound is wider than the token's, or the experiment is closed.
        """
        now_ms = self._clock.now_ms()
        grant = caller.grant
        standing = await read_standing(self._store, caller, None)
        backends = request.backends or grant.allowed_backends
        max_jobs = request.max_jobs or grant.max_jobs
        found = []
        extra = sorted(set(backends) - set(grant.allowed_backends))
        if extra:
            found.append(
                Violation(
                    "allowed_backends", grant.allowed_backends, tuple(extra), "narrow the backends"
                )
            )
        if max_jobs > grant.max_jobs:
            found.append(
                Violation("max_jobs", grant.max_jobs, max_jobs, f"ask for at most {grant.max_jobs}")
            )
        results = grant.results.narrowed(Release.AGGREGATES)
        if request.results is not None:
            results = Release(request.results)
        if results.narrowed(grant.results) is not results:
            hint = f"ask for {grant.results} or less"
            found.append(Violation("results", grant.results.value, results.value, hint))
        if not standing.experiment.is_open(now_ms) or not standing.agent.active:
            found.append(Violation("experiment.open", True, False, "use an open experiment"))
        agent, experiment = standing_facts(standing)
        decision = await self._policy.decide(
            Question(
                action="session:open",
                now_ms=now_ms,
                agent=agent,
                experiment=experiment,
                grant=grant_facts(caller),
            )
        )
        if isinstance(decision, Deny):
            found += [v for v in decision.violations if v not in found]
        session_id = new_id(SESSION)
        digest = decision.policy_digest
        event = _event(caller, "session.opened", session_id, now_ms, policy_digest=digest)
        if found or not isinstance(decision, Allow):
            refused = tuple(v.limit for v in found) or decision.reasons
            event = _event(caller, "session.refused", None, now_ms, refused, digest)
            await self._store.commit(UnitOfWork((), (event,)))
            raise Forbidden("not_allowed", "no such session: see violations and policy", found)
        expires_ms = min(
            caller.expires_ms,
            standing.experiment.closes_ms,
            now_ms + (request.ttl_s or 3600) * 1000,
        )
        await self._store.commit(
            UnitOfWork(
                (
                    Statement(
                        "open_session",
                        {
                            "session_id": session_id,
                            "token_id": caller.token_id,
                            "agent_id": caller.agent_id,
                            "experiment_id": grant.experiment_id,
                            "backends": msgspec.json.encode(sorted(set(backends))).decode(),
                            "max_jobs": max_jobs,
                            "now_ms": now_ms,
                            "expires_ms": expires_ms,
                            "results": results.value,
                        },
                    ),
                ),
                (event,),
            )
        )
        return await self.session(caller, session_id)

    async def session(self, caller: Caller, session_id: str) -> OpenSession:
        """One of the caller's sessions.

        Raises:
            NotFound: absent, or of another agent or experiment.
        """
        row = None
        if is_minted(session_id, SESSION):
            row = await self._store.fetch_one("session_by_id", {"session_id": session_id})
        if (
            row is None
            or row["agent_id"] != caller.agent_id
            or row["experiment_id"] != caller.grant.experiment_id
        ):
            raise NotFound("session_not_found", "no such session")
        return session_view(row)

    async def close(self, caller: Caller, session_id: str) -> OpenSession:
        """Close a session. Jobs that it accepted go on; no new ones come in.

        Raises:
            NotFound: absent, or of another agent or experiment.
        """
        await self.session(caller, session_id)
        close = Statement(
            "close_session",
            {
                "session_id": session_id,
                "agent_id": caller.agent_id,
                "experiment_id": caller.grant.experiment_id,
            },
        )
        event = _event(caller, "session.closed", session_id, self._clock.now_ms())
        try:
            await self._store.commit(UnitOfWork((close,), (event,)))
        except GuardFailed as failed:
            raise NotFound("session_not_found", "no such session") from failed
        return await self.session(caller, session_id)


def session_view(row: Row) -> OpenSession:
    """A row of the sessions table."""
    return OpenSession(
        session_id=text(row, "session_id"),
        experiment_id=text(row, "experiment_id"),
        backends=tuple(sorted(strings(text(row, "backends")))),
        max_jobs=number(row, "max_jobs"),
        results=text(row, "results"),
        used_jobs=number(row, "used_jobs"),
        state=text(row, "state"),
        opened_at=rfc3339(number(row, "opened_ms")),
        expires_at=rfc3339(number(row, "expires_ms")),
    )


def _event(
    caller: Caller,
    action: str,
    session_id: str | None,
    now_ms: int,
    reasons: tuple[str, ...] | None = None,
    policy_digest: str = "",
) -> Event:
    return Event(
        timestamp_ms=now_ms,
        action=action,
        outcome=Outcome.REFUSED if reasons else Outcome.SUCCESS,
        agent_id=caller.agent_id,
        human_owner=caller.owner,
        experiment_id=caller.grant.experiment_id,
        token_id=caller.token_id,
        session_id=session_id,
        policy_digest=policy_digest or None,
        decision_reasons=reasons,
        actor_chain=caller.actor_chain or None,
    )
