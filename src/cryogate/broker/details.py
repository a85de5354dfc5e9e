"""``authorization_details`` of type ``qpu_experiment`` (RFC 9396): what an agent asks for.

What may never change: a bound left out means "what policy gives", never "unlimited", and a
granted bound is never wider than the one asked for. There are no other members: whoever sends
``approved`` or ``price`` is refused (A6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal, TypeVar

import msgspec

from cryogate.broker.oauth import OAuthError
from cryogate.domain.decisions import Violation
from cryogate.domain.experiments import Experiment, Release
from cryogate.domain.grants import Grant
from cryogate.domain.ids import is_backend, is_slug
from cryogate.ports.policy import GrantFacts
from cryogate.tokens.claims import Backends, Count, ExpParams, Gates, Text
from cryogate.tokens.encoding import parse_as
from cryogate.tokens.errors import MalformedToken

TYPE: Final = "qpu_experiment"
DEFAULT_TTL_S: Final = 300
MAX_TTL_S: Final = 3600
MAX_BYTES: Final = 8192
_LISTS: Final = frozenset({"allowed_backends", "allowed_gate_set"})
_NUMBERS: Final = frozenset({"max_shots", "max_total_shots", "max_jobs", "max_cost_cents", "ttl_s"})
# The plain parameters; lists are separated by spaces, as scopes are.
PLAIN: Final = frozenset({"experiment_id", "results", *_LISTS, *_NUMBERS})
_unset: Final = msgspec.UNSET
V = TypeVar("V")


def _or(value: V | msgspec.UnsetType, default: V) -> V:
    return default if isinstance(value, msgspec.UnsetType) else value


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One request. Absent is not null: null is refused."""

    type: Literal["qpu_experiment"]
    experiment_id: Text
    allowed_backends: Backends | msgspec.UnsetType = _unset
    allowed_gate_set: Gates | msgspec.UnsetType = _unset
    max_shots: Count | msgspec.UnsetType = _unset
    max_total_shots: Count | msgspec.UnsetType = _unset
    max_jobs: Count | msgspec.UnsetType = _unset
    max_cost_cents: Count | msgspec.UnsetType = _unset
    results: Release | msgspec.UnsetType = _unset
    ttl_s: Annotated[int, msgspec.Meta(ge=1, le=MAX_TTL_S)] | msgspec.UnsetType = _unset

    def wish(self, default_ttl_s: int) -> GrantFacts:
        """What `PolicyEngine.caps` is told: where, and for how long; no bounds are claimed yet."""
        return GrantFacts(
            allowed_backends=_or(self.allowed_backends, ()),
            allowed_gate_set=_or(self.allowed_gate_set, ()),
            max_shots=0,
            max_total_shots=0,
            max_jobs=0,
            max_cost_cents=0,
            results="none",
            ttl_s=_or(self.ttl_s, default_ttl_s),
        )

    def ttl(self, default_ttl_s: int) -> int:
        """The life asked for in seconds, or the default."""
        return _or(self.ttl_s, default_ttl_s)

    def filled(
        self, caps: GrantFacts, experiment: Experiment, left_cents: int, left_shots: int
    ) -> Grant:
        """The request with what is missing taken from ``caps``, and no more of money, shots and
        results than the experiment has.
        """
        results = Release(caps.results).narrowed(experiment.release)
        return Grant(
            experiment_id=self.experiment_id,
            allowed_backends=_names(
                _or(
                    self.allowed_backends,
                    tuple(b for b in caps.allowed_backends if b in experiment.allowed_backends),
                )
            ),
            allowed_gate_set=_names(_or(self.allowed_gate_set, caps.allowed_gate_set)),
            max_shots=_or(self.max_shots, caps.max_shots),
            max_total_shots=min(_or(self.max_total_shots, caps.max_total_shots), left_shots),
            max_jobs=_or(self.max_jobs, caps.max_jobs),
            max_cost_cents=min(_or(self.max_cost_cents, caps.max_cost_cents), left_cents),
            results=_or(self.results, results),
        )

    def wider_than(self, held: Grant) -> tuple[Violation, ...]:
        """Every way in which the request is wider than ``held``; what it leaves out is not."""
        return Grant(
            experiment_id=self.experiment_id,
            allowed_backends=_or(self.allowed_backends, held.allowed_backends),
            allowed_gate_set=_or(self.allowed_gate_set, held.allowed_gate_set),
            max_shots=_or(self.max_shots, held.max_shots),
            max_total_shots=_or(self.max_total_shots, held.max_total_shots),
            max_jobs=_or(self.max_jobs, held.max_jobs),
            max_cost_cents=_or(self.max_cost_cents, held.max_cost_cents),
            results=_or(self.results, held.results),
        ).within(held)

    def beyond(self, experiment: Experiment) -> tuple[Violation, ...]:
        """Every way in which the request is wider than the experiment itself."""
        found = []
        extra = sorted(set(_or(self.allowed_backends, ())) - experiment.allowed_backends)
        if extra:
            allowed = tuple(sorted(experiment.allowed_backends))
            found.append(Violation("allowed_backends", allowed, tuple(extra), f"remove {extra[0]}"))
        results = _or(self.results, Release.NONE)
        if results.rank > experiment.release.rank:
            release = experiment.release.value
            found.append(Violation("results", release, results.value, f"ask for {release}"))
        return tuple(found)


_details: Final[msgspec.json.Decoder[tuple[Asked, ...]]] = msgspec.json.Decoder(
    Annotated[tuple[Asked, ...], msgspec.Meta(min_length=1, max_length=1)]
)


def read_details(text: str) -> Asked:
    """The one request in ``authorization_details``.

    Raises:
        OAuthError: ``invalid_authorization_details``, saying what is wrong and where.
    """
    if len(text) > MAX_BYTES:
        raise _invalid(f"authorization_details have at most {MAX_BYTES} bytes")
    try:
        [asked] = parse_as(text.encode("utf-8"), _details)
    except (MalformedToken, UnicodeEncodeError) as error:
        detail = error.detail if isinstance(error, MalformedToken) else "not JSON"
        raise _invalid(f"authorization_details: {detail}") from None
    if not is_slug(asked.experiment_id):
        raise _invalid("experiment_id is not a well-formed name")
    if not all(map(is_backend, _or(asked.allowed_backends, ()))):
        raise _invalid("allowed_backends hold a name that is not well-formed")
    return asked


def read_request(form: Mapping[str, str]) -> Asked:
    """What a form asks for: ``authorization_details``, or the same members as plain parameters.

    Raises:
        OAuthError: ``invalid_authorization_details``, or ``invalid_request`` for both or neither.
    """
    plain = {name: form[name] for name in PLAIN if name in form}
    if "authorization_details" in form:
        if plain:
            raise OAuthError(
                "invalid_request", "send authorization_details or plain parameters, not both"
            )
        return read_details(form["authorization_details"])
    if "experiment_id" not in plain:
        raise _invalid("authorization_details, or experiment_id, is missing")
    found: dict[str, object] = {"type": TYPE}
    for name, value in plain.items():
        if name in _LISTS:
            found[name] = value.split(" ")
        elif name in _NUMBERS:
            # One spelling only: digits without a sign, a point or a leading zero.
            if not (value.isascii() and value.isdigit() and str(int(value[:17])) == value):
                raise _invalid(f"{name} is not a whole number")
            found[name] = int(value)
        else:
            found[name] = value
    return read_details(msgspec.json.encode([found]).decode())


def granted(grant: Grant, ttl_s: int) -> dict[str, object]:
    """What was granted, as the token response says it (RFC 9396 section 7)."""
    return {"type": TYPE, **msgspec.to_builtins(ExpParams.of(grant)), "ttl_s": ttl_s}


def facts(grant: Grant, ttl_s: int) -> GrantFacts:
    """The grant as policy sees it."""
    return GrantFacts(
        allowed_backends=grant.allowed_backends,
        allowed_gate_set=grant.allowed_gate_set,
        max_shots=grant.max_shots,
        max_total_shots=grant.max_total_shots,
        max_jobs=grant.max_jobs,
        max_cost_cents=grant.max_cost_cents,
        results=grant.results.value,
        ttl_s=ttl_s,
    )


def _invalid(description: str, violations: Sequence[Violation] = ()) -> OAuthError:
    return OAuthError("invalid_authorization_details", description, 400, violations)


def _names(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))
