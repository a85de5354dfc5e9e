"""HashiCorp Vault and OpenBao: where vendors' secrets may live, and engines that make short ones.

(1) We log in as a machine (AppRole, JWT, Kubernetes, client certificate) and hold the token in
    memory until four fifths of its life; a 403 makes us log in once more, never in a loop.
(2) An AppRole's secret id may be *wrapped*: the file then holds a wrapping token that opens once.
    Whoever opened it before us is noticed, because it does not open for us any more.
(3) KV v2 holds long-lived secrets: `VaultSecrets` reads what `cryogate secret set` would keep.
(4) A dynamic engine mints credentials of its own: `VaultDynamic` renews and revokes them by lease
    id, and a revocation that Vault does not confirm has not happened (R6).
(5) No redirect is followed, answers are bounded, and every failure is `LeaseUnavailable`.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import httpx
import msgspec

from cryogate.domain.ids import is_slug
from cryogate.domain.secrets import Secret
from cryogate.ports.clock import Clock
from cryogate.ports.credentials import (
    LeaseSource,
    LeaseTerms,
    LeaseUnavailable,
    Minted,
    RootSecrets,
)

T = TypeVar("T", bound=msgspec.Struct)
Auth = Literal["approle", "jwt", "kubernetes", "cert"]
_MAX_ANSWER: Final = 256 << 10
_MAX_FILE: Final = 16 << 10
_TIMEOUT_S: Final = 10.0
#: An engine's names of fields, and those that our adapters read.
_AWS: Final = {
    "access_key": "access_key_id", "secret_key": "secret_access_key",
    "security_token": "session_token", "session_token": "session_token",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultLogin:
    """How to log in. ``credential`` is the file of the secret id, or of the JWT."""

    url: str
    auth: Auth
    mount: str = ""
    role: str = ""
    credential: str = ""
    wrapped: bool = False
    namespace: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


class _Granted(msgspec.Struct):
    client_token: str
    lease_duration: int

    def __repr__(self) -> str:
        return "_Granted(…)"


class _Login(msgspec.Struct):
    auth: _Granted


class _Wrapped(msgspec.Struct):
    secret_id: str

    def __repr__(self) -> str:
        return "_Wrapped(…)"


class _Unwrapped(msgspec.Struct):
    data: _Wrapped


class _Kv(msgspec.Struct):
    data: dict[str, Any]

    def __repr__(self) -> str:
        return "_Kv(…)"


class _KvAnswer(msgspec.Struct):
    data: _Kv


class _Made(msgspec.Struct):
    lease_id: str
    lease_duration: int
    data: dict[str, Any]

    def __repr__(self) -> str:
        return "_Made(…)"


class _Renewed(msgspec.Struct):
    lease_duration: int


class _Refused(Exception):
    """Vault said no; with the status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"Vault answered {status}")
        self.status = status


class VaultClient:
    """One login, shared by everything that asks Vault."""

    def __init__(self, login: VaultLogin, clock: Clock) -> None:
        self._login, self._clock = login, clock
        self._token: Secret | None = None
        self._until_ms = 0
        self._secret_id: Secret | None = None
        context = ssl.create_default_context(cafile=login.ca_file or None)
        if login.cert_file:
            context.load_cert_chain(login.cert_file, login.key_file or None)
        self._http = httpx.AsyncClient(
            verify=context, trust_env=False, follow_redirects=False, timeout=_TIMEOUT_S
        )

    async def call(
        self, method: str, path: str, kind: type[T] | None, body: Mapping[str, Any] | None = None
    ) -> T | None:
        """An answer to an authenticated request; None where ``kind`` is.

        Raises:
            LeaseUnavailable: (5).
        """
        for last in (False, True):
            token = await self._authenticated()
            try:
                return await self._send(method, path, kind, body, token)
            except _Refused as refusal:
                if refusal.status != 403 or last:
                    raise LeaseUnavailable(str(refusal)) from None
                self._token = None  # (1): perhaps it was revoked
        raise AssertionError

    async def _authenticated(self) -> Secret:
        if self._token is not None and self._clock.now_ms() < self._until_ms:
            return self._token
        login = self._login
        mount = login.mount or login.auth
        try:
            body = await self._proof()
            found = await self._send("POST", f"auth/{mount}/login", _Login, body, None)
        except _Refused as refusal:
            raise LeaseUnavailable(f"login refused: {refusal}") from None
        if found is None or found.auth.lease_duration < 1:
            raise LeaseUnavailable("Vault gave no token")
        self._token = Secret(found.auth.client_token.encode())
        self._until_ms = self._clock.now_ms() + found.auth.lease_duration * 800
        return self._token

    async def _proof(self) -> dict[str, str]:
        login = self._login
        if login.auth == "cert":
            return {"name": login.role} if login.role else {}
        if login.auth == "approle":
            return {"role_id": login.role, "secret_id": (await self._secret()).text()}
        return {"role": login.role, "jwt": _file(login.credential).text()}

    async def _secret(self) -> Secret:
        if not self._login.wrapped:
            return _file(self._login.credential)
        if self._secret_id is None:  # (2)
            wrapping = _file(self._login.credential)
            try:
                found = await self._send("POST", "sys/wrapping/unwrap", _Unwrapped, {}, wrapping)
            except _Refused:
                raise LeaseUnavailable(
                    "the wrapped secret id does not open: somebody may have opened it"
                ) from None
            if found is None:
                raise LeaseUnavailable("Vault gave no secret id")
            self._secret_id = Secret(found.data.secret_id.encode())
        return self._secret_id

    async def _send(
        self,
        method: str,
        path: str,
        kind: type[T] | None,
        body: Mapping[str, Any] | None,
        token: Secret | None,
    ) -> T | None:
        headers = {"accept-encoding": "identity", "x-vault-request": "true"}
        if token is not None:
            headers["x-vault-token"] = token.text()
        if self._login.namespace:
            headers["x-vault-namespace"] = self._login.namespace
        content = None if body is None else msgspec.json.encode(body)
        data = bytearray()
        url = f"{self._login.url}/v1/{path}"
        async with self._http.stream(method, url, headers=headers, content=content) as response:
            async for chunk in response.aiter_raw():
                data += chunk
                if len(data) > _MAX_ANSWER:
                    raise LeaseUnavailable("Vault sent too much")
        if response.status_code not in (200, 204):
            raise _Refused(response.status_code)
        if kind is None:
            return None
        try:
            return msgspec.json.decode(bytes(data), type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            # the cause could show a piece of the answer
            raise LeaseUnavailable("Vault's answer could not be read") from None

    async def close(self) -> None:
        """Close connections; the token is left to lapse."""
        await self._http.aclose()


class VaultSecrets(RootSecrets):
    """(3): ``MOUNT/data/PREFIX/SCHEME``, with ``/EXPERIMENT`` for an experiment's own."""

    def __init__(self, client: VaultClient, mount: str, prefix: str) -> None:
        self._client, self._base = client, f"{mount}/data/{prefix}"

    async def value(self, scheme: str, experiment_id: str) -> Secret:
        """See `RootSecrets.value`. A field ``value`` is the secret; else all fields, as JSON."""
        paths = [f"{self._base}/{scheme}"]
        if experiment_id and is_slug(experiment_id):
            paths.insert(0, f"{self._base}/{scheme}/{experiment_id}")
        for path in paths:
            try:
                found = await self._client.call("GET", path, _KvAnswer)
            except LeaseUnavailable as error:
                if "404" in str(error) and path != paths[-1]:
                    continue
                raise
            if found is not None:
                return _packed(found.data.data)
        raise LeaseUnavailable(f"Vault holds no secret for {scheme}")


class VaultDynamic(LeaseSource):
    """(4): one engine's path for one scheme."""

    def __init__(self, client: VaultClient, clock: Clock, path: str) -> None:
        self._client, self._clock, self._path = client, clock, path

    async def mint(self, lease_id: str, terms: LeaseTerms, ttl_s: int) -> Minted:
        """A credential of the engine's."""
        made = await self._client.call("GET", self._path, _Made)
        if made is None or not made.lease_id or made.lease_duration < 1:
            raise LeaseUnavailable("the engine gave nothing that ends")
        data = {_AWS.get(name, name): value for name, value in made.data.items() if value}
        until_ms = self._clock.now_ms() + made.lease_duration * 1000
        return Minted(_packed(data), until_ms, made.lease_id)

    async def prolong(self, handle: str, ttl_s: int) -> int | None:
        """The engine's answer; None when it does not renew, as many do not."""
        body = {"lease_id": handle, "increment": ttl_s}
        try:
            found = await self._client.call("PUT", "sys/leases/renew", _Renewed, body)
        except LeaseUnavailable:
            return None
        if found is None or found.lease_duration < 60:
            return None  # it has reached its longest
        return self._clock.now_ms() + found.lease_duration * 1000

    async def end(self, handle: str) -> None:
        """Revoked, and confirmed: ``sync`` waits until the engine has done it."""
        if not handle:
            raise LeaseUnavailable("the engine has not told its name for it")
        body = {"lease_id": handle, "sync": True}
        await self._client.call("PUT", "sys/leases/revoke", None, body)


def _packed(fields: Mapping[str, Any]) -> Secret:
    value = fields.get("value")
    if isinstance(value, str) and len(fields) == 1:
        return Secret(value.encode())
    return Secret(msgspec.json.encode(fields))


def _file(path: str) -> Secret:
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MAX_FILE + 1).strip()
    except OSError as error:
        raise LeaseUnavailable(f"cannot read {path}: {error.strerror}") from None
    if not 0 < len(data) <= _MAX_FILE:
        raise LeaseUnavailable(f"{path} holds no credential")
    return Secret(data)
