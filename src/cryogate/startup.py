"""One server process: the state directory, the first start, the socket, and what to do next."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import resource
import shutil
import signal
import socket
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn

from cryogate.broker.registry import Registry
from cryogate.config import Config, load
from cryogate.domain.errors import Conflict, CryogateError
from cryogate.domain.secrets import Secret
from cryogate.policies import shipped_bundle
from cryogate.policies.local_key import open_signer
from cryogate.server.connections import ConnectionLimits, Watch
from cryogate.server.tls import event_loop, with_certificates
from cryogate.telemetry import logs
from cryogate.tokens.keys import generate
from cryogate.wiring import Deployment
from cryogate.wiring.vault import rekey

log = logging.getLogger("cryogate")
FIRST_OPERATOR = "admin"


class StateUnsafe(CryogateError):
    """The state directory cannot hold secrets as it is; says what to change."""


def run_up(
    config_path: Path | None, state_dir: Path | None, overrides: Mapping[str, object]
) -> None:
    """Serve until SIGTERM or SIGINT, then end the process once the log's last head is signed.

    Raises:
        CryogateError: something cannot be used; the text says what and the way out.
    """
    given = {"state_dir": str(state_dir)} if state_dir is not None else {}
    config = load(config_path, overrides={**given, **overrides})
    logs.configure(config.logs.format, config.logs.level)
    for warning in config.warnings():
        # what is less than safe is said at every level
        log.log(max(logging.WARNING, logging.getLogger().level), "%s", warning)
    prepare(config)
    # uvicorn raises a caught signal again once it has shut down; by then it has been obeyed
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    listener = _listen(config)
    try:
        with asyncio.Runner(
            loop_factory=partial(event_loop, config.server.header_timeout_s)
        ) as runner:
            runner.run(_serve(config, listener))
    finally:
        listener.close()


def run_rekey(
    config_path: Path | None, state_dir: Path | None, new_value: Callable[[], bytes]
) -> int:
    """Put everything sealed under a new master key; how many values. The server must be stopped.

    Raises:
        CryogateError: something cannot be used; nothing was changed.
    """
    overrides = {"state_dir": str(state_dir)} if state_dir is not None else {}
    config = load(config_path, overrides=overrides)
    prepare(config)
    return asyncio.run(rekey(config, new_value))


def prepare(config: Config) -> None:
    """Make the state directory and its policy; refuse one that others can read.

    Raises:
        StateUnsafe: another owner, or open to others.
    """
    state = config.state
    os.umask(0o077)
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = state.stat()
    if found.st_uid != os.geteuid():
        raise StateUnsafe(f"{state} belongs to another user")
    if found.st_mode & 0o077:
        raise StateUnsafe(f"{state} is open to others: chmod 700 {state}")
    if not config.policy.bundle and not config.bundle.exists():
        partial = state / "policy.new"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(shipped_bundle(), partial)
        partial.rename(config.bundle)
    if not config.policy.trusted_keys:
        open_signer(state)
    if not config.heads_url:
        config.heads.mkdir(mode=0o700, parents=True, exist_ok=True)


def _listen(config: Config) -> socket.socket:
    host, port = config.server.host, config.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise StateUnsafe(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listener


def _connection_limits(config: Config) -> ConnectionLimits:
    """As many connections as configured, if there are descriptors for them.

    The store, the log and worker processes need some too: running out of descriptors must not be
    something that clients can cause.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    server = config.server
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    spare = hard - 256 if hard != resource.RLIM_INFINITY else server.max_connections
    return ConnectionLimits(
        max_connections=max(16, min(server.max_connections, spare)),
        header_s=server.header_timeout_s,
        request_s=server.request_timeout_s,
        write_s=server.request_timeout_s,
        # a little more than the application reads, so that its own 413 comes first
        max_body_bytes=2 * server.max_body_bytes,
    )


async def _serve(config: Config, listener: socket.socket) -> None:
    port: int = listener.getsockname()[1]
    base_url = config.base_url(port)
    deployment = Deployment(config, base_url)
    await deployment.open()
    deployment.tell_auditors()
    await first_operator(deployment.identity.registry, config.state)
    password = await first_password(deployment)
    tls, protocol = deployment.ground.tls, Watch(_connection_limits(config)).protocol()
    server = _Server(
        uvicorn.Config(
            deployment.app(),
            http=protocol if tls is None else with_certificates(protocol),
            ssl_context_factory=None if tls is None else lambda *_: tls.context,
            # the peer is who it is: a header must not make it a proxy (T6)
            proxy_headers=False,
            ws="none",
            access_log=False,
            log_config=None,
            server_header=False,
            date_header=False,
            timeout_keep_alive=30,
        ),
        config,
        base_url,
        password,
        deployment.drain,
    )
    _settle_memory()
    try:
        await server.serve(sockets=[listener])
    finally:
        (config.state / "server.json").unlink(missing_ok=True)


def _settle_memory() -> None:
    """Leave what was made at start out of every later collection, and collect less often.

    A request makes a few hundred objects and hardly a cycle, so reference counting frees them; the
    collector's default of a pass for every 700 objects walks the same living ones again and again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


async def first_operator(registry: Registry, state: Path) -> None:
    """Make the first operator's key, once: in the state directory, readable by its owner only."""
    path = state / "operator.jwk"
    if path.exists():
        return
    key = generate()
    document = {
        "client_id": f"operator:{FIRST_OPERATOR}",
        "jwk": key.private_jwk(),
    }
    try:
        await registry.create_operator(
            operator_id=FIRST_OPERATOR,
            roles=("admin",),
            jwk=key.public.jwk(),
            actor="first-start",
        )
    except Conflict as error:
        raise StateUnsafe(
            f"{path} is gone, but operator {FIRST_OPERATOR} exists: restore the file from a backup"
        ) from error
    _write_private(path, document)


async def first_password(deployment: Deployment) -> Secret | None:
    """A one-time password for the first operator's console account, once: when nobody has one."""
    config, people = deployment.config, deployment.identity.people
    if people.auth is None or not config.console.local_accounts or await people.accounts.any():
        return None
    return (await people.accounts.enable(FIRST_OPERATOR, "first-start")).password


def _write_private(path: Path, document: Mapping[str, Any]) -> None:
    partial = path.with_suffix(".new")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(document, file)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


class _Server(uvicorn.Server):
    """Tells where it listens once it does, and not before."""

    def __init__(
        self,
        uvicorn_config: uvicorn.Config,
        config: Config,
        base_url: str,
        password: Secret | None,
        drain: Callable[[], None],
    ) -> None:
        super().__init__(uvicorn_config)
        self._ours, self._base_url, self._password = config, base_url, password
        self._drain = drain

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See `uvicorn.Server.shutdown`. It waits for answers, so streams are ended first."""
        self._drain()
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See `uvicorn.Server.startup`."""
        await super().startup(sockets)
        if self.started:
            found = {"url": self._base_url, "pid": os.getpid()}
            _write_private(self._ours.state / "server.json", found)
            print(_next_steps(self._ours, self._base_url), flush=True)  # noqa: T201
            if self._password is not None:
                print(_first_sign_in(self._base_url, self._password), flush=True)  # noqa: T201
                self._password = None


def _next_steps(config: Config, base_url: str) -> str:
    state = config.state
    return f"""
Cryogate listens on {base_url}
  state   {state}
  policy  {config.bundle}
  store   {config.store_url.partition(":")[0]}
  console {f"{base_url}/console" if config.serves_console(base_url) else "off"}

What to do next, in another terminal (as this user):
  cryogate agent create ghz-bot --owner you@example.org \\
      --role qpu.submit-only --role qpu.read-aggregates --experiment ghz
  cryogate experiment create ghz --purpose "First steps" --owner you@example.org \\
      --agent ghz-bot --budget 5.00 --budget-shots 50000
  cryogate job submit examples/ghz.qasm --as ghz-bot.json --wait
"""


def _first_sign_in(base_url: str, password: Secret) -> str:
    return f"""\
Sign in at {base_url}/console, once, within 24 hours, and choose a password:
  name               {FIRST_OPERATOR}
  one-time password  {password.reveal().decode()}
It is not stored and not shown again. Lost: cryogate operator password {FIRST_OPERATOR}
"""
