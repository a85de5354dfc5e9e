"""The whole configuration as one immutable value, and what follows from it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from cryogate.config.audit import Audit
from cryogate.config.google import Google
from cryogate.config.local import Local
from cryogate.config.sections import (
    Alerts,
    Approvals,
    Azure,
    Braket,
    Budgets,
    Circuits,
    Clients,
    Console,
    Ibm,
    Ionq,
    Limits,
    Notify,
    Oidc,
    Outbound,
    Policy,
    Prices,
    Providers,
    Quantinuum,
    Revocations,
    Secrets,
    Section,
    Server,
    Signing,
    Ssf,
    Storage,
    Tokens,
    Vault,
)
from cryogate.config.sinks import Logs, Metrics, SinkTable, Tracing

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Config(Section, frozen=True, kw_only=True):
    """Everything that can be set, with safe defaults."""

    server: Server = Server()
    storage: Storage = Storage()
    policy: Policy = Policy()
    tokens: Tokens = Tokens()
    clients: Clients = Clients()
    circuits: Circuits = Circuits()
    approvals: Approvals = Approvals()
    alerts: Alerts = Alerts()
    notify: Notify = Notify()
    prices: Prices = Prices()
    budgets: Budgets = Budgets()
    audit: Audit = Audit()
    secrets: Secrets = Secrets()
    providers: Providers = Providers()
    local: Local = Local()
    ionq: Ionq = Ionq()
    braket: Braket = Braket()
    ibm: Ibm = Ibm()
    azure: Azure = Azure()
    google: Google = Google()
    quantinuum: Quantinuum = Quantinuum()
    vault: Vault = Vault()
    revocations: Revocations = Revocations()
    limits: Limits = Limits()
    signing: Signing = Signing()
    ssf: Ssf = Ssf()
    outbound: Outbound = Outbound()
    console: Console = Console()
    oidc: Oidc = Oidc()
    metrics: Metrics = Metrics()
    tracing: Tracing = Tracing()
    logs: Logs = Logs()
    sinks: tuple[SinkTable, ...] = ()
    state_dir: str = ""

    @property
    def state(self) -> Path:
        """The state directory as a path."""
        return Path(self.state_dir)

    @property
    def store_url(self) -> str:
        """Where the database is."""
        return self.storage.url or f"sqlite:///{self.state / 'cryogate.db'}"

    @property
    def master_key_file(self) -> Path:
        """Where the master key is, when it is in a file."""
        given = self.secrets.key_file
        return Path(given) if given else self.state / "master.key"

    @property
    def bundle(self) -> Path:
        """Where the policy bundle is."""
        return Path(self.policy.bundle) if self.policy.bundle else self.state / "policy"

    @property
    def policy_keys(self) -> Path:
        """Whose policy bundles count: a JSON Web Key Set."""
        given = self.policy.trusted_keys
        return Path(given) if given else self.state / "policy-keys.json"

    @property
    def heads_url(self) -> str:
        """Where the second copy of the log's head is, if not in a directory."""
        return self.audit.heads if "://" in self.audit.heads else ""

    @property
    def heads(self) -> Path:
        """The directory of the second copy of the log's head; only without `heads_url`."""
        return Path(self.audit.heads) if self.audit.heads else self.state / "heads"

    def base_url(self, port: int | None = None) -> str:
        """The URL clients use: issuer, and the base of every DPoP ``htu``."""
        if self.server.public_url:
            return self.server.public_url.rstrip("/")
        host = self.server.host
        host = f"[{host}]" if ":" in host else host
        scheme = "https" if self.server.tls_cert else "http"
        return f"{scheme}://{host}:{port if port is not None else self.server.port}"

    def serves_console(self, base_url: str) -> bool:
        """Whether people may sign in at ``base_url``: passwords never cross a network in clear."""
        url = urlsplit(base_url)
        return self.console.enabled and (url.scheme == "https" or url.hostname in LOOPBACK)

    def warnings(self) -> tuple[str, ...]:
        """Settings in force that are less than safe."""
        found = []
        if self.server.insecure_http:
            found.append("server.insecure_http: tokens and circuits cross the network in clear")
            if self.console.enabled and not self.serves_console(self.base_url()):
                found.append("console: switched off, passwords would cross the network in clear")
        if self.approvals.insecure_self_approval:
            found.append("approvals.insecure_self_approval: owners may approve their own agents")
        if self.policy.insecure_unsigned:
            found.append("policy.insecure_unsigned: bundles that nobody signed are put in force")
        if self.tokens.insecure_bearer:
            found.append("tokens.insecure_bearer: whoever finds a token can use it")
        if "braket" in self.providers.enabled and self.braket.insecure_without_limit:
            found.append("braket.insecure_without_limit: nothing at AWS bounds what QPUs may cost")
        if self.notify.smtp_host and self.notify.smtp_security == "insecure_clear":
            found.append("notify.smtp_security: mail crosses the network in clear")
        found += [
            f"sinks.{sink.name}.insecure_clear: the audit log crosses the network in clear"
            for sink in self.sinks
            if sink.insecure_clear
        ]
        return tuple(found)
