"""Hostile circuits, all through one small pool: each is answered and the service lives on."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from qiskit import QuantumCircuit, qpy
from tests.corpus.hostile import Hostile, corpus

from cryogate.circuits import (
    QPY_ENTRYPOINT,
    RICH_ENTRYPOINT,
    CircuitError,
    Dialect,
    Format,
    GuardedPool,
    ParseLimits,
    WorkerLimits,
    check_returned,
    emit,
    load,
)

V2 = b'OPENQASM 2.0;\ninclude "qelib1.inc";\n'
V3 = b'OPENQASM 3.0;\ninclude "stdgates.inc";\n'
GOOD = b"OPENQASM 3.0; gate g a { U(1,2,3) a; } qubit q; g q;"
# What the service must hold to, whatever it is sent: 2 s and 512 MB.
LIMITS = WorkerLimits(memory_bytes=512 << 20, cpu_seconds=2)


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[GuardedPool]:
    made = GuardedPool(RICH_ENTRYPOINT, size=1, limits=LIMITS, max_jobs=10_000)
    yield made
    await made.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def qpy_pool() -> AsyncIterator[GuardedPool]:
    made = GuardedPool(QPY_ENTRYPOINT, size=1, limits=LIMITS, max_jobs=10_000)
    yield made
    await made.close()


async def _alive(pool: GuardedPool) -> None:
    good = await load(GOOD, Format.OPENQASM3, ParseLimits(), pool)
    assert good.facts.gates == 1


async def _refused(pool: GuardedPool, source: bytes) -> CircuitError:
    """Refused in both languages; the error of the one the header names."""
    named = Format.OPENQASM2 if b"OPENQASM 2" in source[:20] else Format.OPENQASM3
    refusals = {}
    for format_ in (Format.OPENQASM2, Format.OPENQASM3):
        with pytest.raises(CircuitError) as caught:
            await load(source, format_, ParseLimits(), pool)
        shown = str(caught.value)
        assert shown.isascii()
        assert shown.isprintable()
        assert len(shown) < 400
        refusals[format_] = caught.value
    return refusals[named]


GROUPS: dict[str, list[Hostile]] = {}
for _item in corpus():
    GROUPS.setdefault(_item.name.partition("-")[0], []).append(_item)


async def test_the_corpus_is_large() -> None:
    assert sum(map(len, GROUPS.values())) >= 600
    assert len(GROUPS) == 11


@pytest.mark.attack("A4", "C1", "C2", "C3", "C4", "C7", "C8")
@pytest.mark.parametrize("group", sorted(GROUPS))
async def test_every_hostile_file_is_answered(
    pool: GuardedPool, qpy_pool: GuardedPool, group: str
) -> None:
    """A program within the limits, or a refusal that is fit to show; and the service lives on.

    Time and memory are the pool's to bound: `WorkerLimits`, and its deadline for each call.
    """
    limits, used = ParseLimits(), qpy_pool if group == "qpy" else pool
    for item in GROUPS[group]:
        try:
            facts = (await load(item.source, Format(item.format), limits, used)).facts
            assert facts.gates + facts.measurements <= limits.max_operations, item.name
            assert facts.qubits <= limits.max_qubits, item.name
        except CircuitError as error:
            shown = str(error)
            assert shown.isascii(), item.name
            assert shown.isprintable(), item.name
            assert len(shown) < 500, item.name
    await _alive(used)


@pytest.mark.attack("S3")
async def test_s3_circuits_from_a_vendor_are_read_like_an_agents(pool: GuardedPool) -> None:
    source = V2 + b"qreg q[2]; creg c[2]; h q[0]; cx q[0],q[1]; measure q -> c;"
    program = await load(source, Format.OPENQASM2, ParseLimits(), pool)
    echoes = {
        Format.OPENQASM2: emit(program, Dialect.OPENQASM2),
        Format.OPENQASM3: emit(program, Dialect.OPENQASM3),
        Format.IONQ_JSON: emit(program, Dialect.IONQ_JSON),
    }
    for format_, echo in echoes.items():
        await check_returned(echo, format_, program, pool)
        changed = echo.replace(b"h q[0]", b"x q[0]").replace(b'"gate":"h"', b'"gate":"x"')
        with pytest.raises(CircuitError) as caught:
            await check_returned(changed, format_, program, pool)
        assert caught.value.code == "disagreement"
    for group in ("loops", "towers", "json", "bytes"):
        for item in GROUPS[group][:12]:
            with pytest.raises(CircuitError):
                await check_returned(item.source, Format(item.format), program, pool)
    await _alive(pool)


@pytest.mark.attack("C2")
@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd", "../secret.inc", "secret.inc", "qelib1.inc\\x00", "./qelib1.inc",
        "/dev/zero", "/proc/self/environ", "file:///etc/passwd", "http://127.0.0.1/x.inc",
        "QELIB1.INC", " qelib1.inc", "", "qelib1.inc;", "stdgates.inc/../x",
    ],
)  # fmt: skip
@pytest.mark.parametrize("version", [b"2.0", b"3.0"])
async def test_c2_no_file_is_opened(
    pool: GuardedPool, tmp_path: Path, path: str, version: bytes
) -> None:
    secret = tmp_path / "secret.inc"
    secret.write_text("gate leak a {}\n")
    for target in (path, str(secret)):
        include = f'include "{target}";\n'.encode()
        for body in (b"qreg q[1];\n", b"gate g a { }\nqreg q[1];\n"):
            error = await _refused(pool, b"OPENQASM " + version + b";\n" + include + body)
            assert error.code in ("forbidden", "syntax")
            assert "leak" not in str(error)
    # Nor later than the header, nor twice.
    late = b"OPENQASM " + version + b';\nqreg q[1];\ninclude "qelib1.inc";\n'
    assert (await _refused(pool, late)).code in ("forbidden", "syntax")


@pytest.mark.attack("C3")
@pytest.mark.parametrize("name", ["cx", "h", "u3", "U", "CX", "rz", "id", "sx", "p", "cphase"])
@pytest.mark.parametrize("head", [V2, V3, b"OPENQASM 2.0;\n", b"OPENQASM 3.0;\n"])
async def test_c3_standard_gates_cannot_be_shadowed(
    pool: GuardedPool, head: bytes, name: str
) -> None:
    body = f"gate {name} a,b {{ }}\nqreg q[2];\n".encode()
    error = await _refused(pool, head + body)
    assert error.code in ("redefined", "syntax")
    assert error.line == head.count(b"\n") + 1


@pytest.mark.attack("C3")
@pytest.mark.parametrize("name", ["cx", "x", "pi", "U", "measure", "if"])
async def test_c3_nor_named_as_registers(pool: GuardedPool, name: str) -> None:
    for head in (V2, V3):
        error = await _refused(pool, head + f"qreg {name}[2];".encode())
        assert error.code in ("redefined", "syntax")


@pytest.mark.attack("C4")
@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("#pragma braket verbatim", "#pragma"),
        ("pragma braket noise", "pragma"),
        ("defcal x $0 { }", "defcal"),
        ("cal { }", "cal"),
        ('defcalgrammar "openpulse";', "defcalgrammar"),
        ("extern f(int) -> int;", "extern"),
        ("opaque g a;", "opaque"),
        ("@reversible", "annotation"),
        ("delay[100ns] q[0];", "delay"),
        ("box { x q[0]; }", "box"),
        ("duration d = 100ns;", "duration"),
        ("stretch s;", "stretch"),
        ("nop q[0];", "nop"),
        ("x $0;", "$0"),
        ("#dim = 3", "#dim"),
    ],
)
@pytest.mark.parametrize("tail", ["", "gate g a { }\n"])
async def test_c4_directives_and_timing_are_refused_by_line(
    pool: GuardedPool, body: str, word: str, tail: str
) -> None:
    for head in (V2, V3):
        source = head + b"qreg q[2];\n" + body.encode() + b"\n" + tail.encode()
        error = await _refused(pool, source)
        assert error.code in ("forbidden", "needs_rich_parser", "syntax", "undefined"), word
        assert error.line == 4


@pytest.mark.attack("C6")
async def test_c6_a_broadcast_is_every_operation_it_stands_for(pool: GuardedPool) -> None:
    source = V2 + b"qreg q[100]; creg c[100]; h q; h q; measure q -> c;"
    facts = (await load(source, Format.OPENQASM2, ParseLimits(), pool)).facts
    assert (facts.gates, facts.measurements) == (200, 100)
    looped = V3 + b"qubit[4] q; for int i in [1:50] { h q; }"
    facts = (await load(looped, Format.OPENQASM3, ParseLimits(), pool)).facts
    assert facts.gates == 200


def _qpy() -> bytes:
    circuit = QuantumCircuit(2, 2)
    circuit.h(0)
    circuit.rz(0.5, 1)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    buffer = io.BytesIO()
    qpy.dump(circuit, buffer)
    return buffer.getvalue()


@pytest.mark.attack("C7")
async def test_c7_old_qpy_is_refused_unread(qpy_pool: GuardedPool) -> None:
    for version in range(13):
        data = bytearray(_qpy())
        data[6] = version
        with pytest.raises(CircuitError) as caught:
            await load(bytes(data), Format.QPY, ParseLimits(), qpy_pool)
        assert caught.value.code == "forbidden"


@pytest.mark.attack("C7")
async def test_c7_damaged_qpy_is_refused_or_read(qpy_pool: GuardedPool) -> None:
    """No mutant harms more than its worker; what is read is a program like any other."""
    good = _qpy()
    assert (await load(good, Format.QPY, ParseLimits(), qpy_pool)).facts.gates == 3
    rng = random.Random(7)
    mutants = [good[:n] for n in range(0, len(good), 23)] + [b"", b"QISKIT", good * 2]
    mutants += [good[:10] + struct.pack(">Q", n) + good[18:] for n in (0, 2, 2**63)]
    for _ in range(60):
        mutant = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            mutant[rng.randrange(18, len(good))] = rng.randrange(256)
        mutants.append(bytes(mutant))
    refused = 0
    for mutant_bytes in mutants:
        try:
            await load(mutant_bytes, Format.QPY, ParseLimits(), qpy_pool)
        except CircuitError:
            refused += 1
    assert refused > len(mutants) // 2
    await _alive(qpy_pool)


@pytest.mark.attack("C8")
@pytest.mark.parametrize(
    "junk",
    [
        b"\xff", b"\x00", "\u202e".encode(), "\u03c0".encode(), b"\x0b", b"\x0c", b"\x7f",
        b"\x1b[0m", b"\xef\xbb\xbf", b"// a\rx q[0];\n", "\u2028".encode(), b"\xc0\xaf",
        b"\xed\xa0\x80",
    ],
)  # fmt: skip
async def test_c8_only_plain_ascii(pool: GuardedPool, junk: bytes) -> None:
    for head in (V2, V3):
        for body in (b"qreg q[1];\n", b"gate g a { }\nqreg q[1];\n"):
            comment = head + b"//" + junk + b"\n" + body
            for source in (head + body + junk, junk + head + body, comment):
                error = await _refused(pool, source)
                assert error.code == "encoding"


@pytest.mark.attack("C8")
async def test_c8_crlf_is_one_line_end(pool: GuardedPool) -> None:
    source = V2 + b"qreg q[1]; // one\nx q[0]; // x q[0];\n"
    unix = await load(source, Format.OPENQASM2, ParseLimits(), pool)
    dos = await load(source.replace(b"\n", b"\r\n"), Format.OPENQASM2, ParseLimits(), pool)
    assert unix == dos
    assert unix.facts.gates == 1
