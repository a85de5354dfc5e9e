"""Hostile circuits, all through one small pool: each is refused and the service lives on."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from qiskit import QuantumCircuit, qpy

from cryogate.circuits import (
    QPY_ENTRYPOINT,
    RICH_ENTRYPOINT,
    CircuitError,
    Format,
    GuardedPool,
    ParseLimits,
    WorkerLimits,
    load,
)

V2 = b'OPENQASM 2.0;\ninclude "qelib1.inc";\n'
V3 = b'OPENQASM 3.0;\ninclude "stdgates.inc";\n'
GOOD = b"OPENQASM 3.0; gate g a { U(1,2,3) a; } qubit q; g q;"
# What the service must hold to, whatever it is sent: 2 s and 512 MB.
LIMITS = WorkerLimits(memory_bytes=512 << 20, cpu_seconds=2)


@pytest.fixture
async def pool() -> AsyncIterator[GuardedPool]:
    made = GuardedPool(RICH_ENTRYPOINT, size=1, limits=LIMITS, max_jobs=1000, request_timeout_s=2.0)
    await load(GOOD, Format.OPENQASM3, ParseLimits(), made)
    yield made
    assert (await load(GOOD, Format.OPENQASM3, ParseLimits(), made)).facts.gates == 1
    await made.close()


@pytest.fixture
async def qpy_pool() -> AsyncIterator[GuardedPool]:
    made = GuardedPool(QPY_ENTRYPOINT, size=1, limits=LIMITS, max_jobs=1000, request_timeout_s=2.0)
    yield made
    good = await load(GOOD, Format.OPENQASM3, ParseLimits(), made)
    assert good.facts.gates == 1
    await made.close()


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


def _nested(open_: bytes, close: bytes, count: int) -> bytes:
    return open_ * count + b"1" + close * count


@pytest.mark.attack("C1")
@pytest.mark.parametrize(
    "source",
    [
        V2 + b"qreg q[1]; rx(" + _nested(b"(", b")", 100_000) + b") q[0];",
        V2 + b"qreg q[1]; rx(" + b"-" * 500_000 + b"1) q[0];",
        V2 + b"qreg q[1]; rx(" + b"1+" * 300_000 + b"1) q[0];",
        V2 + b"qreg q[1]; rx(" + b"9" * 900_000 + b") q[0];",
        V2 + b"qreg " + b"q" * 900_000 + b"[1];",
        V2 + b" " * 900_000 + b"x",
        V2 + b"\n" * 900_000,
        V2 + b";" * 900_000,
        V2 + b"qreg q[1]; " + b"x q[0]" * 100_000,
        V2 + b"qreg q[1000000000];",
        V2 + b"qreg q[99999999999999999999];",
        V2 + b"".join(b"qreg q%d[1024];" % i for i in range(20_000)),
        V2 + b"qreg q[1024];" + b"h q;" * 200_000,
        V2 + b"qreg q[1024]; creg c[1024];" + b"measure q->c;" * 60_000,
        V2 + b"qreg q[1024];" + b"barrier q;" * 90_000,
        V2 + b"qreg q[340]; qreg r[340]; qreg w[340];" + b"ccx q,r,w;" * 90_000,
        V2 + b"qreg q[1024]; creg c[4096];" + b"if(c==1) h q;" * 60_000,
        V2 + b"qreg q[1024]; creg c[1];" + b"if(c==1) h q;" * 60_000,
        V2
        + b"gate g0 a{x a;}"
        + b"".join(b"gate g%d a{g%d a;g%d a;}" % (i, i - 1, i - 1) for i in range(1, 60))
        + b"qreg q[1]; g59 q[0];",
        V2
        + b"gate g0 a{x a;}"
        + b"".join(b"gate g%d a{g%d a;}" % (i, i - 1) for i in range(1, 5000))
        + b"qreg q[1]; g4999 q[0];",
        V2 + b"gate g a{" + b"{" * 500_000,
        V2 + b"gate g " + b",".join(b"a%d" % i for i in range(100_000)) + b" {}",
        V3 + b"qubit q; for int i in [0:1000000000000] { x q; }",
        V3 + b"qubit q; for int i in [0:1000000000000] { }",
        V3 + b"qubit q; for int i in [0:9] " * 12 + b"x q;",
        V3 + b"qubit q; for int i in [0:200000] { for int j in [0:i] { x q; } }",
        V3 + b"qubit q; for int i in [0:200000] { for int j in [0:i] { int k = j; } }",
        V3 + b"qubit q; " + b"if (true) { " * 100_000,
        V3 + b"qubit q; rx(" + b"sin(" * 100_000 + b"1" + b")" * 100_000 + b") q;",
        V3 + b"qubit q; " + b"ctrl @ " * 100_000 + b"x q;",
        V3 + b"qubit q; " + b"inv @ " * 100_000 + b"x q;",
        V3 + b"qubit q; pow(1000000000) @ x q;",
        V3 + b"qubit q; pow(100000) @ pow(100000) @ x q;",
        V3 + b"qubit[1000000000000] q; if (true) {}",
        V3 + b"const int n = 2**64**64; if (true) {}",
        V3 + b"def f(qubit q) { f(q); } qubit q; f(q);",
        V3
        + b"def f0(qubit q) { x q; }"
        + b"".join(b"def f%d(qubit q){f%d(q);f%d(q);}" % (i, i - 1, i - 1) for i in range(1, 60))
        + b"qubit q; f59(q);",
        V3 + b"/*" * 400_000,
        V3 + b"//" * 400_000 + b"\n{",
        V3 + b"x" * 2_000_000,
    ],
    ids=range(40),
)
async def test_c1_time_and_memory_are_bounded(pool: GuardedPool, source: bytes) -> None:
    await _refused(pool, source)


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
@pytest.mark.parametrize("version", range(13))
async def test_c7_old_qpy_is_refused_unread(qpy_pool: GuardedPool, version: int) -> None:
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
