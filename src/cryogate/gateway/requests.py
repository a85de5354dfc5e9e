"""What an agent may ask of the gateway, as strict types.

A field that is not listed is refused, so nobody can hand in ``approved`` or ``price`` (A6).
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec

from cryogate.circuits import Format
from cryogate.outbound.hooks import MAX_HOOK

Shots = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
BackendName = Annotated[
    str, msgspec.Meta(pattern=r"^[a-z][a-z0-9]{0,15}:[a-z0-9][a-z0-9._-]{0,62}\Z")
]
SessionId = Annotated[str, msgspec.Meta(pattern=r"^ses_[0-9a-z]{26}\Z")]
Key = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:-]{1,128}\Z")]
Parameter = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}\Z")]
MetaText = Annotated[str, msgspec.Meta(max_length=256)]


class ProgramText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A circuit in an accepted notation; ``parameters`` bind its ``input`` declarations."""

    format: Literal["openqasm2", "openqasm3", "ionq.circuit.v1"]
    source: str
    parameters: Annotated[dict[Parameter, float], msgspec.Meta(max_length=1000)] = {}

    def parsed_format(self) -> Format:
        """The circuits package's name for the notation."""
        return Format(self.format)


class EstimateRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What would happen, without anything happening."""

    backend: BackendName
    program: ProgramText
    shots: Shots
    session_id: SessionId | None = None


class PreviewRequest(EstimateRequest, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``POST /v1/estimates``. ``check_vendor``: the vendor is asked too, where it can be."""

    check_vendor: bool = False


class JobRequest(EstimateRequest, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``POST /v1/jobs``."""

    idempotency_key: Key | None = None
    webhook: Annotated[str, msgspec.Meta(max_length=MAX_HOOK)] | None = None
    metadata: Annotated[
        dict[Annotated[str, msgspec.Meta(min_length=1, max_length=64)], MetaText],
        msgspec.Meta(max_length=16),
    ] = {}

    def digest(self) -> str:
        """SHA-256 (hex) of everything that was asked: one idempotency key, one digest (B3)."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()


class SessionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``POST /v1/sessions``. What is left out is taken from the token, but for raw results: a
    session gives those only when it says so.
    """

    backends: (
        Annotated[tuple[BackendName, ...], msgspec.Meta(min_length=1, max_length=32)] | None
    ) = None
    max_jobs: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    ttl_s: Annotated[int, msgspec.Meta(ge=1, le=3600)] | None = None
    results: Literal["none", "aggregates", "raw"] | None = None
