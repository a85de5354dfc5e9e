"""Who are you, and is it still allowed: the broker's parts and the check of every request."""

from __future__ import annotations

from pathlib import Path

from cryogate.broker.authn import DAY_MS, KeyAge
from cryogate.broker.client_keys import ClientKeys
from cryogate.broker.credentials import Credentials
from cryogate.broker.device import DeviceFlow
from cryogate.broker.enrolment import Invitations
from cryogate.broker.federation import Federation
from cryogate.broker.introspect import Introspection
from cryogate.broker.issue import TokenService
from cryogate.broker.key_keeper import KeyKeeper
from cryogate.broker.key_rotation import KeyRotation
from cryogate.broker.metadata import SELF_SIGNED, TLS_CLIENT_AUTH, VERIFICATION_PATH
from cryogate.broker.possession import Possession
from cryogate.broker.registry import Registry
from cryogate.broker.replicas import Replicas
from cryogate.broker.revocation_view import FollowedRevocations
from cryogate.broker.revoke import RevocationService
from cryogate.broker.shared_proofs import SharedProofs
from cryogate.broker.status_list import StatusLists, StatusPlaces
from cryogate.broker.watched_clients import WatchedClients
from cryogate.config import Config, ConfigError
from cryogate.outbound.addresses import networks
from cryogate.server.endpoints import Endpoint
from cryogate.server.enrolment_routes import EnrolmentRoutes
from cryogate.server.introspection_routes import IntrospectionRoutes
from cryogate.server.oauth_routes import OAuthRoutes
from cryogate.server.peers import PeerCertificates
from cryogate.server.registry_routes import RegistryRoutes
from cryogate.server.resource_auth import ResourceAuth
from cryogate.tokens.access import ADMIN_AUDIENCE, GATEWAY_AUDIENCE, AccessTokenVerifier
from cryogate.tokens.certificates import Authorities
from cryogate.tokens.dpop import ProofVerifier
from cryogate.tokens.guard import ResourceGuard
from cryogate.tokens.nonces import NonceSource
from cryogate.tokens.replay import ReplayWindow
from cryogate.wiring.ground import Ground
from cryogate.wiring.people import People
from cryogate.wiring.signing import signing_keys
from cryogate.wiring.ssf import SharedSignals
from cryogate.wiring.watch import Watch

_ALONE_MS = 10_000


class Identity:
    """The broker, and `auth`, which every endpoint with a token goes through."""

    def __init__(self, ground: Ground, watch: Watch) -> None:
        config, store, clock = ground.config, ground.store, ground.clock
        base_url = ground.base_url
        self.keys = keys = signing_keys(ground)
        self.keeper = KeyKeeper(keys, clock, config.signing.rotation_days * DAY_MS)
        max_age_ms = config.revocations.max_age_ms
        # SQLite admits one process: there is nobody to tell, and nobody to wait for. What it has
        # not read, nobody has written, so a process that stood still for a while need not refuse.
        self.replicas = None
        if config.store_url.startswith("sqlite:"):
            max_age_ms = max(max_age_ms, _ALONE_MS)
        else:
            self.replicas = Replicas(store, clock, ground.replica_id, max_age_ms)
        self.revocations = FollowedRevocations(
            store, clock, max_age_ms=max_age_ms, replicas=self.replicas
        )
        self.registry = Registry(store, clock)
        self.people = People(ground, self.revocations)
        trust = None if ground.tls is None else ground.tls.trust
        self.credentials = Credentials(store, clock, trust)
        nonces, mode = NonceSource(), _nonce_mode(config)
        self.shared_proofs = None
        if mode != "off":
            self.shared_proofs = SharedProofs(store, ground.sealer, clock, nonces)
        proofs = ProofVerifier(
            clock_ms=clock.now_ms,
            replay=ReplayWindow(not_before_s=clock.now_ms() // 1000),
            nonces=nonces,
            max_age_s=config.tokens.proof_window_s,
            require_nonce=mode != "off",
            shared=self.shared_proofs,
            prefer_shared=mode == "shared",
        )
        verifiers = tuple(
            AccessTokenVerifier(
                issuer=base_url,
                audience=audience,
                public_jwks=keys.public_jwks,
                generation=keys.generation,
                clock_ms=clock.now_ms,
                insecure_bearer=config.tokens.insecure_bearer,
            )
            for audience in (GATEWAY_AUDIENCE, ADMIN_AUDIENCE)
        )
        self.peers = peers = PeerCertificates(
            networks(config.server.proxies), config.server.proxy_cert_header
        )
        self.auth = ResourceAuth(
            agents=ResourceGuard(verifiers[0], proofs),
            operators=ResourceGuard(verifiers[1], proofs),
            revocations=self.revocations,
            find_operator=self.registry.find_operator,
            base_url=base_url,
            peers=peers,
            rate=watch.clients,
            signals=watch.signals,
            people=self.people.auth,
        )
        clients = WatchedClients(
            store,
            clock,
            base_url,
            authorities=_authorities(config),
            federation=Federation(ground.issuers, clock),
            key_age=KeyAge(
                config.clients.key_max_age_days * DAY_MS,
                config.clients.key_warning_days * DAY_MS,
            ),
            signals=watch.signals,
            take=None if watch.clients is None else watch.clients.take,
        )
        possession = Possession(proofs)
        self.devices = devices = DeviceFlow(store, clock, possession, base_url + VERIFICATION_PATH)
        self._enrolment = EnrolmentRoutes(
            self.registry,
            Invitations(store, clock, possession),
            devices,
            KeyRotation(store, clock, clients, possession),
            base_url,
        )
        revoking = RevocationService(
            store, self.revocations, clock, clients, verifiers, self.replicas
        )
        self.ssf = SharedSignals(ground, watch, self.people, revoking, keys)
        self._oauth = OAuthRoutes(
            tokens=TokenService(
                store=store,
                policy=ground.tracing.policy(ground.policy),
                signer=ground.tracing.signer(keys),
                clients=clients,
                proofs=proofs,
                clock=clock,
                issuer=base_url,
                denials=ground.denials,
                default_ttl_s=config.tokens.default_ttl_s,
                max_ttl_s=config.tokens.max_ttl_s,
                signals=watch.signals,
                places=StatusPlaces(store, clock, base_url),
                view=self.revocations,
                tokens=verifiers[0],
                max_depth=config.tokens.max_delegation_depth,
                insecure_bearer=config.tokens.insecure_bearer,
                devices=devices,
            ),
            revocations=revoking,
            keys=keys,
            store=store,
            clock=clock,
            issuer=base_url,
            peers=peers,
            tls_methods=_tls_methods(config),
            replicas=self.replicas,
        )
        self._introspection_routes = IntrospectionRoutes(
            Introspection(
                store,
                clients,
                verifiers,
                self.revocations,
                signer=keys,
                clock=clock,
                issuer=base_url,
            ),
            StatusLists(store, keys, self.revocations, clock, base_url),
            self.auth,
            peers,
            base_url,
        )
        self._registry_routes = RegistryRoutes(
            self.registry,
            ClientKeys(store, clock, self.revocations),
            self.credentials,
        )

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What the broker serves."""
        return (
            *self._enrolment.endpoints(),
            *self._oauth.endpoints(),
            *self._introspection_routes.endpoints(),
            *self.ssf.endpoints(),
            *self._registry_routes.endpoints(),
        )


def _nonce_mode(config: Config) -> str:
    """SQLite admits one process, whose memory is enough; PostgreSQL may serve several."""
    if config.tokens.require_nonce != "auto":
        return config.tokens.require_nonce
    return "off" if config.store_url.startswith("sqlite:") else "shared"


def _tls_methods(config: Config) -> tuple[str, ...]:
    """The ways of RFC 8705 that are open: certificates must be able to arrive."""
    server = config.server
    if server.client_certs == "off" and not server.proxies:
        return ()
    return (TLS_CLIENT_AUTH, SELF_SIGNED) if server.client_ca else (SELF_SIGNED,)


def _authorities(config: Config) -> Authorities | None:
    """Those whose word about a client's certificate is taken.

    Raises:
        ConfigError: the file cannot be used.
    """
    path = config.server.client_ca
    if not path:
        return None
    try:
        return Authorities(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"server.client_ca: {path} holds no PEM certificates") from error
