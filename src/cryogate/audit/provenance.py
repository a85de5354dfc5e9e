"""Provenance: an in-toto Statement v1 about each result, in DSSE.

Why a statement can be believed:

(1) It is made from the rows that the job's own transactions wrote, not from anything a client says.
(2) It is made once; whoever asks again gets the same bytes.
(3) Its digest stands in an event (`provenance.signed`) of the same unit of work, so the log says
    that exactly this statement was made, and when; a second one with the stolen key has no entry.
(4) Its subject is a digest of all counts, so it cannot be moved to another result. The digest is
    salted, and only who is given all counts is given the salt: a plain digest would let a reader of
    aggregates try out what was withheld from them (D1).

What may never change: the meaning of a field of the predicate; a new meaning is a new type.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import (
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)

from cryogate.audit import dsse
from cryogate.audit.standing import integer
from cryogate.domain.errors import Conflict
from cryogate.domain.events import Event, Outcome
from cryogate.ports.audit import canonical, rfc3339
from cryogate.ports.clock import Clock
from cryogate.ports.provider import Backend
from cryogate.ports.store import AlreadyExists, Row, Statement, Store, UnitOfWork

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://cryogate.dev/provenance/job/v1"
PAYLOAD: Final = "application/vnd.in-toto+json"
SIGNED: Final = "provenance.signed"
_DIGEST = "statement sha256:"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dsse.Envelope).decode


def counts_digest(counts: object, salt: str | None) -> str:
    """SHA-256 over the salt and the counts as canonical JSON: what a statement's subject is."""
    return sha256(canonical({"counts": counts, "salt": salt})).hexdigest()


def logged_digest(payload: bytes) -> str:
    """How the digest of a statement stands in its event."""
    return _DIGEST + sha256(payload).hexdigest()


class SignedResult(NamedTuple):
    """A statement, and what opens its digest: for who may have all counts."""

    envelope: dsse.Envelope
    salt: str


class Provenances:
    """Makes and keeps the statements."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        key: EllipticCurvePrivateKey,
        origin: str,
        devices: Callable[[], Mapping[str, Backend]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._key = key
        self._origin = origin
        self._devices = devices

    @property
    def public_key(self) -> EllipticCurvePublicKey:
        """Whose signature is on the statements."""
        return self._key.public_key()

    async def of_job(self, job_id: str) -> SignedResult:
        """The statement about a job's result, and the salt of its digest.

        Raises:
            Conflict: there is no result.
            StoreUnavailable: the database did not answer.
        """
        kept = await self.made(job_id)
        if kept is None:
            # Two readers at once make one statement: the second's event goes with its row.
            with contextlib.suppress(AlreadyExists):
                await self._make(job_id)
            kept = await self.made(job_id)
        if kept is None:
            raise Conflict("no_result", "the job has no result to make a statement about")
        return kept

    async def made(self, job_id: str) -> SignedResult | None:
        """The statement if it has been made already."""
        row = await self._store.fetch_one("provenance_of_job", {"job_id": job_id})
        return (
            None if row is None else SignedResult(_decode(str(row["envelope"])), str(row["salt"]))
        )

    async def _make(self, job_id: str) -> None:
        row = await self._store.fetch_one("provenance_subject", {"job_id": job_id})
        if row is None:
            raise Conflict("no_result", "the job has no result to make a statement about")
        steps = await self._store.fetch("log_of_job", {"job_id": job_id})
        salt = secrets.token_hex(32)
        payload = canonical(statement(row, steps, self._origin, self._devices(), salt))
        envelope = dsse.sign(self._key, PAYLOAD, payload)
        now_ms = self._clock.now_ms()
        insert = Statement(
            "provenance_insert",
            {
                "job_id": job_id,
                "envelope": _encode(envelope).decode(),
                "salt": salt,
                "now_ms": now_ms,
            },
        )
        event = Event(
            timestamp_ms=now_ms,
            action=SIGNED,
            outcome=Outcome.SUCCESS,
            agent_id=str(row["agent_id"]),
            human_owner=str(row["owner"]),
            experiment_id=str(row["experiment_id"]),
            circuit_sha256=str(row["circuit_sha256"]),
            qpu=str(row["backend"]),
            shots=integer(row, "shots"),
            job_id=job_id,
            decision_reasons=(logged_digest(payload), f"key sha256:{dsse.key_id(self.public_key)}"),
        )
        await self._store.commit(UnitOfWork((insert,), (event,)))


def statement(
    row: Row, steps: object, origin: str, devices: Mapping[str, Backend], salt: str
) -> dict[str, Any]:
    """The in-toto statement about the result in ``row``; no floats, so it is canonical JSON."""
    counts = json.loads(str(row["counts"]))
    backend = str(row["backend"])
    predicate: dict[str, Any] = {
        "job_id": row["job_id"],
        "circuit": {
            "sha256": row["circuit_sha256"],
            "program_sha256": sha256(str(row["program"]).encode()).hexdigest(),
            "request_sha256": row["request_sha256"],
        },
        "shots": row["shots"],
        "backend": {"name": backend, **_device(devices.get(backend))},
        "agent": {
            "agent_id": row["agent_id"],
            "owner": row["owner"],
            "chain": _chain(steps),
        },
        "experiment_id": row["experiment_id"],
        "token_id": row["token_id"],
        "session_id": row["session_id"],
        "policy_digest": row["policy_digest"],
        "approval_id": row["approval_id"],
        "cost": {
            "bound_cents": row["cost_bound_cents"],
            "actual_cents": row["cost_actual_cents"],
            "currency": row["currency"],
        },
        "runtime_ms": row["runtime_ms"],
        "accepted_at": rfc3339(integer(row, "created_ms")),
        "received_at": rfc3339(integer(row, "result_ms")),
        # what we can vouch for: the program we handed over and the answer we got. That a vendor's
        # machine ran it is the vendor's word
        "assurance": "computed_here" if backend.startswith("local:") else "reported_by_vendor",
        "log": {"origin": origin, "steps": _digests(steps)},
    }
    return {
        "_type": STATEMENT,
        "subject": [
            {
                "name": f"counts of {row['job_id']}",
                "digest": {"sha256": counts_digest(counts, salt)},
            }
        ],
        "predicateType": PREDICATE,
        "predicate": predicate,
    }


def _device(device: Backend | None) -> dict[str, Any]:
    """The device as it was known when the statement was made."""
    if device is None:
        return {}
    calibrated = device.calibrated_ms
    return {
        "simulator": device.simulator,
        "qubits": device.qubits,
        "calibrated_at": None if calibrated is None else rfc3339(calibrated),
    }


def _chain(steps: Any) -> list[str]:
    for step in steps:
        if str(step["action"]) in ("job.accepted", "job.parked"):
            chain = json.loads(str(step["body"])).get("actor_chain")
            return list(chain) if isinstance(chain, list) else []
    return []


def _digests(steps: Any) -> list[dict[str, str]]:
    """The job's events by the digest of their canonical text, which is theirs before any place."""
    return [
        {"action": str(step["action"]), "sha256": sha256(str(step["body"]).encode()).hexdigest()}
        for step in steps
        if str(step["action"]).startswith("job.")
    ][:32]
