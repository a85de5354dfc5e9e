"""Qubits of a grid, programs that name them, and bits that come back: values in, values out."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from cryogate.circuits import CircuitError, Dialect, Program, emit, parse_cirq
from cryogate.circuits.model import STORED
from cryogate.ports.provider import Control, RawResult, VendorLied, VendorLimit
from cryogate.providers import google_wire as wire
from cryogate.providers.readouts import of_memory

Pairs = frozenset[tuple[int, int]]
_NOT_IN_LABELS: Final = re.compile(r"[^a-z0-9_-]")


def grid(spec: wire.Specification) -> tuple[tuple[str, ...], Pairs]:
    """The device's qubits by row and column, and which of them, by number, are coupled."""
    qubits = tuple(sorted(set(spec.valid_qubits), key=_place))
    number = {name: place for place, name in enumerate(qubits)}
    pairs = {
        (number[target.ids[0]], number[target.ids[1]])
        for targets in spec.valid_targets
        for target in targets.targets
        if len(target.ids) == 2 and set(target.ids) <= number.keys()
    }
    return qubits, frozenset(pairs)


def _place(name: str) -> tuple[int, int]:
    row, _, column = name.partition("_")
    return int(row), int(column)


def renamed(text: bytes, qubits: Sequence[str]) -> dict[str, Any]:
    """The program of a confirmed text, with a device's names in the place of numbers."""
    program: dict[str, Any] = msgspec.json.decode(text)["program"]
    program["constants"] = [
        {"qubit": {"id": qubits[number]}} for number in range(len(program["constants"]))
    ]
    return program


def names_in(constants: object) -> list[str]:
    """The qubits that a program's constants name; none if they name anything else."""
    try:
        found = msgspec.convert(constants, list[dict[str, dict[str, str]]])
        return [entry["qubit"]["id"] for entry in found if len(entry) == 1]
    except (msgspec.ValidationError, KeyError):
        return []


def same(code: Mapping[str, object], program: Program) -> bool:
    """Whether ``code`` is ``program`` on some qubits: our words, or the same circuit in others."""
    told = {key: value for key, value in code.items() if key != "@type"}
    names = names_in(told.get("constants"))
    if len(names) != program.qubits or len(set(names)) != len(names):
        return False
    expected = msgspec.json.decode(emit(program, Dialect.CIRQ))["program"]
    told["constants"] = expected["constants"]
    if told == expected:
        return True
    again = msgspec.json.encode({"registers": list(program.registers), "program": told})
    try:
        return parse_cirq(again, STORED).fingerprint == program.fingerprint
    except CircuitError:
        return False


def read(sweep: wire.Sweep, program: Program) -> RawResult:
    """Counts and memory over the program's classical bits.

    Raises:
        VendorLied: no result of this program.
    """
    shots = sweep.repetitions
    if not 0 < shots < 1 << 31:
        raise VendorLied("its result has no possible number of shots")
    found = {m.key: m for m in sweep.parameterized_results[0].measurement_results}
    columns = ["0" * shots] * program.clbits
    measured = {op.clbits[0] for op in program.operations() if op.name == "measure"}
    if found.keys() != {f"c{bit}" for bit in measured}:
        raise VendorLied("its result has other bits than the program")
    for bit in measured:
        columns[bit] = _column(found[f"c{bit}"], shots)
    memory = ["".join(row) for row in zip(*reversed(columns), strict=True)]
    return of_memory(memory)


def _column(measurement: wire.Measurement, shots: int) -> str:
    if measurement.instances != 1 or len(measurement.qubit_measurement_results) != 1:
        raise VendorLied("its result has a bit that was not measured once")
    try:
        data = base64.b64decode(measurement.qubit_measurement_results[0].results, validate=True)
    except (binascii.Error, ValueError):
        raise VendorLied("its result has bits that cannot be read") from None
    if len(data) != -(-shots // 8):
        raise VendorLied("its result has another number of shots")
    # the first repetition is the lowest bit of the first byte
    whole = format(int.from_bytes(data, "little"), f"0{8 * len(data)}b")[::-1]
    if "1" in whole[shots:]:
        raise VendorLied("its result has more shots than it says")
    return whole[:shots]


def label(text: str) -> str:
    """``text`` as a label's value may be."""
    return _NOT_IN_LABELS.sub("-", text.lower())[:63]


def job_id(ours: str) -> str:
    """What program and job are called for a job of ours."""
    return ours.replace("_", "-")


def limit(budget: wire.Budget) -> VendorLimit:
    """Processor time that Google has granted."""
    most, left = _seconds(budget.granted_duration), _seconds(budget.available_duration)
    until_ms = epoch_ms(budget.expire_time)
    return VendorLimit(Control.MAX_TIME, "project", "seconds", most, max(0, most - left), until_ms)


def _seconds(duration: str) -> int:
    return int(duration.rstrip("s").partition(".")[0])


def calibrated_ms(name: str) -> int | None:
    """A calibration is called by its second."""
    second = name.rpartition("/")[2]
    if not (second.isascii() and second.isdigit() and len(second) <= 12):
        return None
    return int(second) * 1000


def runtime_ms(timing: wire.Timing | None) -> int | None:
    """From start to end, where both are told."""
    if timing is None:
        return None
    began, ended = epoch_ms(timing.started_time), epoch_ms(timing.completed_time)
    return None if began is None or ended is None else max(0, ended - began)


def epoch_ms(text: str) -> int | None:
    """A time stamp of protobuf's JSON; None if it is none."""
    # nine digits of a second are more than Python reads
    short = re.sub(r"(\.[0-9]{6})[0-9]+", r"\1", text)
    try:
        return int(datetime.fromisoformat(short).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


def coupled(program: Program, qubits: Sequence[str], pairs: Pairs) -> Sequence[str]:
    """What a device would refuse of a program's pairs of qubits."""
    apart = {
        op.qubits
        for op in program.operations()
        if len(op.qubits) == 2 and op.qubits not in pairs and op.qubits[::-1] not in pairs
    }
    return [
        f"qubits {a} ({_called(qubits, a)}) and {b} ({_called(qubits, b)}) are not coupled"
        for a, b in sorted(apart)[:8]
    ]


def _called(qubits: Sequence[str], number: int) -> str:
    return qubits[number] if number < len(qubits) else "none"


def tags(terms: Mapping[str, str]) -> dict[str, str]:
    """Labels of a program and its job."""
    return {f"cryogate_{name}": label(text) for name, text in terms.items()}
