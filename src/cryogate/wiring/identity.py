"""Who are you, and is it still allowed: the broker's parts and the check of every request."""

from __future__ import annotations

from cryogate.broker.authn import ClientAuthenticator
from cryogate.broker.client_keys import ClientKeys
from cryogate.broker.introspect import Introspection
from cryogate.broker.issue import TokenService
from cryogate.broker.keys import KeyRing
from cryogate.broker.registry import Registry
from cryogate.broker.replicas import Replicas
from cryogate.broker.revocation_view import FollowedRevocations
from cryogate.broker.revoke import RevocationService
from cryogate.server.endpoints import Endpoint
from cryogate.server.oauth_routes import OAuthRoutes
from cryogate.server.registry_routes import RegistryRoutes
from cryogate.server.resource_auth import ResourceAuth
from cryogate.tokens.access import ADMIN_AUDIENCE, GATEWAY_AUDIENCE, AccessTokenVerifier
from cryogate.tokens.dpop import ProofVerifier
from cryogate.tokens.guard import ResourceGuard
from cryogate.tokens.nonces import NonceSource
from cryogate.tokens.replay import ReplayWindow
from cryogate.wiring.ground import Ground


class Identity:
    """The broker, and `auth`, which every endpoint with a token goes through."""

    def __init__(self, ground: Ground) -> None:
        config, store, clock = ground.config, ground.store, ground.clock
        base_url = ground.base_url
        self.keys = keys = KeyRing(store, ground.sealer, clock)
        max_age_ms = config.revocations.max_age_ms
        # SQLite admits one process: there is nobody to tell, and nobody to wait for.
        self.replicas = None
        if not config.store_url.startswith("sqlite:"):
            self.replicas = Replicas(store, clock, ground.replica_id, max_age_ms)
        self.revocations = FollowedRevocations(
            store, clock, max_age_ms=max_age_ms, replicas=self.replicas
        )
        self.registry = Registry(store, clock)
        proofs = ProofVerifier(
            clock_ms=clock.now_ms,
            replay=ReplayWindow(not_before_s=clock.now_ms() // 1000),
            nonces=NonceSource(),
            max_age_s=config.tokens.proof_window_s,
        )
        verifiers = tuple(
            AccessTokenVerifier(
                issuer=base_url,
                audience=audience,
                public_jwks=keys.public_jwks,
                generation=keys.generation,
                clock_ms=clock.now_ms,
            )
            for audience in (GATEWAY_AUDIENCE, ADMIN_AUDIENCE)
        )
        self.auth = ResourceAuth(
            agents=ResourceGuard(verifiers[0], proofs),
            operators=ResourceGuard(verifiers[1], proofs),
            revocations=self.revocations,
            find_operator=self.registry.find_operator,
            base_url=base_url,
        )
        clients = ClientAuthenticator(store, clock, base_url)
        self._oauth = OAuthRoutes(
            tokens=TokenService(
                store=store,
                policy=ground.policy,
                signer=keys,
                clients=clients,
                proofs=proofs,
                clock=clock,
                issuer=base_url,
                denials=ground.denials,
                default_ttl_s=config.tokens.default_ttl_s,
                max_ttl_s=config.tokens.max_ttl_s,
                view=self.revocations,
                tokens=verifiers[0],
                max_depth=config.tokens.max_delegation_depth,
            ),
            revocations=RevocationService(
                store, self.revocations, clock, clients, verifiers, self.replicas
            ),
            introspection=Introspection(store, clients, verifiers, self.revocations),
            keys=keys,
            store=store,
            clock=clock,
            issuer=base_url,
            replicas=self.replicas,
        )
        self._registry_routes = RegistryRoutes(
            self.registry, ClientKeys(store, clock, self.revocations)
        )

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What the broker serves."""
        return (*self._oauth.endpoints(), *self._registry_routes.endpoints())
