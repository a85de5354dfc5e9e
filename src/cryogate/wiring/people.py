"""People: how they sign in, their sessions, and the console's pages."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from cryogate import __version__
from cryogate.audit.log import AuditLog
from cryogate.broker.device import DeviceFlow
from cryogate.broker.humans.attempts import Attempts
from cryogate.broker.humans.claims import ClaimRules
from cryogate.broker.humans.federated import FederatedPeople
from cryogate.broker.humans.local import LocalAccounts
from cryogate.broker.humans.oidc import OidcClient, OidcSignIn
from cryogate.broker.humans.sessions import HumanSessions
from cryogate.broker.registry import Registry
from cryogate.config import LOOPBACK, ConfigError
from cryogate.config.sections import Oidc
from cryogate.console.account import AccountPages
from cryogate.console.approvals import ApprovalPages
from cryogate.console.device import DevicePages
from cryogate.console.lists import ListPages
from cryogate.console.refusals import Explainer
from cryogate.console.rendering import Renderer
from cryogate.console.sign_in import SignInPages
from cryogate.domain.secrets import Secret
from cryogate.gateway.dispatch import Dispatcher
from cryogate.gateway.overview import Overview
from cryogate.governance.experiments import ExperimentAdmin
from cryogate.ports.clock import monotonic_ms
from cryogate.ports.revocations import RevocationView
from cryogate.server.cookies import Cookies
from cryogate.server.endpoints import Endpoint
from cryogate.server.human_routes import HumanRoutes
from cryogate.server.session_auth import SessionAuth
from cryogate.tokens.errors import TokenError
from cryogate.tokens.keys import SigningKey, load_private
from cryogate.wiring.governance import Governance
from cryogate.wiring.ground import Ground

CALLBACK = "/console/login/oidc/done"
_MAX_SECRET_BYTES = 8192


class People:
    """The people's side of the broker; `auth` is None where nobody may sign in."""

    def __init__(self, ground: Ground, revocations: RevocationView) -> None:
        self._ground = ground
        config, store, clock = ground.config, ground.store, ground.clock
        scheme = urlsplit(ground.base_url).scheme
        self.sessions = HumanSessions(
            store,
            clock,
            idle_ms=config.console.session_idle_s * 1000,
            life_ms=config.console.session_life_s * 1000,
        )
        self.accounts = LocalAccounts(store, clock, self.sessions)
        self._cookies = Cookies(ground.base_url)
        self.auth: SessionAuth | None = None
        if config.serves_console(ground.base_url):
            self.auth = SessionAuth(self.sessions, revocations, self._cookies, scheme)

    def endpoints(
        self,
        registry: Registry,
        devices: DeviceFlow,
        governance: Governance,
        dispatcher: Dispatcher,
        log: AuditLog,
    ) -> tuple[Endpoint, ...]:
        """What admins change about people, and the pages."""
        ground, config = self._ground, self._ground.config
        found = HumanRoutes(registry, self.accounts, self.sessions).endpoints()
        if self.auth is None:
            return found
        url = urlsplit(ground.base_url)
        always_tls = url.scheme == "https" and url.hostname not in LOOPBACK
        renderer = Renderer(always_tls=always_tls, version=__version__)
        explain = Explainer(renderer, self._cookies)
        attempts = Attempts(monotonic_ms)
        accounts = self.accounts if config.console.local_accounts else None
        life_s = config.console.session_life_s
        sign_in = SignInPages(
            renderer=renderer,
            explain=explain,
            cookies=self._cookies,
            auth=self.auth,
            attempts=attempts,
            # nothing can be guessed there: this bounds what the provider is asked in our name
            redemptions=Attempts(monotonic_ms, burst=60, every_s=1),
            accounts=accounts,
            oidc=self._oidc(),
            session_life_s=life_s,
        )
        account = AccountPages(
            renderer=renderer,
            explain=explain,
            cookies=self._cookies,
            sessions=self.sessions,
            accounts=accounts,
            attempts=attempts,
            session_life_s=life_s,
        )
        approvals = ApprovalPages(
            renderer=renderer, explain=explain, desk=governance.desk, wake=dispatcher.poke
        )
        lists = ListPages(
            renderer=renderer,
            explain=explain,
            registry=registry,
            experiments=ExperimentAdmin(ground.store, ground.clock),
            overview=Overview(ground.store),
            desk=governance.desk,
            reader=self._ground.opener,
            log=log,
        )
        enrol = DevicePages(renderer=renderer, explain=explain, devices=devices, registry=registry)
        pages = (sign_in, account, approvals, lists, enrol)
        return (*found, *(e for page in pages for e in page.endpoints()))

    def _oidc(self) -> tuple[OidcSignIn, FederatedPeople, str] | None:
        ground, config = self._ground, self._ground.config.oidc
        if not config.issuer:
            return None
        secret, key = client_credentials(config)
        client = OidcClient(
            issuer=config.issuer,
            client_id=config.client_id,
            redirect_uri=ground.base_url + CALLBACK,
            scopes=config.scopes,
            secret=secret,
            key=key,
        )
        sign_in = OidcSignIn(client, ground.fetcher, ground.issuers, ground.sealer, ground.clock)
        rules = ClaimRules(config.roles_claim, config.roles, config.name_claim)
        people = FederatedPeople(ground.store, ground.clock, self.sessions, rules)
        return sign_in, people, config.issuer


def client_credentials(config: Oidc) -> tuple[Secret | None, SigningKey | None]:
    """What proves this server to the identity provider.

    Raises:
        ConfigError: a file cannot be read; the text names the setting.
    """
    secret, key = config.client_secret_file, config.client_key_file
    return _secret(secret) if secret else None, _key(key) if key else None


def _read(path: str, setting: str) -> bytes:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{setting}: cannot read {path}: {error.strerror}") from error
    if not 0 < len(data) <= _MAX_SECRET_BYTES:
        raise ConfigError(f"{setting}: {path} is empty or too large")
    return data


def _secret(path: str) -> Secret:
    return Secret(_read(path, "oidc.client_secret_file").strip())


def _key(path: str) -> SigningKey:
    try:
        document = msgspec.json.decode(_read(path, "oidc.client_key_file"), type=dict[str, object])
        return load_private(document)
    except (msgspec.MsgspecError, TokenError) as error:
        raise ConfigError(f"oidc.client_key_file: {path} is not a private ES256 JWK") from error
