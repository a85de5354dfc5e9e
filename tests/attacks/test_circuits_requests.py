"""What surrounds a circuit in a request: its parameters, its format, the backend's name."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from cryogate.circuits import RICH_ENTRYPOINT, Dialect, Format, GuardedPool, ParseLimits, parse_flat
from cryogate.domain.errors import Malformed
from cryogate.gateway.case import Case
from cryogate.gateway.checks.circuit import CircuitCheck
from cryogate.gateway.checks.device_limits import DeviceLimitsCheck
from cryogate.gateway.checks.token_limits import TokenLimitsCheck
from cryogate.gateway.requests import EstimateRequest, JobRequest, ProgramText
from cryogate.ports.provider import Backend

GHZ = (
    'OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; creg c[2]; h q[0]; cx q[0],q[1]; measure q->c;'
)
GATES, FEATURES = frozenset({"h", "cx"}), frozenset({"parameters"})


def body(**program: object) -> bytes:
    made = {"format": "openqasm3", "source": "x", **program}
    return msgspec.json.encode({"backend": "local:aer", "shots": 1, "program": made})


@pytest.mark.attack("A4")
@pytest.mark.parametrize(
    "parameters",
    [
        b'{"t": "1"}', b'{"t": "1e9"}', b'{"t": true}', b'{"t": null}', b'{"t": [1]}',
        b'{"t": NaN}',
        b'{"t": Infinity}', b'{"t": 1e999}', b'{"": 1}', b'{"t t": 1}', b'{"\\u0442": 1}',
        b'{"t\\n": 1}', b'{"1t": 1}', b'[1]', b'"t"',
        b"{" + b",".join(b'"a%d":1' % i for i in range(1001)) + b"}",
    ],
)  # fmt: skip
def test_parameters_are_finite_numbers_with_plain_names(parameters: bytes) -> None:
    good = body(parameters={"t": 0.5})
    assert msgspec.json.decode(good, type=JobRequest).program.parameters == {"t": 0.5}
    with pytest.raises(msgspec.MsgspecError):
        msgspec.json.decode(good.replace(b'{"t":0.5}', parameters), type=JobRequest)


@pytest.mark.attack("A4", "A6")
@pytest.mark.parametrize(
    "program",
    [
        {"format": "qpy"}, {"format": "OPENQASM2"}, {"format": "openqasm2 "}, {"format": None},
        {"format": ["openqasm2"]}, {"source": 1}, {"source": None}, {"facts": {}},
        {"circuit_sha256": "0" * 64}, {"gates": 1},
    ],
)  # fmt: skip
def test_a_program_is_a_format_and_a_text_and_no_more(program: dict[str, object]) -> None:
    with pytest.raises(msgspec.MsgspecError):
        msgspec.json.decode(body(**program), type=JobRequest)


@pytest.mark.attack("B3", "C6")
def test_other_parameters_are_another_request() -> None:
    one = msgspec.json.decode(body(parameters={"t": 0.5}), type=JobRequest)
    two = msgspec.json.decode(body(parameters={"t": 0.25}), type=JobRequest)
    assert one.digest() != two.digest()


@pytest.mark.attack("C5", "C6")
async def test_the_bound_program_is_what_is_checked() -> None:
    pool = GuardedPool(RICH_ENTRYPOINT)
    check = CircuitCheck(ParseLimits(), pool)
    source = "OPENQASM 3; input float t; input int n; qubit q; bit c;"
    source += " for int i in [1:n] { U(t, 0, 0) q; } c = measure q;"
    seen = set()
    for count in (2, 50):
        case = _case("local:aer", source, {"t": 0.5, "n": count})
        await check(case)
        assert case.facts is not None
        assert case.program is not None
        assert case.facts.gates == count
        seen.add(case.program.fingerprint)
    assert len(seen) == 2
    with pytest.raises(Malformed) as refused:
        await check(_case("local:aer", source, {"t": 0.5, "n": 10**12}))
    assert "1000000000000 gates" in refused.value.detail
    for wrong in ({}, {"t": 0.5}, {"t": 0.5, "n": 1, "x": 1}, {"t": 0.5, "n": 1.5}):
        with pytest.raises(Malformed):
            await check(_case("local:aer", source, wrong))
    await pool.close()


def _case(backend: str, source: str, parameters: dict[str, float] | None = None) -> Case:
    format_ = "openqasm3" if source.startswith("OPENQASM 3") else "openqasm2"
    text = ProgramText(format=format_, source=source, parameters=parameters or {})  # type: ignore[arg-type]
    grant = SimpleNamespace(
        allowed_backends=("local:aer",), allowed_gate_set=("h", "cx"), max_shots=10,
        max_total_shots=10, max_jobs=1,
    )  # fmt: skip
    devices = {
        name: Backend(name, "local", dialect is None, 4, 10, GATES, FEATURES, dialect=dialect)
        for name, dialect in (("local:aer", None), ("local:qpu", Dialect.IONQ_JSON))
    }
    made: Any = SimpleNamespace(
        caller=SimpleNamespace(grant=grant), devices=devices, backend=None, program=None,
        facts=None, request=EstimateRequest(backend=backend, program=text, shots=1),
        standing=SimpleNamespace(used_shots=0, used_jobs=0),
    )  # fmt: skip
    return cast(Case, made)


@pytest.mark.attack("A5")
@pytest.mark.parametrize(
    "name",
    [
        "local:qpu", "LOCAL:AER", "local:aer ", " local:aer", "local:aer\n", "local:aer\x00",
        "local: aer", "local::aer", "local:aer/../qpu", "local:%61er", "l\u043ecal:aer", "aer",
        "local:aer;local:qpu", "local:aer,local:qpu", "LocalAer", "local:aer#qpu", "",
    ],
)  # fmt: skip
async def test_a5_a_backend_has_one_name(name: str) -> None:
    """No spelling leads to a backend that was not granted, nor to a granted one by another name."""
    case = _case(name, GHZ)
    case.program = parse_flat(GHZ.encode(), Format.OPENQASM2)
    case.facts = case.program.facts
    refused = [v.limit for v in await TokenLimitsCheck()(case)]
    refused += [v.limit for v in await DeviceLimitsCheck()(case)]
    assert "allowed_backends" in refused
    if name != "local:qpu":
        assert case.backend is None
        made = {"backend": name, "shots": 1, "program": {"format": "openqasm2", "source": ""}}
        # What does not look like a name does not even get as far as the checks.
        with pytest.raises(msgspec.MsgspecError):
            msgspec.json.decode(msgspec.json.encode(made), type=JobRequest)


async def test_what_a_dialect_cannot_say_is_refused_before_anything_is_reserved() -> None:
    case = _case("local:qpu", GHZ)
    case.program = parse_flat(
        GHZ.replace("h q[0];", "h q[0]; barrier q;").encode(), Format.OPENQASM2
    )
    case.facts = case.program.facts
    [violation] = await DeviceLimitsCheck()(case)
    assert (violation.limit, violation.allowed) == ("backend.dialect", "ionq.circuit.v1")
    assert "barrier" in str(violation.actual)
