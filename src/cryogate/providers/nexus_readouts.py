"""Results as pytket packs them: eight bits to a byte, the first bit highest."""

from __future__ import annotations

from typing import Final

from cryogate.circuits import Program
from cryogate.ports.provider import RawResult, VendorLied
from cryogate.providers import nexus_wire as wire
from cryogate.providers.readouts import of_memory

_MOST: Final = 10_000_000


def read_result(said: wire.ResultAttributes, program: Program) -> RawResult:
    """Counts, and memory where shots are given, over the program's classical bits.

    Raises:
        VendorLied: it cannot be a result of the program.
    """
    places = {bit: place for place, bit in enumerate(said.bits)}
    wanted = [
        (f"c{number}", (bit,))
        for number, size in enumerate(program.registers)
        for bit in range(size)
    ]
    if len(places) != len(said.bits) or not places.keys() >= set(wanted):
        raise VendorLied("its result lacks a bit of the program")
    order = [places[bit] for bit in reversed(wanted)]
    width = len(said.bits)
    if said.shots is not None:
        return of_memory(_texts(said.shots, width, order))
    if said.counts is None:
        raise VendorLied("its result has neither shots nor counts")
    counts: dict[str, int] = {}
    total = 0
    for entry in said.counts:
        rows = _texts(entry.outcome, width, order)
        if len(rows) != 1 or not 0 < entry.count <= _MOST:
            raise VendorLied("its result has a count that is none")
        counts[rows[0]] = counts.get(rows[0], 0) + entry.count
        total += entry.count
    return RawResult(counts, total)


def _texts(readouts: wire.Readouts, width: int, order: list[int]) -> list[str]:
    size = (width + 7) // 8
    if readouts.width != width:
        raise VendorLied("its result has rows of another width")
    texts = []
    for row in readouts.array:
        if len(row) != size or not all(0 <= byte < 256 for byte in row):
            raise VendorLied("its result has a row that is none")
        bits = "".join([format(byte, "08b") for byte in row])
        texts.append("".join([bits[place] for place in order]))
    return texts
