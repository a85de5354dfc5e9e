"""How an agent's machine gets its key registered, and replaces it later. The key is made here.

Replacing (`rotate`) can break off at any point and be done again:

 (1) the new key is written into the file beside the old one
 (2) the server exchanges them, with proof of both
 (3) the file keeps the new one only

A file that still holds both is at (2), done or not: the old key is tried first, then the new one.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import msgspec

from cryogate.client.errors import Refused, Unavailable
from cryogate.client.identity import Identity, read_credential, replace_credential
from cryogate.client.messages import Reply, origin_of
from cryogate.client.problems import error_of
from cryogate.client.protocol import TOKEN_PATH, ask
from cryogate.client.transport import ClientTls, Transport
from cryogate.domain.errors import Malformed

ENROL_PATH = "/oauth2/enrol"
ROTATE_PATH = "/oauth2/rotate_key"
DEVICE_PATH = "/oauth2/device_authorization"
INTROSPECT_PATH = "/oauth2/introspect"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
T = TypeVar("T")
_UNNAMED = "unnamed"


def now_ms() -> int:
    """UTC milliseconds."""
    return time.time_ns() // 1_000_000


class _Named(msgspec.Struct, frozen=True):
    client_id: str


class _Device(msgspec.Struct, frozen=True):
    device_code: str
    user_code: str
    verification_uri: str
    expires_in: int
    interval: int = 5


class Enroller:
    """Enrolment at one server. ``sleep`` and ``clock`` are for the device flow's polls."""

    def __init__(
        self,
        url: str,
        *,
        insecure_http: bool = False,
        ca_file: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = origin_of(url, insecure_http=insecure_http)
        self._tls, self._sleep = ClientTls(ca_file), sleep

    def by_code(self, code: str) -> Identity:
        """Make a key, and register it by a one-time code.

        Raises:
            Refused: the code is not good.
            Unavailable: no answer; the code may be spent.
        """
        fresh = Identity.generate(_UNNAMED)
        reply = self._ask(ENROL_PATH, fresh, lambda _: {"code": code})
        if reply.status != 201:
            raise error_of(reply, (code,))
        return fresh.named(_decode(reply, _Named).client_id)

    def by_device(
        self, name: str, experiment: str, show: Callable[[str, str, int], None]
    ) -> Identity:
        """Make a key, and wait until a person says whose it is (RFC 8628).

        ``show`` is given the user code, where to go with it, and for how many seconds.

        Raises:
            Refused: a person said no, or nobody said anything in time.
            Unavailable: no usable answer.
        """
        fresh = Identity.generate(name)
        reply = self._ask(DEVICE_PATH, fresh, lambda _: {"client_id": name})
        if reply.status != 200:
            raise error_of(reply)
        device = _decode(reply, _Device)
        show(device.user_code, device.verification_uri, device.expires_in)
        asked = msgspec.json.encode([{"type": "qpu_experiment", "experiment_id": experiment}])
        form = {
            "grant_type": DEVICE_CODE,
            "device_code": device.device_code,
            "client_id": name,
            "authorization_details": asked.decode(),
        }
        interval = max(1, device.interval)
        while True:
            self._sleep(interval)
            reply = self._ask(TOKEN_PATH, fresh, lambda _: form)
            if reply.status == 200:
                return fresh.named(_decode(reply, _Named).client_id)
            error = error_of(reply, (device.device_code,))
            if not isinstance(error, Refused):
                raise error
            if error.code == "slow_down":
                interval += 5
            # approved, and its experiment not open to it yet: somebody is about to do that
            elif error.code not in ("authorization_pending", "invalid_authorization_details"):
                raise error

    def rotate(self, path: str | os.PathLike[str]) -> Identity:
        """Replace the key in a credential file; see the module.

        Raises:
            Refused: the server knows neither key, or they are past their age.
            Unavailable: no answer; the file holds both keys, so do it again.
        """
        with _locked(Path(path)):
            held = read_credential(path)
            resumed = held.next_identity is not None
            fresh = held.next_identity or Identity.generate(held.client_id)
            if not resumed:
                replace_credential(path, replace(held, next_identity=fresh))  # (1)
            reply = self._ask(
                ROTATE_PATH, fresh, lambda at: _assertion(held.identity, self.url, at)
            )
            if reply.status != 200 and not (resumed and self._is_known(fresh)):  # (2)
                if not resumed and reply.status < 500:
                    replace_credential(path, held)
                raise error_of(reply)
            replace_credential(path, replace(held, identity=fresh, next_identity=None))  # (3)
            return fresh

    def _is_known(self, identity: Identity) -> bool:
        def form(at: int) -> Mapping[str, str]:
            return {**_assertion(identity, self.url, at), "token": "none"}

        return self._ask(INTROSPECT_PATH, identity, form).status == 200

    def _ask(
        self, path: str, identity: Identity, form: Callable[[int], Mapping[str, str]]
    ) -> Reply:
        with Transport(self.url, tls=self._tls) as transport:
            return transport.drive(ask(self.url, path, identity, form, now_ms))


@dataclass(slots=True)
class SelfRenewing:
    """Replaces the key of a credential file once the server says that it grows old."""

    path: Path
    enroller: Enroller
    tried: bool = field(default=False)

    def renew(self, key_ends_ms: int | None) -> Identity | None:
        """The new identity, if it was time. A failure is left for the next process to try."""
        if key_ends_ms is None or self.tried:
            return None
        self.tried = True
        try:
            return self.enroller.rotate(self.path)
        except (Refused, Unavailable, Malformed):
            return None


def _assertion(identity: Identity, audience: str, at_ms: int) -> Mapping[str, str]:
    form = dict(identity.grant(audience, at_ms))
    del form["grant_type"]
    return form


def _decode(reply: Reply, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Unavailable("the server's answer cannot be read", reply.status) from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One rotation of a file at a time."""
    try:
        handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Malformed(
            "no_credential", f"cannot open {path.parent.name}: {error.strerror}"
        ) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
