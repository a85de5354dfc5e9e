"""Policy bundles: who may sign them, which one is in force, and the engine that reads it."""

from __future__ import annotations

from pathlib import Path

from cryogate.policies import Bundle, OpaEngine, RegorusEngine, shipped_bundle
from cryogate.policies.activation import PolicyDesk, Trust
from cryogate.policies.authzen_engine import AuthzenEngine, read_token
from cryogate.policies.guarded import GuardedEngine
from cryogate.policies.history import QuestionHistory
from cryogate.policies.rehearsal import Rehearsal
from cryogate.policies.signing import trusted_keys
from cryogate.policies.tools import PolicyTools
from cryogate.ports.policy import PolicyEngine
from cryogate.server.authzen_routes import AuthzenRoutes
from cryogate.server.endpoints import Endpoint
from cryogate.server.policy_routes import PolicyRoutes
from cryogate.server.policy_tool_routes import PolicyToolRoutes
from cryogate.wiring.ground import Ground


class Policies:
    """The bundle in force, and the operators' endpoints about it."""

    def __init__(self, ground: Ground) -> None:
        config, store, clock = ground.config, ground.store, ground.clock
        keys_file = config.policy_keys
        trust = Trust(
            keys=trusted_keys(keys_file) if keys_file.exists() else {},
            shipped_digest=Bundle.load(shipped_bundle()).digest,
            insecure_unsigned=config.policy.insecure_unsigned,
        )
        self._ground = ground
        self._first: Path = config.bundle
        self._rehearsal = Rehearsal()
        self.desk = PolicyDesk(store, clock, ground.policy, self._open, self._rehearsal, trust)

    def _open(self, bundle: Bundle) -> PolicyEngine:
        policy = self._ground.config.policy
        if policy.engine == "opa":
            return OpaEngine(policy.opa_url, bundle, policy.timeout_ms)
        if policy.engine == "guarded":
            return GuardedEngine(bundle, policy.timeout_ms)
        embedded = RegorusEngine(bundle)
        if policy.engine == "authzen":
            token = read_token(Path(policy.authzen_token_file)) if policy.authzen_token_file else ""
            return AuthzenEngine(policy.authzen_url, embedded, policy.timeout_ms, token)
        return embedded

    async def start(self) -> None:
        """Put the bundle in force.

        Raises:
            BundleInvalid: none that is trusted can be used; the text says why.
        """
        await self.desk.start(lambda: Bundle.load(self._first))

    async def follow(self) -> None:
        """Follow what other processes activate."""
        await self.desk.follow(self._ground.config.policy.poll_ms / 1000)

    async def close(self) -> None:
        """Close the engine, and end the worker that runs bundles on trial."""
        await self._ground.policy.close()
        await self._rehearsal.close()

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What operators ask and change about policy."""
        ground = self._ground
        history = QuestionHistory(ground.store, lambda: ground.devices)
        tools = PolicyTools(ground.store, ground.clock, ground.policy, self.desk, history,
                            self._rehearsal)  # fmt: skip
        return (
            *PolicyRoutes(ground.policy, self.desk).endpoints(),
            *PolicyToolRoutes(tools).endpoints(),
            *AuthzenRoutes(ground.policy, ground.base_url).endpoints(),
        )
