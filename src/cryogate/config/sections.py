"""The sections of the configuration: one class a table, one field a setting, with safe defaults.

Anything less than safe has ``insecure`` in its name and warns when it is used.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Positive = Annotated[int, msgspec.Meta(ge=1)]
Quorum = Annotated[int, msgspec.Meta(ge=1, le=9)]
Role = Literal["approver", "admin"]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One table of the file; a key that is not a field is refused."""


class Server(Section, frozen=True, kw_only=True):
    """Where the process listens, the URL by which clients know it, and its TLS.

    ``client_ca`` holds the authorities of clients' certificates; ``proxies`` are the networks whose
    word about a client's certificate is taken.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8642
    public_url: str = ""
    insecure_http: bool = False
    tls_cert: str = ""
    tls_key: str = ""
    client_ca: str = ""
    client_certs: Literal["off", "optional", "required"] = "off"
    proxies: tuple[str, ...] = ()
    proxy_cert_header: Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z0-9-]{0,63}\Z")] = (
        "client-cert"
    )
    max_body_bytes: Annotated[int, msgspec.Meta(ge=1024, le=64 << 20)] = 4 << 20
    max_connections: Annotated[int, msgspec.Meta(ge=16, le=1 << 20)] = 4096
    header_timeout_s: Annotated[int, msgspec.Meta(ge=1, le=300)] = 10
    request_timeout_s: Annotated[int, msgspec.Meta(ge=1, le=600)] = 30


class Storage(Section, frozen=True, kw_only=True):
    """``sqlite:///path`` or ``postgresql://…``. Empty: a SQLite file in the state directory."""

    url: str = ""


class Policy(Section, frozen=True, kw_only=True):
    """Which engine decides, on which bundle. Empty bundle: ``policy/`` in the state directory."""

    engine: Literal["regorus", "guarded", "opa", "authzen"] = "regorus"
    bundle: str = ""
    opa_url: str = "http://127.0.0.1:8181"
    authzen_url: str = ""
    authzen_token_file: str = ""
    timeout_ms: Positive = 2000
    trusted_keys: str = ""
    insecure_unsigned: bool = False
    poll_ms: Annotated[int, msgspec.Meta(ge=20, le=60_000)] = 1000


class Secrets(Section, frozen=True, kw_only=True):
    """Where the master key comes from. Empty ``key_file``: ``master.key`` in the state directory.

    ``passphrase``: from ``passphrase_file``, else from ``CRYOGATE_MASTER_PASSPHRASE``.
    ``environment``: from ``CRYOGATE_MASTER_KEY``.
    """

    master_key: Literal["file", "passphrase", "environment"] = "file"
    key_file: str = ""
    passphrase_file: str = ""
    lease_ttl_s: Annotated[int, msgspec.Meta(ge=60, le=3600)] = 300


class Providers(Section, frozen=True, kw_only=True):
    """Which vendors are used beside the local simulators, and how old what they say may get.

    No vendor is asked about its jobs more than ``questions_per_s`` times a second, and nothing that
    failed waits longer than ``retry_max_s`` for its next try.
    """

    enabled: tuple[str, ...] = ()
    ca_file: str = ""
    refresh_s: Annotated[int, msgspec.Meta(ge=5, le=3600)] = 60
    stale_s: Annotated[int, msgspec.Meta(ge=30, le=86_400)] = 600
    questions_per_s: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100
    retry_max_s: Annotated[int, msgspec.Meta(ge=1, le=3600)] = 60


class Ionq(Section, frozen=True, kw_only=True):
    """IonQ's API. ``sessions``: a session for each job, with the job's reservation as its limit."""

    url: str = "https://api.ionq.co/v0.4"
    sessions: bool = False


class Braket(Section, frozen=True, kw_only=True):
    """Amazon Braket in one region. Empty URLs are AWS's own.

    A QPU without a spending limit in force takes no job, unless ``insecure_without_limit``.
    """

    region: Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9-]{1,32}\Z")] = "us-east-1"
    bucket: Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9.-]{0,63}\Z")] = ""
    prefix: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_-]{1,64}\Z")] = "cryogate"
    url: str = ""
    s3_url: str = ""
    sts_url: str = ""
    insecure_without_limit: bool = False


class Ibm(Section, frozen=True, kw_only=True):
    """IBM Quantum's API and IAM. A job runs for ``max_seconds`` at most."""

    url: str = "https://quantum.cloud.ibm.com/api/v1"
    iam_url: str = "https://iam.cloud.ibm.com"
    max_seconds: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 60


class Quantinuum(Section, frozen=True, kw_only=True):
    """Quantinuum Nexus, which answers for its login too."""

    url: str = "https://nexus.quantinuum.com"


class Azure(Section, frozen=True, kw_only=True):
    """One Azure Quantum workspace. An empty URL is Azure's own."""

    location: Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9]{1,32}\Z")] = "eastus"
    subscription: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-fA-F-]{0,36}\Z")] = ""
    resource_group: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9._-]{0,90}\Z")] = ""
    workspace: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9-]{0,54}\Z")] = ""
    managed_identity: bool = False
    storage_suffix: Annotated[str, msgspec.Meta(pattern=r"\A\.?[a-z0-9.-]{4,100}\Z")] = (
        ".blob.core.windows.net"
    )
    url: str = ""
    login_url: str = "https://login.microsoftonline.com"


class Vault(Section, frozen=True, kw_only=True):
    """HashiCorp Vault or OpenBao, instead of our own store of vendors' secrets. No URL: off.

    ``dynamic`` names engines that make credentials: ``scheme=path``.
    """

    url: str = ""
    auth: Literal["approle", "jwt", "kubernetes", "cert"] = "approle"
    mount: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_/-]{0,64}\Z")] = ""
    role: str = ""
    credential_file: str = ""
    wrapped: bool = False
    cert_file: str = ""
    key_file: str = ""
    ca_file: str = ""
    namespace: str = ""
    kv_mount: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_/-]{1,64}\Z")] = "kv"
    kv_prefix: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_/-]{1,64}\Z")] = "cryogate"
    dynamic: tuple[
        Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z0-9]{0,15}=[A-Za-z0-9_/-]{1,128}\Z")], ...
    ] = ()


class Tokens(Section, frozen=True, kw_only=True):
    """Token lives and the proof-of-possession window, in seconds. ``keep_days``: how long what is
    over stays in the database.
    """

    default_ttl_s: Annotated[int, msgspec.Meta(ge=30, le=3600)] = 300
    max_ttl_s: Annotated[int, msgspec.Meta(ge=30, le=3600)] = 3600
    max_delegation_depth: Annotated[int, msgspec.Meta(ge=0, le=8)] = 3
    proof_window_s: Annotated[int, msgspec.Meta(ge=5, le=300)] = 60
    keep_days: Annotated[int, msgspec.Meta(ge=1, le=3650)] = 30
    require_nonce: Literal["auto", "off", "replica", "shared"] = "auto"
    insecure_bearer: bool = False


class Clients(Section, frozen=True, kw_only=True):
    """How old agents' keys may get, and for how long before that their agents are told."""

    key_max_age_days: Annotated[int, msgspec.Meta(ge=1, le=3650)] = 90
    key_warning_days: Annotated[int, msgspec.Meta(ge=0, le=365)] = 14


class Circuits(Section, frozen=True, kw_only=True):
    """Bounds on what is parsed at all. ``workers`` are guarded processes for rich notations."""

    max_bytes: Positive = 1 << 20
    max_qubits: Positive = 1024
    max_operations: Positive = 1_000_000
    workers: Annotated[int, msgspec.Meta(ge=0, le=64)] = 1


class Approvals(Section, frozen=True, kw_only=True):
    """How long a request for approval stays open, and how many people of which role decide.

    ``second_person_cents``: a job that may cost as much needs two people; 0 is never.
    """

    expiry_s: Annotated[int, msgspec.Meta(ge=60, le=30 * 86_400)] = 86_400
    pending_per_agent: Positive = 20
    per_agent_and_hour: Positive = 100
    quorum: Quorum = 1
    role: Role = "approver"
    second_person_cents: Annotated[int, msgspec.Meta(ge=0)] = 0
    release_quorum: Quorum = 1
    release_role: Role = "approver"
    promotion_quorum: Quorum = 1
    promotion_role: Role = "approver"
    insecure_self_approval: bool = False


class Notify(Section, frozen=True, kw_only=True):
    """How people are told. A channel without its first setting (``…_url``, ``…_host``) is off.

    Secrets are in files that only their owner may read. ``mail_urgent_to`` are told too of what
    was left undecided for ``escalate_s``, and of alerts that matter.
    """

    remind_s: Annotated[int, msgspec.Meta(ge=60, le=7 * 86_400)] = 4 * 3600
    escalate_s: Annotated[int, msgspec.Meta(ge=60, le=30 * 86_400)] = 12 * 3600
    webhook_url: str = ""
    webhook_secret_file: str = ""
    job_webhooks: tuple[str, ...] = ()
    webhook_hosts: tuple[str, ...] = ()
    smtp_host: str = ""
    smtp_port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 587
    smtp_security: Literal["starttls", "tls", "insecure_clear"] = "starttls"
    smtp_user: str = ""
    smtp_password_file: str = ""
    smtp_ca_file: str = ""
    mail_from: str = ""
    mail_to: tuple[str, ...] = ()
    mail_urgent_to: tuple[str, ...] = ()
    devices: bool = False


class Prices(Section, frozen=True, kw_only=True):
    """An own price book file (empty: the shipped one), and how old its entries may get.

    An older price is refused, or needs a person's approval for every job.
    """

    book: str = ""
    max_age_days: Annotated[int, msgspec.Meta(ge=0, le=36_500)] = 365
    stale: Literal["refuse", "approve"] = "approve"


class Budgets(Section, frozen=True, kw_only=True):
    """What a bill above its bound does: block every budget it was charged to, or only alarm."""

    on_overrun: Literal["block", "alarm"] = "block"


class Revocations(Section, frozen=True, kw_only=True):
    """How often other replicas' revocations are read, and how old that view may get."""

    poll_ms: Annotated[int, msgspec.Meta(ge=20, le=5000)] = 250
    max_age_ms: Annotated[int, msgspec.Meta(ge=500, le=60_000)] = 2000


class Signing(Section, frozen=True, kw_only=True):
    """Where the keys that sign tokens are, and how often they change.

    ``transit`` is a Vault or OpenBao engine; ``transit_token_file`` holds its access token.
    """

    keys: Literal["sealed", "transit"] = "sealed"
    rotation_days: Annotated[int, msgspec.Meta(ge=0, le=3650)] = 30
    lead_s: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 120
    transit_url: str = ""
    transit_mount: str = "transit"
    transit_key: str = "cryogate-tokens"
    transit_token_file: str = ""
    transit_ca_file: str = ""


class Ssf(Section, frozen=True, kw_only=True):
    """OpenID Shared Signals: whose revocations are heard, and who is told of ours.

    Without ``transmitter`` nothing is heard. ``receivers`` are URLs that security events are pushed
    to. Secrets are in files that only their owner may read; they are sent as bearer tokens.
    """

    transmitter: str = ""
    transmitter_jwks_uri: str = ""
    transmitter_secret_file: str = ""
    audience: str = ""
    receivers: tuple[str, ...] = ()
    receiver_secret_file: str = ""


class Limits(Section, frozen=True, kw_only=True):
    """Requests a second, and at once, from one address and by one client; jobs a minute, at once,
    and in flight, of one agent and on one backend. 0 is no limit.

    Each process counts rates by itself; jobs in flight are those of the whole deployment.
    """

    address_per_s: Annotated[int, msgspec.Meta(ge=0, le=10**6)] = 1000
    address_burst: Annotated[int, msgspec.Meta(ge=1, le=10**6)] = 2000
    client_per_s: Annotated[int, msgspec.Meta(ge=0, le=10**6)] = 500
    client_burst: Annotated[int, msgspec.Meta(ge=1, le=10**6)] = 1000
    agent_jobs_per_min: Annotated[int, msgspec.Meta(ge=0, le=10**7)] = 3000
    agent_jobs_burst: Annotated[int, msgspec.Meta(ge=1, le=10**6)] = 1000
    backend_jobs_per_min: Annotated[int, msgspec.Meta(ge=0, le=10**7)] = 0
    backend_jobs_burst: Annotated[int, msgspec.Meta(ge=1, le=10**6)] = 1000
    agent_jobs_in_flight: Annotated[int, msgspec.Meta(ge=0, le=10**6)] = 2000
    backend_jobs_in_flight: Annotated[int, msgspec.Meta(ge=0, le=10**6)] = 0


OnAlert = Literal["notify", "require_approval", "suspend"]


class Alerts(Section, frozen=True, kw_only=True):
    """What each kind of alert does to its agent until an operator closes it."""

    on_shots_surge: OnAlert = "require_approval"
    on_spend_surge: OnAlert = "require_approval"
    on_denial_burst: OnAlert = "notify"
    on_new_backend: OnAlert = "notify"
    on_unusual_hour: OnAlert = "notify"
    on_proof_failures: OnAlert = "notify"


class Outbound(Section, frozen=True, kw_only=True):
    """Fetching from addresses that others name: issuers' keys, webhooks.

    ``private_networks`` (CIDR) may be reached although they are not public; ``ca_file`` holds
    authorities trusted beside the system's.
    """

    private_networks: tuple[str, ...] = ()
    ca_file: str = ""
    timeout_ms: Annotated[int, msgspec.Meta(ge=100, le=60_000)] = 5000
    max_bytes: Annotated[int, msgspec.Meta(ge=1024, le=16 << 20)] = 256 << 10


OperatorRole = Literal["admin", "approver", "auditor"]


class Console(Section, frozen=True, kw_only=True):
    """The web console: whether it is served, how people sign in, and how long that lasts."""

    enabled: bool = True
    local_accounts: bool = True
    session_idle_s: Annotated[int, msgspec.Meta(ge=60, le=86_400)] = 1800
    session_life_s: Annotated[int, msgspec.Meta(ge=300, le=7 * 86_400)] = 43_200


class Oidc(Section, frozen=True, kw_only=True):
    """The identity provider of people. Empty issuer: none.

    ``roles`` maps values of the claim ``roles_claim`` to roles; what is not in it means nothing.
    With neither a secret nor a key the client is public and proves itself by PKCE alone.
    """

    issuer: str = ""
    client_id: str = ""
    client_secret_file: str = ""
    client_key_file: str = ""
    scopes: str = "openid email profile"
    name_claim: str = "preferred_username"
    roles_claim: str = "groups"
    roles: dict[str, OperatorRole] = {}
