"""Opens commitments of the log for readers who may see what is behind them.

Every text is checked against its commitment before it is shown, so a row that was altered shows
nothing: the commitment stays in its place, and `Opener.broken` counts it.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from cryogate.audit.sealing import ScopeKeys, scope_of
from cryogate.audit.seals import SALT_BYTES, ScopeKey, SealBroken, commitment, is_token
from cryogate.domain.event_classes import SEALED_FIELDS
from cryogate.ports.privacy import EventReader, Opening
from cryogate.ports.store import ReadStore

log = logging.getLogger("cryogate.audit")
_AT_ONCE: Final = 500
_MAX_KNOWN: Final = 2048
_MAX_SCOPES: Final = 32
_CIRCUIT: Final = "circuit_sha256"


class Opener(EventReader):
    """See the module."""

    def __init__(self, store: ReadStore, keys: ScopeKeys) -> None:
        self._store, self._keys = store, keys
        self._known: dict[str, dict[str, Opening]] = {}
        #: How many altered texts were met.
        self.broken = 0

    async def clear(self, events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """See `EventReader`."""
        found = await self.openings(events)
        return [in_clear(event, found) for event in events]

    async def openings(self, events: Sequence[Mapping[str, Any]]) -> dict[str, Opening]:
        """See `EventReader`."""
        wanted: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for event in events:
            experiment = event.get("experiment_id")
            named = experiment if isinstance(experiment, str) else None
            about = wanted[scope_of(str(event.get("action")), named, str(event.get("timestamp")))]
            about.update(dict.fromkeys(tokens_in(event), ""))
            circuit, job = event.get(_CIRCUIT), event.get("job_id")
            if isinstance(circuit, str) and is_token(circuit) and isinstance(job, str):
                about[circuit] = job
        found: dict[str, Opening] = {}
        for scope, tokens in wanted.items():
            found |= await self._of_scope(scope, tokens)
        return found

    async def _from_jobs(
        self, key: ScopeKey, jobs: Mapping[str, str], known: dict[str, Opening]
    ) -> None:
        """Circuits, from the rows of their jobs (by job: the commitment)."""
        names = sorted(jobs)
        for start in range(0, len(names), _AT_ONCE):
            asked = json.dumps(names[start : start + _AT_ONCE])
            for row in await self._store.fetch("scope_circuits", {"jobs": asked}):
                circuit, token = str(row["circuit_sha256"]), jobs[str(row["job_id"])]
                if key.token(_CIRCUIT, circuit) == token:
                    salt = base64.b64encode(key.salt(_CIRCUIT, circuit)).decode()
                    known[token] = Opening(_CIRCUIT, circuit, salt)

    async def _of_scope(self, scope: str, tokens: Mapping[str, str]) -> dict[str, Opening]:
        """``tokens`` to the job whose circuit it may be, or nothing."""
        # The key is asked for every time: what was read before it went is not told after.
        key = await self._keys.find(scope) if tokens else None
        if key is None:
            self._known.pop(scope, None)
            return {}
        if len(self._known) > _MAX_SCOPES:
            self._known.clear()
        known = self._known.setdefault(scope, {})
        if len(known) + len(tokens) > _MAX_KNOWN:
            known.clear()
        jobs = {job: token for token, job in tokens.items() if job and token not in known}
        await self._from_jobs(key, jobs, known)
        missing = sorted(tokens.keys() - known.keys())
        for start in range(0, len(missing), _AT_ONCE):
            asked = json.dumps(missing[start : start + _AT_ONCE])
            for row in await self._store.fetch("scope_open", {"scope": scope, "tokens": asked}):
                token = str(row["token"])
                try:
                    field, value = key.open(str(row["text"]), token)
                except SealBroken as error:
                    self.broken += 1
                    log.error("the sealed text of %s in %r: %s", token, scope, error)
                    continue
                salt = base64.b64encode(key.salt(field, value)).decode()
                known[token] = Opening(field, value, salt)
        return {token: known[token] for token in tokens if token in known}


def tokens_in(event: Mapping[str, Any]) -> Iterable[str]:
    """The commitments in the fields of an event that may have some."""
    for name in SEALED_FIELDS:
        value = event.get(name)
        for item in value if isinstance(value, list | tuple) else (value,):
            if is_token(item):
                yield item


def in_clear(event: Mapping[str, Any], found: Mapping[str, Opening]) -> dict[str, Any]:
    """The event with what ``found`` opens; an opening stands for the field that it is of only."""
    changed = dict(event)
    for name in SEALED_FIELDS:
        value = event.get(name)
        if isinstance(value, list | tuple):
            changed[name] = [_value(name, item, found) for item in value]
        elif value is not None:
            changed[name] = _value(name, value, found)
    return changed


def _value(name: str, item: Any, found: Mapping[str, Opening]) -> Any:
    opening = found.get(item) if isinstance(item, str) else None
    return opening.value if opening is not None and opening.field == name else item


def opens(token: str, opening: Opening) -> bool:
    """Whether an opening from anywhere is the one of a commitment: no key is needed."""
    try:
        salt = base64.b64decode(opening.salt, validate=True)
    except (binascii.Error, ValueError):
        return False
    if len(salt) != SALT_BYTES:
        return False
    return commitment(opening.field, opening.value, salt) == token
