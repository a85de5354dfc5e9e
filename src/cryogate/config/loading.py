"""Reads the configuration file and the environment, and checks them together.

One TOML file, then ``CRYOGATE_<SECTION>_<KEY>`` variables over it. Everything is checked at start,
and an error names the key. Anything less than safe has ``insecure`` in its name and warns.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from cryogate.config.local import SHIPPED
from cryogate.config.model import LOOPBACK, Config
from cryogate.config.sections import Policy, Section
from cryogate.domain.errors import CryogateError

_MAX_CONFIG_BYTES = 1 << 20


class ConfigError(CryogateError):
    """The configuration cannot be used; the text names the key and the way out."""


def default_state_dir(environ: Mapping[str, str]) -> str:
    """``$CRYOGATE_STATE_DIR``, else the XDG state directory."""
    given = environ.get("CRYOGATE_STATE_DIR")
    if given:
        return given
    base = environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return str(Path(base) / "cryogate")


def load(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Config:
    """Read file, environment and overrides (``"section.key"``), in this order, and check them.

    Raises:
        ConfigError: unreadable, unknown key, wrong type, or an unsafe combination.
    """
    environ = os.environ if environ is None else environ
    tree = _read(path) if path is not None else {}
    sources: dict[str, object] = {**_from_environ(environ), **(overrides or {})}
    for dotted, value in sources.items():
        section, _, key = dotted.rpartition(".")
        place = tree.setdefault(section, {}) if section else tree
        if not isinstance(place, dict):
            raise ConfigError(f"{section} must be a table")
        place[key] = value
    tree.setdefault("state_dir", default_state_dir(environ))
    try:
        # strict=False lets an environment variable's "8642" be a number; a file's types were
        # checked by TOML already
        config = msgspec.convert(_lists(tree, sources), Config, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"configuration: {error}") from error
    _check(config)
    return config


def _lists(tree: dict[str, object], sources: Mapping[str, object]) -> dict[str, object]:
    """An environment variable writes a list with commas."""
    for field in msgspec.structs.fields(Config):
        section = tree.get(field.name)
        if not (isinstance(field.type, type) and issubclass(field.type, Section)):
            continue
        for setting in msgspec.structs.fields(field.type):
            given = sources.get(f"{field.name}.{setting.name}")
            if (
                isinstance(setting.default, tuple)
                and isinstance(given, str)
                and isinstance(section, dict)
            ):
                section[setting.name] = [item.strip() for item in given.split(",") if item.strip()]
    return tree


def _read(path: Path) -> dict[str, object]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > _MAX_CONFIG_BYTES:
        raise ConfigError(f"{path} is larger than {_MAX_CONFIG_BYTES} bytes")
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error


def settings() -> tuple[str, ...]:
    """Every setting by its dotted name."""
    names = []
    for field in msgspec.structs.fields(Config):
        if isinstance(field.type, type) and issubclass(field.type, Section):
            names += [f"{field.name}.{f.name}" for f in msgspec.structs.fields(field.type)]
        else:
            names.append(field.name)
    return tuple(names)


def variable(setting: str) -> str:
    """The environment variable that sets ``setting``."""
    return "CRYOGATE_" + setting.replace(".", "_").upper()


# Read by the command line and the test harness, not settings of the server.
_OTHER_VARIABLES = frozenset(
    {
        "CRYOGATE_URL",
        "CRYOGATE_MASTER_KEY",
        "CRYOGATE_MASTER_PASSPHRASE",
        "CRYOGATE_AGENT",
        "CRYOGATE_CA_FILE",
        "CRYOGATE_GO",
        "CRYOGATE_OPA",
        "CRYOGATE_LITEWITNESS",
        "CRYOGATE_OIDC_PROVIDER",
        "CRYOGATE_OPENBAO",
        "CRYOGATE_REQUIRE_REAL",
        "CRYOGATE_SDKS",
        "CRYOGATE_ROCRATE",
        "CRYOGATE_POSTGRES",
    }
)


def _from_environ(environ: Mapping[str, str]) -> dict[str, object]:
    known = {variable(name): name for name in settings()}
    found: dict[str, object] = {}
    for name, value in environ.items():
        if name in known:
            found[known[name]] = value
        elif name.startswith("CRYOGATE_") and name not in _OTHER_VARIABLES:
            raise ConfigError(f"environment variable {name} is no setting; see config check")
    return found


def _check(config: Config) -> None:
    server = config.server
    if server.public_url:
        url = urlsplit(server.public_url)
        if (
            url.scheme not in ("http", "https")
            or not url.hostname
            or url.path.strip("/")
            or url.query
            or url.fragment
        ):
            raise ConfigError("server.public_url must be an http(s) origin: no path, no query")
        clear = url.scheme == "http" and url.hostname not in LOOPBACK
    else:
        clear = server.host not in LOOPBACK and not server.tls_cert
    if clear and not server.insecure_http:
        raise ConfigError(
            "server: clear-text HTTP is for loopback only. Put TLS in front and set "
            "server.public_url to its https URL, or set server.insecure_http = true"
        )
    if config.tokens.default_ttl_s > config.tokens.max_ttl_s:
        raise ConfigError("tokens.default_ttl_s must not exceed tokens.max_ttl_s")
    if bool(server.tls_cert) != bool(server.tls_key):
        raise ConfigError("server.tls_cert and server.tls_key belong together: set both")
    if server.client_certs != "off" and not server.tls_cert:
        raise ConfigError("server.client_certs needs server.tls_cert and server.tls_key")
    if server.client_certs == "required" and not server.client_ca:
        raise ConfigError("server.client_certs = 'required' needs server.client_ca")
    for name, listed in (
        ("outbound.private_networks", config.outbound.private_networks),
        ("server.proxies", server.proxies),
    ):
        for text in listed:
            try:
                ip_network(text)
            except ValueError:
                raise ConfigError(f"{name}: {text} is no network (CIDR)") from None
    _check_policy(config.policy)
    _check_heads(config)
    _check_oidc(config)
    _check_local(config)
    scheme = config.store_url.partition(":")[0]
    if scheme not in ("sqlite", "postgresql"):
        raise ConfigError("storage.url must begin with sqlite:/// or postgresql://")


def _check_policy(policy: Policy) -> None:
    if policy.engine != "authzen":
        return
    url = urlsplit(policy.authzen_url)
    if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
        raise ConfigError("policy.authzen_url must be the URL of a policy decision point")
    if url.scheme == "http" and url.hostname not in LOOPBACK:
        raise ConfigError("policy.authzen_url: use https for a server on another machine")


def _check_heads(config: Config) -> None:
    url = config.heads_url
    if url and url.partition(":")[0] not in ("sqlite", "postgresql", "s3+https", "s3+http"):
        raise ConfigError(
            "audit.heads is a directory, or begins with sqlite:///, postgresql:// or s3+https://"
        )
    if url == config.store_url:
        raise ConfigError(
            "audit.heads is the log's own database: whatever sets that back would take the head "
            "with it. Name another database, a directory on other storage, or an object store"
        )


def _check_oidc(config: Config) -> None:
    oidc = config.oidc
    if not oidc.issuer:
        return
    url = urlsplit(oidc.issuer)
    if url.scheme != "https" or not url.hostname or url.query or url.fragment:
        raise ConfigError("oidc.issuer must be an https URL without a query")
    if not oidc.client_id:
        raise ConfigError("oidc.client_id is needed with oidc.issuer")
    if not oidc.roles:
        raise ConfigError("oidc.roles is empty: nobody who signs in would have a role")
    if oidc.client_secret_file and oidc.client_key_file:
        raise ConfigError("oidc: set client_secret_file or client_key_file, not both")


def _check_local(config: Config) -> None:
    unknown = sorted(set(config.local.profiles) - {table.name for table in SHIPPED})
    if unknown:
        known = ", ".join(table.name for table in SHIPPED)
        raise ConfigError(f"local.profiles: there is no {unknown[0]}; there are {known}")
    names = [table.name for table in config.local.noise]
    if len(set(names)) != len(names):
        raise ConfigError("local.noise: two profiles have one name")


def explain(config: Config, sources: Mapping[str, str] | None = None) -> list[tuple[str, str, str]]:
    """``(setting, value in force, where it comes from)`` for every setting.

    A database URL's password is not shown.
    """
    rows = []
    default = msgspec.to_builtins(Config())
    actual = msgspec.to_builtins(config)
    for name in settings():
        section, _, key = name.rpartition(".")
        here = actual[section][key] if section else actual[key]
        there = default[section][key] if section else default[key]
        shown = _hide_password(str(here)) if name in _WITH_PASSWORDS else str(here)
        origin = (sources or {}).get(name) or ("default" if here == there else "set")
        rows.append((name, shown, origin))
    return rows


_WITH_PASSWORDS = frozenset({"storage.url", "audit.heads"})


def _hide_password(url: str) -> str:
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return url.replace(f":{parts.password}@", ":…@", 1)
