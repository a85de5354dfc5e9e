"""What every other part stands on: configuration, clock, store, secrets and policy."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

from cryogate.audit.opening import Opener
from cryogate.audit.sealing import SealingStore
from cryogate.config import Config, ConfigError
from cryogate.config.sections import Outbound
from cryogate.credentials import EnvelopeSealer, MasterKey
from cryogate.gateway.devices import DeviceRegistry
from cryogate.governance.denials import RecentDenials
from cryogate.governance.pricing import DataPriceBook
from cryogate.outbound.addresses import networks
from cryogate.outbound.fetcher import Fetcher
from cryogate.outbound.hooks import Hooks
from cryogate.outbound.issuers import IssuerKeys
from cryogate.policies.active import ActivePolicy
from cryogate.ports.clock import Clock, monotonic_ms
from cryogate.ports.provider import Backend, Provider
from cryogate.providers import PROVIDERS, Setup
from cryogate.server.tls import ServerTls
from cryogate.storage import open_notices, open_store
from cryogate.wiring.tracing import Tracing
from cryogate.wiring.vendor_limits import check_currencies, check_times, open_book


class Ground:
    """The adapters: each one knows one thing outside. ``base_url`` is the issuer."""

    def __init__(
        self, config: Config, base_url: str, clock: Clock, keys: tuple[MasterKey, ...]
    ) -> None:
        self.config = config
        self.base_url = base_url
        self.clock = clock
        self.sealer = EnvelopeSealer(*keys)
        # Whoever writes an event writes it through here, so none can forget to seal it (L5).
        self.store = SealingStore(open_store(config.store_url, clock), self.sealer, clock)
        self.opener = Opener(self.store, self.store.keys)
        self.notices = open_notices(config.store_url)
        # This process's name in claims and among the replicas. SQLite admits one process, so a
        # restart may take its predecessor's claims back at once; on PostgreSQL another replica may
        # be alive under any name but a fresh one.
        single = config.store_url.startswith("sqlite:")
        self.replica_id = "single" if single else secrets.token_hex(8)
        self.tracing = Tracing(config, self.replica_id)
        # Denies everything until `Deployment.open` has put a bundle in force.
        self.policy = ActivePolicy()
        self.denials = RecentDenials()
        self.fetcher = open_fetcher(config.outbound)
        self.hooks = open_hooks(config.notify.webhook_hosts)
        self.issuers = IssuerKeys(self.fetcher, monotonic_ms)
        server = config.server
        self.tls: ServerTls | None = None
        if server.tls_cert:
            self.tls = open_tls(server.tls_cert, server.tls_key, server.client_certs,
                                server.client_ca)  # fmt: skip
        self.book = open_book(config)
        check_times(config, self.book)
        check_currencies(config, self.book)
        self.providers = open_providers(config, clock, self.book)
        self.registry = DeviceRegistry(
            self.providers, clock, stale_ms=config.providers.stale_s * 1000
        )

    @property
    def devices(self) -> Mapping[str, Backend]:
        """The devices that there are, by name."""
        return self.registry.devices()


def open_hooks(hosts: Sequence[str]) -> Hooks:
    """Where agents' and experiments' webhooks may lead.

    Raises:
        ConfigError: an entry is no host.
    """
    try:
        return Hooks(hosts)
    except ValueError as error:
        raise ConfigError(f"notify.webhook_hosts: {error}") from error


def open_fetcher(outbound: Outbound) -> Fetcher:
    """The door to addresses that others name.

    Raises:
        ConfigError: the file of authorities cannot be used.
    """
    try:
        return Fetcher(
            allowed=networks(outbound.private_networks),
            ca_file=outbound.ca_file or None,
            timeout_s=outbound.timeout_ms / 1000,
            max_bytes=outbound.max_bytes,
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"outbound.ca_file: {error}") from error


def open_tls(cert: str, key: str, client_certs: str, client_ca: str) -> ServerTls:
    """The listener's TLS.

    Raises:
        ConfigError: a file cannot be used.
    """
    try:
        return ServerTls(cert, key, client_certs=client_certs, client_ca=client_ca)
    except (OSError, ValueError) as error:
        raise ConfigError(f"server.tls_cert, tls_key or client_ca: {error}") from error


def open_providers(config: Config, clock: Clock, book: DataPriceBook) -> dict[str, Provider]:
    """The local simulators, and every vendor that is enabled.

    Raises:
        ConfigError: a vendor that there is no adapter for, or one that cannot be set up.
    """
    enabled = dict.fromkeys(("local", *config.providers.enabled))
    unknown = sorted(set(enabled) - set(PROVIDERS))
    if unknown:
        known = ", ".join(sorted(set(PROVIDERS) - {"local"}))
        raise ConfigError(f"providers.enabled: there is no {unknown[0]}; there are {known}")
    return {scheme: PROVIDERS[scheme](Setup(config, clock, book)) for scheme in enabled}
