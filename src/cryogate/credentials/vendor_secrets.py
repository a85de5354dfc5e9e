"""The vendors' long-lived secrets, sealed in the database.

A secret belongs to a scheme, and to one experiment or to all that have none of their own. Its value
is sealed under a context that names both and its version, so a row copied to another place, or an
old version put back, does not open.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from cryogate.domain.errors import Conflict, Malformed, NotFound
from cryogate.domain.events import Event, Outcome
from cryogate.domain.ids import is_slug
from cryogate.domain.secrets import Secret
from cryogate.ports.clock import Clock
from cryogate.ports.credentials import (
    LeaseUnavailable,
    RootSecrets,
    Sealer,
    SecretRecord,
    VendorSecrets,
)
from cryogate.ports.store import AlreadyExists, GuardFailed, Row, Statement, Store, UnitOfWork

MAX_VALUE: Final = 16 << 10
_SCHEME: Final = re.compile(r"[a-z][a-z0-9]{0,15}", re.ASCII)
Changed = Callable[[str, str], Awaitable[None]]


async def _nobody(scheme: str, experiment_id: str) -> None:
    return


class StoredSecrets(VendorSecrets, RootSecrets):
    """See the module. ``changed`` is called once a value is no longer the one in force,
    ``added`` once there is a first one."""

    def __init__(self, store: Store, sealer: Sealer, clock: Clock) -> None:
        self._store, self._sealer, self._clock = store, sealer, clock
        self.changed: Changed = _nobody
        self.added: Changed = _nobody

    async def add(self, scheme: str, experiment_id: str, value: Secret, actor: str) -> SecretRecord:
        """See `VendorSecrets.add`."""
        _check(scheme, experiment_id, value)
        statement = Statement(
            "vendor_secret_add",
            {
                "scheme": scheme,
                "experiment_id": experiment_id,
                "sealed": self._sealer.seal(value, _context(scheme, experiment_id, 1)),
                "now_ms": self._clock.now_ms(),
                "actor": actor,
            },
        )
        try:
            await self._commit(statement, "secret.added", scheme, experiment_id, actor)
        except AlreadyExists:
            raise Conflict("secret_exists", "there is one: rotate it") from None
        await self.added(scheme, experiment_id)
        return await self._record(scheme, experiment_id)

    async def rotate(
        self, scheme: str, experiment_id: str, value: Secret, actor: str
    ) -> SecretRecord:
        """See `VendorSecrets.rotate`."""
        _check(scheme, experiment_id, value)
        version = (await self._record(scheme, experiment_id)).version
        context = _context(scheme, experiment_id, version + 1)
        statement = Statement(
            "vendor_secret_rotate",
            {
                "scheme": scheme,
                "experiment_id": experiment_id,
                "sealed": self._sealer.seal(value, context),
                "version": version,
                "now_ms": self._clock.now_ms(),
                "actor": actor,
            },
        )
        try:
            await self._commit(statement, "secret.rotated", scheme, experiment_id, actor)
        except GuardFailed:
            raise Conflict("secret_changed", "somebody changed it meanwhile") from None
        await self.changed(scheme, experiment_id)
        return await self._record(scheme, experiment_id)

    async def remove(self, scheme: str, experiment_id: str, actor: str) -> None:
        """See `VendorSecrets.remove`."""
        params = {"scheme": scheme, "experiment_id": experiment_id}
        statement = Statement("vendor_secret_remove", params)
        try:
            await self._commit(statement, "secret.removed", scheme, experiment_id, actor)
        except GuardFailed:
            raise _missing() from None
        await self.changed(scheme, experiment_id)

    async def list(self) -> Sequence[SecretRecord]:
        """See `VendorSecrets.list`."""
        return [_record_of(row) for row in await self._store.fetch("vendor_secrets", {})]

    async def value(self, scheme: str, experiment_id: str) -> Secret:
        """The secret in force for an experiment.

        Raises:
            LeaseUnavailable: there is none, or it does not open.
        """
        params = {"scheme": scheme, "experiment_id": experiment_id}
        row = await self._store.fetch_one("vendor_secret_value", params)
        if row is None:
            raise LeaseUnavailable(f"no secret for {scheme}: run cryogate secret set {scheme}")
        found = _record_of(row)
        try:
            return self._sealer.open(
                str(row["sealed"]), _context(found.scheme, found.experiment_id, found.version)
            )
        except ValueError as error:
            raise LeaseUnavailable(f"the secret for {scheme} does not open") from error

    async def _record(self, scheme: str, experiment_id: str) -> SecretRecord:
        for found in await self.list():
            if (found.scheme, found.experiment_id) == (scheme, experiment_id):
                return found
        raise _missing()

    async def _commit(
        self, statement: Statement, action: str, scheme: str, experiment_id: str, actor: str
    ) -> None:
        event = Event(
            timestamp_ms=self._clock.now_ms(),
            action=action,
            outcome=Outcome.SUCCESS,
            experiment_id=experiment_id or None,
            decision_reasons=(f"scheme {scheme}",),
            actor_chain=(actor,),
        )
        await self._store.commit(UnitOfWork((statement,), (event,)))


def _check(scheme: str, experiment_id: str, value: Secret) -> None:
    if _SCHEME.fullmatch(scheme) is None or scheme == "local":
        raise Malformed("malformed_scheme", "name a vendor's scheme, such as ionq")
    if experiment_id and not is_slug(experiment_id):
        raise Malformed("malformed_name", "no experiment can have this name")
    if not 0 < len(value.reveal()) <= MAX_VALUE:
        raise Malformed("malformed_secret", f"a secret has 1 to {MAX_VALUE} bytes")


def _missing() -> NotFound:
    return NotFound("no_such_secret", "there is no such secret")


def _context(scheme: str, experiment_id: str, version: int) -> str:
    return f"vendor-secret:{scheme}:{experiment_id}:{version}"


def _record_of(row: Row) -> SecretRecord:
    return SecretRecord(
        str(row["scheme"]),
        str(row["experiment_id"]),
        int(row["version"] or 0),
        int(row["created_ms"] or 0),
        int(row["changed_ms"] or 0),
        str(row["changed_by"]),
    )
