"""Secrets: the master key, vendors' secrets, and the leases that are given out of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from cryogate.audit.sealing import ScopeKeys
from cryogate.config import Config, ConfigError
from cryogate.config.secret_files import read_secret
from cryogate.credentials import (
    AwsSts,
    EmbeddedLeases,
    Entra,
    EnvelopeSealer,
    GooglePlaces,
    GoogleTokens,
    IbmIam,
    LeaseDesk,
    MasterKey,
    Nexus,
    StaticKeys,
    StoredSecrets,
    VaultClient,
    VaultDynamic,
    VaultLogin,
    VaultSecrets,
)
from cryogate.credentials.master_key import (
    KEY_VARIABLE,
    PASSPHRASE_VARIABLE,
    MasterKeyUnusable,
    from_file,
    from_passphrase,
    from_text,
    make_next,
    next_path,
    take,
)
from cryogate.domain.events import Event, Outcome
from cryogate.domain.secrets import Secret
from cryogate.gateway.leases import Leases
from cryogate.ports.clock import SystemClock
from cryogate.ports.credentials import LeaseSource, LeaseTerms, LeaseUnavailable, RootSecrets
from cryogate.ports.store import ReadStore, Statement, Store, UnitOfWork
from cryogate.providers import BraketProvider
from cryogate.providers.braket_policy import session_policy
from cryogate.providers.http import checked_url
from cryogate.server.endpoints import Endpoint
from cryogate.server.secret_routes import SecretRoutes
from cryogate.storage import open_store
from cryogate.wiring.ground import Ground
from cryogate.wiring.vendor_limits import tell
from cryogate.wiring.watch import Watch

_REWRAP = {
    "signing_key": "signing_key_rewrap",
    "vendor_secret": "vendor_secret_rewrap",
    "proof_place": "proof_place_rewrap",
    "scope_key": "scope_key_rewrap",
}


class Vault:
    """What stands between vendors' credentials and everybody else."""

    def __init__(self, ground: Ground, watch: Watch) -> None:
        store, clock = ground.store, ground.clock
        self.secrets = StoredSecrets(store, ground.sealer, clock)
        client = _vault(ground)
        kept: RootSecrets = self.secrets
        if client is not None:
            vault = ground.config.vault
            kept = VaultSecrets(client, vault.kv_mount, vault.kv_prefix)
        static = StaticKeys(kept, clock)
        sources: dict[str, LeaseSource] = {
            scheme: static for scheme in ground.providers if scheme != "local"
        }
        braket = ground.providers.get("braket")
        if isinstance(braket, BraketProvider):
            sources["braket"] = _sts(ground, kept, braket)
        if "ibm" in ground.providers:
            sources["ibm"] = IbmIam(
                secrets=kept,
                clock=clock,
                url=checked_url(ground.config.ibm.iam_url, "ibm.iam_url"),
                ca_file=ground.config.providers.ca_file,
            )
        if "azure" in ground.providers:
            azure = ground.config.azure
            sources["azure"] = Entra(
                secrets=kept,
                clock=clock,
                url=checked_url(azure.login_url, "azure.login_url"),
                managed_identity=azure.managed_identity,
                ca_file=ground.config.providers.ca_file,
            )
        if "google" in ground.providers:
            sources["google"] = _google(ground, kept)
        if "quantinuum" in ground.providers:
            sources["quantinuum"] = Nexus(
                secrets=kept,
                clock=clock,
                url=checked_url(ground.config.quantinuum.url, "quantinuum.url"),
                ca_file=ground.config.providers.ca_file,
            )
        for entry in ground.config.vault.dynamic if client is not None else ():
            scheme, _, path = entry.partition("=")
            if client is not None and scheme in sources:
                sources[scheme] = VaultDynamic(client, clock, path)
        self._client = client
        self.leases = LeaseDesk(
            store=store,
            clock=clock,
            sources=sources,
            local=EmbeddedLeases(clock),
            alerts=watch.alerts,
            holder=ground.replica_id,
            held_changed=watch.holds.refresh,
        )
        self.secrets.changed = self.leases.revoke_all

        async def added(scheme: str, experiment_id: str) -> None:
            # the vendor can be asked for its devices now
            if scheme in ground.providers and not experiment_id:
                self.device_leases.retry(scheme)
                await ground.registry.refresh(scheme)
                tell(d for d in ground.devices.values() if d.scheme == scheme)

        self.secrets.added = added
        self.device_leases = Leases(self.leases, clock, ground.config.secrets.lease_ttl_s)

    async def close(self) -> None:
        """Close what leases come from."""
        await self.leases.close()
        if self._client is not None:
            await self._client.close()

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What admins see and change of credentials."""
        return SecretRoutes(self.secrets, self.leases).endpoints()


def _vault(ground: Ground) -> VaultClient | None:
    config = ground.config.vault
    if not config.url:
        return None
    login = VaultLogin(
        url=checked_url(config.url, "vault.url"),
        auth=config.auth,
        mount=config.mount,
        role=config.role,
        credential=config.credential_file,
        wrapped=config.wrapped,
        namespace=config.namespace,
        ca_file=config.ca_file,
        cert_file=config.cert_file,
        key_file=config.key_file,
    )
    return VaultClient(login, ground.clock)


def _sts(ground: Ground, secrets: RootSecrets, provider: BraketProvider) -> AwsSts:
    config = ground.config.braket

    def policy(terms: LeaseTerms, account: str) -> Mapping[str, object]:
        arn = provider.arn(terms.backend)
        if terms.backend and not arn:
            raise LeaseUnavailable("no such device in this region")
        return session_policy(
            terms, account, bucket=config.bucket, prefix=config.prefix, device_arn=arn
        )

    url = config.sts_url or f"https://sts.{config.region}.amazonaws.com"
    return AwsSts(
        secrets=secrets,
        clock=ground.clock,
        url=checked_url(url, "braket.sts_url"),
        region=config.region,
        policy=policy,
        ca_file=ground.config.providers.ca_file,
    )


def _google(ground: Ground, secrets: RootSecrets) -> GoogleTokens:
    config = ground.config.google
    workload = config.credentials == "workload"
    if workload and not (config.audience and config.token_file):
        raise ConfigError("google.credentials = 'workload' needs audience and token_file")
    places = GooglePlaces(
        token_url=checked_url(config.token_url, "google.token_url"),
        sts_url=checked_url(config.sts_url, "google.sts_url"),
        iam_url=checked_url(config.iam_url, "google.iam_url"),
        service_account=config.service_account,
        audience=config.audience if workload else "",
        token_file=config.token_file,
    )
    return GoogleTokens(
        secrets=secrets,
        clock=ground.clock,
        places=places,
        ca_file=ground.config.providers.ca_file,
    )


def master_keys(config: Config) -> tuple[MasterKey, ...]:
    """The master key, from where it is configured to be; the first one seals.

    Raises:
        MasterKeyUnusable: it cannot be trusted or read; says the way out.
    """
    source = config.secrets.master_key
    if source == "file":
        return from_file(config.master_key_file)
    if source == "environment":
        return (from_text(take(os.environ, KEY_VARIABLE)),)
    return (from_passphrase(_passphrase(config), _salt(config)),)


def log_keys(config: Config, store: ReadStore) -> ScopeKeys:
    """What opens the log's sealed values, for reading beside a server or without one.

    Raises:
        MasterKeyUnusable: there is no master key at hand; none is made.
    """
    if config.secrets.master_key == "file" and not config.master_key_file.exists():
        raise MasterKeyUnusable("there is no master key file")
    return ScopeKeys(store, EnvelopeSealer(*master_keys(config)))


def _salt(config: Config) -> Path:
    return config.state / "master.salt"


def _passphrase(config: Config) -> Secret:
    path = config.secrets.passphrase_file
    if path:
        return Secret(read_secret("secrets.passphrase_file", path).encode())
    return take(os.environ, PASSPHRASE_VARIABLE)


async def rekey(config: Config, new_value: Callable[[], bytes]) -> int:
    """Put everything sealed under a new master key, in one unit of work; how many values.

    The new key is on disk (or with its keeper) before anything is sealed under it, and replaces
    the old one after everything is: a crash at any point leaves a server that starts.

    Raises:
        CryogateError: a key or the database cannot be used; nothing was changed.
    """
    old = master_keys(config)
    source = config.secrets.master_key
    if source == "file":
        new = make_next(config.master_key_file)
    elif source == "environment":
        new = from_text(Secret(new_value()))
    else:
        new = from_passphrase(Secret(new_value()), _salt(config))
    if new.key_id == old[0].key_id:
        raise ConfigError("the new master key is the old one")
    store = open_store(config.store_url, SystemClock())
    await store.open()
    try:
        count = await _rewrap(store, EnvelopeSealer(new, *old))
    finally:
        await store.close()
    if source == "file":
        next_path(config.master_key_file).replace(config.master_key_file)
    return count


async def _rewrap(store: Store, sealer: EnvelopeSealer) -> int:
    statements = []
    for row in await store.fetch("sealed_values", {}):
        was = str(row["sealed"])
        try:
            sealed = sealer.rewrap(was)
        except ValueError as error:
            raise ConfigError(f"{row['place']} {row['name']} does not open: {error}") from error
        if sealed != was:
            params = {"item": row["name"], "part": row["part"], "sealed": sealed, "was": was}
            statements.append(Statement(_REWRAP[str(row["place"])], params))
    event = Event(
        timestamp_ms=SystemClock().now_ms(),
        action="master_key.replaced",
        outcome=Outcome.SUCCESS,
        decision_reasons=(f"count {len(statements)}",),
    )
    await store.commit(UnitOfWork(tuple(statements), (event,)))
    return len(statements)
