"""Hostile circuits, a few hundred of them, always the same.

``python -m tests.corpus.hostile DIRECTORY`` writes them as files; tests and benchmarks take them
from `corpus` as they are. Each is either refused, or is a program within its limits; none may take
the service more than 2 s and 512 MB, or end it.
"""

from __future__ import annotations

import json
import random
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

V2 = b'OPENQASM 2.0;\ninclude "qelib1.inc";\n'
V3 = b'OPENQASM 3.0;\ninclude "stdgates.inc";\n'
_Q2, _Q3 = V2 + b"qreg q[4];\ncreg c[4];\n", V3 + b"qubit[4] q;\nbit[4] c;\n"
#: A size that a linear parser reads in milliseconds and a recursive or quadratic one never ends.
_MANY = 60_000


class Hostile(NamedTuple):
    """One file: what it attacks, in which format it is sent, and its bytes."""

    name: str
    format: str
    source: bytes


def corpus() -> list[Hostile]:
    """All of them."""
    found: list[Hostile] = []
    for attack in (_nesting, _sizes, _numbers, _loops, _towers, _names, _directives, _bytes):
        for name, source in attack():
            version = "openqasm2" if b"OPENQASM 2" in source[:40] else "openqasm3"
            found.append(Hostile(f"{attack.__name__[1:]}-{name}", version, source))
    found += [Hostile(f"json-{n}", "ionq.circuit.v1", s) for n, s in _json()]
    found += [Hostile(f"qpy-{n}", "qpy", s) for n, s in _qpy()]
    found += [Hostile(f"mutant-{n}", f, s) for n, f, s in _mutants()]
    assert len({item.name for item in found}) == len(found)
    return found


def _nesting() -> Iterator[tuple[str, bytes]]:
    for number, (open_, close) in enumerate(
        [
            (b"(", b")"), (b"-", b""), (b"sin(", b")"), (b"1+(", b")"), (b"!", b""), (b"~", b""),
            (b"int(", b")"), (b"int[(", b")](1)"), (b"-(-", b")"), (b"2**(", b")"), (b"[", b"]"),
        ]
    ):  # fmt: skip
        text = open_ * _MANY + b"1" + close * _MANY
        yield f"angle-{number}-2", _Q2 + b"rx(" + text + b") q[0];"
        yield f"angle-{number}-3", _Q3 + b"if (true) rx(" + text + b") q[0];"
        yield f"index-{number}", _Q3 + b"x q[" + text + b"];"
        yield f"condition-{number}", _Q3 + b"if (" + text + b") x q[0];"
    for number, block in enumerate(
        [
            b"{", b"if (true) {", b"if (c[0]) {", b"for int i in [0:1] {", b"gate g a {",
            b"def f() {", b"if (true) ", b"for int i in [0:1] ", b"else {", b"while (true) {",
        ]
    ):  # fmt: skip
        yield f"block-{number}-2", _Q2 + block * _MANY
        yield f"block-{number}-3", _Q3 + block * _MANY
        yield f"block-{number}-closed", _Q3 + block * 2000 + b"x q[0];" + b"}" * 2000
    for number, modifier in enumerate([b"ctrl @ ", b"inv @ ", b"pow(2) @ ", b"negctrl @ ", b"@ "]):
        yield f"modifier-{number}", _Q3 + modifier * _MANY + b"x q[0];"


def _sizes() -> Iterator[tuple[str, bytes]]:
    yield "spaces", V2 + b" " * 900_000 + b"x"
    yield "newlines", V2 + b"\n" * 900_000
    yield "semicolons", V2 + b";" * 900_000
    yield "comments", V3 + b"//\n" * 300_000
    yield "comment-open", V3 + b"/*" * 400_000
    yield "comment-stars", V3 + b"/*" + b"*" * 900_000
    yield "comment-slashes", V3 + b"//" * 400_000 + b"\n{"
    yield "over-the-limit", V3 + b"x" * 2_000_000
    yield "no-semicolon", V2 + b"qreg q[1]; " + b"x q[0]" * 100_000
    yield "one-name", V2 + b"qreg " + b"q" * 900_000 + b"[1];"
    yield "qubits-9", V2 + b"qreg q[1000000000];"
    yield "qubits-20", V2 + b"qreg q[99999999999999999999];"
    yield "qubits-12", V3 + b"qubit[1000000000000] q; if (true) {}"
    yield "bits", V3 + b"qubit q; bit[1000000000] c; if (true) {}"
    yield "registers", V2 + b"".join(b"qreg q%d[1024];" % i for i in range(20_000))
    yield "registers-of-one", V3 + b"".join(b"bit c%d;" % i for i in range(40_000)) + b"{"
    yield "broadcast", V2 + b"qreg q[1024];" + b"h q;" * 200_000
    yield "broadcast-two", V2 + b"qreg q[340]; qreg r[340]; qreg w[340];" + b"ccx q,r,w;" * 90_000
    yield "measure", V2 + b"qreg q[1024]; creg c[1024];" + b"measure q->c;" * 60_000
    yield "barrier", V2 + b"qreg q[1024];" + b"barrier q;" * 90_000
    yield "barrier-wide", V2 + b"qreg q[1024];" + b"barrier " + b"q," * 300_000 + b"q;"
    yield "reset", V3 + b"qubit[1024] q; if (true) {} " + b"reset q;" * 90_000
    yield "condition-wide", V2 + b"qreg q[1024]; creg c[4096];" + b"if(c==1) h q;" * 60_000
    yield "condition", V2 + b"qreg q[1024]; creg c[1];" + b"if(c==1) h q;" * 60_000
    yield "condition-chain", _Q3 + b"if(" + b"c[0] && " * 90_000 + b"c[1]) x q[0];"
    yield "condition-ifs", _Q3 + b"if(c[0]) " * 60_000 + b"x q[0];"
    yield "condition-ifs-flat", _Q3 + b"if(c[0]==1) " * 60_000 + b"x q[0];"
    yield "gates", V2 + b"qreg q[9];" + b"cx q[0],q[1];" * 80_000
    yield "gates-rich", V3 + b"qubit[9] q; if (true) {" + b"cx q[0],q[1];" * 70_000 + b"}"
    yield "angles-rich", V3 + b"qubit[9] q; if (true) {" + b"rx(0.123456789) q[0];" * 45_000 + b"}"
    yield "aliases", _Q3 + b"".join(b"let a%d = q;" % i for i in range(50_000)) + b"{"
    yield "alias-parts", _Q3 + b"let a = q" + b" ++ q" * 150_000 + b";"
    yield "set", _Q3 + b"x q[{" + b"0," * 300_000 + b"0}];"
    yield "arguments", _Q3 + b"x(" + b"1," * 300_000 + b"1) q[0];"
    yield "operands", _Q3 + b"x " + b"q[0]," * 150_000 + b"q[0];"
    yield "parameters", V2 + b"gate g(" + b",".join(b"a%d" % i for i in range(90_000)) + b") q {}"
    yield "formals", V2 + b"gate g " + b",".join(b"a%d" % i for i in range(100_000)) + b" {}"
    yield "definitions", V2 + b"".join(b"gate g%d a{}" % i for i in range(50_000)) + b"qreg q[1];"
    yield "variables", V3 + b"".join(b"int k%d=1;" % i for i in range(50_000)) + b"qubit q;"
    yield "fan-in", V3 + b"qubit[1024] q; if (true) {" + b"cx q[0],q[1:1023];" * 40_000 + b"}"


def _numbers() -> Iterator[tuple[str, bytes]]:
    for number, text in enumerate(
        [
            b"9" * 900_000, b"1e999", b"-1e999", b"1e-999999", b"0x10", b"1_000", b"1e5000000",
            b"1/0", b"0/0", b"0*(1/0)", b"1+" * 300_000 + b"1", b"pi*" * 200_000 + b"1",
            b"." * 900_000, b"1.2.3", b"1e", b"e", b"nan", b"inf", b"2**64**64", b"9**9**9**9",
            b"2^64^64", b"1<<99999999999", b"99999999999%0", b"sqrt(-1)", b"ln(0)", b"tan(pi/2)",
            b"exp(1e9)", b"arcsin(2)", b"1" + b"0" * 39 + b"*1" + b"0" * 39,
        ]
    ):  # fmt: skip
        yield f"angle-{number}-2", _Q2 + b"rx(" + text + b") q[0];"
        yield f"angle-{number}-3", _Q3 + b"if (true) rx(" + text + b") q[0];"
    for number, text in enumerate(
        [b"-1", b"4", b"1.5", b"1e3", b"99999999", b"q", b"", b"0:", b":"]
    ):
        yield f"index-{number}-2", _Q2 + b"x q[" + text + b"];"
        yield f"index-{number}-3", _Q3 + b"if (true) x q[" + text + b"];"


def _loops() -> Iterator[tuple[str, bytes]]:
    for number, body in enumerate(
        [
            b"for int i in [0:1000000000000] { x q[0]; }",
            b"for int i in [0:1000000000000] { }",
            b"for int i in [0:1000000000000] { x q[i]; }",
            b"for int i in [0:1000000000000] { x q[i % 4]; }",
            b"for int i in [0:1000000000000] { int k = i; }",
            b"for int i in [0:1000000000000] { bit b = measure q[0]; }",
            b"for int i in [0:9223372036854775807] { rx(i) q[0]; }",
            b"for int i in [0:9] " * 12 + b"x q[0];",
            b"for int i in [0:200000] { for int j in [0:i] { x q[0]; } }",
            b"for int i in [0:200000] { for int j in [0:i] { int k = j; } }",
            b"for int i in [0:200000] { if (i == 1) { x q[0]; } }",
            b"int k = 0; for int i in [0:1000000000] { k = k + 1; }",
            b"for int i in [0:0:1000] { x q[0]; }",
            b"for int i in [0:1:-1] { x q[0]; } while (true) { x q[0]; }",
            b"for int i in {" + b"1," * 200_000 + b"1} { for int j in [0:9] { int k = j; } }",
            b"pow(1000000000) @ x q[0];",
            b"pow(100000) @ pow(100000) @ x q[0];",
            b"gate g(t) a { pow(t) @ x a; } g(1000000000000) q[0];",
            b"gate g a { for int i in [0:1000000000000] { x a; } } g q[0];",
            b"gate g a { for int i in [0:100000] { pow(i) @ x a; } } g q[0];",
            b"def f(qubit a) { f(a); } f(q[0]);",
            b"def f(qubit a, int n) { for int i in [0:n] { x a; } } f(q[0], 1000000000000);",
        ]
    ):
        yield f"{number}", _Q3 + body


def _towers() -> Iterator[tuple[str, bytes]]:
    def gates(count: int, body: bytes) -> bytes:
        lines = [
            body.replace(b"#", b"%d" % i).replace(b"~", b"%d" % (i - 1)) for i in range(1, count)
        ]
        return b"".join(lines)

    twice = b"gate g# a{g~ a;g~ a;}"
    last = b"g%d q[0];"
    yield "bomb-60", _Q2 + b"gate g0 a{x a;}" + gates(60, twice) + last % 59
    yield "bomb-63-empty", _Q2 + b"gate g0 a{}" + gates(63, twice) + last % 62
    yield "chain-5000", _Q2 + b"gate g0 a{x a;}" + gates(5000, b"gate g# a{g~ a;}") + last % 4999
    yield (
        "wide",
        _Q2 + b"gate g0 a{x a;}" + gates(50, b"gate g# a{" + b"g~ a;" * 300 + b"}") + last % 49,
    )
    yield (
        "inverse",
        _Q3 + b"gate g0 a{x a;}" + gates(60, b"gate g# a{inv @ g~ a;g~ a;}") + last % 59,
    )
    yield (
        "power",
        _Q3 + b"gate g0 a{x a;}" + gates(60, b"gate g# a{pow(1000000) @ g~ a;}") + last % 59,
    )
    yield "control", _Q3 + b"gate g0 a{x a;}" + gates(60, twice) + b"ctrl @ g59 q[1], q[0];"
    yield (
        "calls",
        (
            _Q3
            + b"def f0(qubit a){x a;}"
            + gates(60, b"def f#(qubit a){f~(a);f~(a);}")
            + b"f59(q[0]);"
        ),
    )
    yield "calls-local", (
        _Q3 + b"def f0(qubit a){bit b = measure a;}" + gates(60, b"def f#(qubit a){f~(a);f~(a);}")
        + b"f59(q[0]);"
    )  # fmt: skip
    yield (
        "calls-chain",
        (
            _Q3
            + b"def f0(qubit a){x a;}"
            + gates(3000, b"def f#(qubit a){f~(a);}")
            + b"f2999(q[0]);"
        ),
    )
    yield "calls-numbers", (
        _Q3 + b"def f0(qubit a, int n){x a;}"
        + gates(40, b"def f#(qubit a, int n){f~(a, 2*n);f~(a, 2*n+1);}") + b"f39(q[0], 1);"
    )  # fmt: skip
    yield "loops-in-calls", (
        _Q3 + b"def f0(qubit a){for int i in [0:9999999] {x a;}}"
        + gates(30, b"def f#(qubit a){for int i in [0:9999999] {f~(a);}}") + b"f29(q[0]);"
    )  # fmt: skip
    yield "fibonacci", (
        _Q2 + b"gate g0 a{x a;} gate g1 a{x a;}"
        + b"".join(b"gate g%d a{g%d a;g%d a;}" % (i, i - 1, i - 2) for i in range(2, 62))
        + b"g61 q[0];"
    )  # fmt: skip


def _names() -> Iterator[tuple[str, bytes]]:
    for path in (
        "/etc/passwd", "../secret.inc", "./qelib1.inc", "/dev/zero", "/dev/stdin", "QELIB1.INC",
        "/proc/self/environ", "file:///etc/passwd", "http://127.0.0.1/x.inc", "", "a" * 90,
        "qelib1.inc/../x", "//host/share/x",
    ):  # fmt: skip
        for version in ("2.0", "3.0"):
            text = f'OPENQASM {version};\ninclude "{path}";\nqreg q[1];\n'
            place = path.strip("/").replace("/", "_")[:20] or "empty"
            yield f"include-{version[0]}-{place}", text.encode()
    for name in ("cx", "h", "u3", "U", "CX", "rz", "id", "p", "measure", "if", "pi"):
        yield f"gate-{name}-2", V2 + f"gate {name} a {{ }}\nqreg q[1];\n".encode()
        yield f"gate-{name}-3", V3 + f"gate {name} a {{ }}\nqubit q;\n".encode()
        yield f"def-{name}", V3 + f"def {name}(qubit a) {{ }}\nqubit q;\n".encode()
        yield f"register-{name}", V3 + f"qubit[2] {name}; if (true) {{ }}\n".encode()


def _directives() -> Iterator[tuple[str, bytes]]:
    for number, text in enumerate(
        [
            "#pragma braket verbatim", "pragma braket noise", "defcal x $0 { }", "cal { }",
            'defcalgrammar "openpulse";', "extern f(int) -> int;", "opaque g a;", "@reversible",
            "delay[100ns] q[0];", "box { x q[0]; }", "duration d = 100ns;", "stretch s;",
            "nop q[0];", "x $0;", "#dim = 3", "output float x;", "array[int, 4] a;", "end;",
            "complex z = 1;", "switch (1) { case 1 { } }", "while (true) { }", "break;",
            "durationof({x q[0];});", 'defcal measure $0 -> bit { }', "input int n;",
            "return 1;", "readonly array[int, 3] a;",
        ]
    ):  # fmt: skip
        for version, head in ((2, _Q2), (3, _Q3)):
            yield f"{number}-{version}", head + text.encode() + b"\nx q[0];\n"
            yield f"{number}-{version}-rich", head + text.encode() + b"\ngate g a { }\n"


def _bytes() -> Iterator[tuple[str, bytes]]:
    for number, junk in enumerate(
        [
            b"\xff", b"\x00", "\u202e".encode(), "\u03c0".encode(), b"\x0b", b"\x0c", b"\x7f",
            b"\r",
            b"\x1b[0m", b"\xef\xbb\xbf", "\u2028".encode(), b"\xc0\xaf", b"\xed\xa0\x80", b"\x85",
            b"\xf4\x90\x80\x80", "\uff43\uff58".encode(),
        ]
    ):  # fmt: skip
        yield f"body-{number}", _Q2 + b"x q[0]" + junk + b";"
        yield f"comment-{number}", _Q3 + b"// " + junk + b"\nx q[0];"
        yield f"front-{number}", junk + _Q3 + b"gate g a { }\n"
    rng = random.Random(8)
    for number in range(12):
        yield f"noise-{number}", rng.randbytes(20_000)
        text = bytes(rng.choices(b"qx0123456789[](){};,+-*/ \n\"'#$@!&|<>=", k=20_000))
        yield f"ascii-{number}-2", _Q2 + text
        yield f"ascii-{number}-3", _Q3 + text


def _json() -> Iterator[tuple[str, bytes]]:
    good = {"gateset": "qis", "qubits": 2, "circuit": [{"gate": "h", "target": 0}]}
    yield "lists", b"[" * 300_000
    yield "objects", b'{"a":' * 150_000
    yield "closed", b"[" * 100_000 + b"]" * 100_000
    yield "twice", b'{"qubits":1,"qubits":2,"circuit":[]}'
    yield "keys", b"{" + b",".join(b'"k%d":1' % i for i in range(60_000)) + b"}"
    yield "number", b'{"qubits":' + b"9" * 300_000 + b',"circuit":[]}'
    yield "string", b'{"qubits":1,"name":"' + b"a" * 900_000 + b'","circuit":[]}'
    yield "escapes", b'{"qubits":1,"name":"' + b"\\u0000" * 100_000 + b'","circuit":[]}'
    yield "gates", json.dumps({**good, "circuit": good["circuit"] * 25_000}).encode()  # type: ignore[operator]
    yield "gates-empty", b'{"qubits":1,"circuit":[' + b"{}," * 300_000 + b"{}]}"
    for number, value in enumerate(
        ["NaN", "Infinity", "-Infinity", "1e999", "true", '"1"', "null", "[]", "{}", "1e5", "-1"]
    ):
        yield f"qubits-{number}", f'{{"qubits":{value},"circuit":[]}}'.encode()
        gate = f'{{"gate":"rx","rotation":{value},"target":0}}'
        yield f"angle-{number}", f'{{"qubits":1,"circuit":[{gate}]}}'.encode()
    targets = {"gate": "swap", "targets": list(range(50_000))}
    yield "targets", json.dumps({**good, "circuit": [targets]}).encode()
    registers = {f"c{i}": [0] for i in range(20_000)}
    yield "registers", json.dumps({**good, "registers": registers}).encode()
    yield "bidi", '{"qubits":1,"circuit":[],"name":"\u202e"}'.encode()
    yield "truncated", json.dumps(good).encode()[:-3]


def _qpy() -> Iterator[tuple[str, bytes]]:
    for version in range(20):
        yield f"version-{version}", b"QISKIT" + struct.pack(">BBBBQ", version, 2, 6, 0, 1) + b"q"
    head = b"QISKIT" + struct.pack(">BBBBQ", 13, 2, 6, 0, 1)
    rng = random.Random(13)
    for number in range(20):
        yield f"noise-{number}", head + rng.randbytes(400)
    yield "many", b"QISKIT" + struct.pack(">BBBBQ", 13, 2, 6, 0, 2**63) + b"q" * 100
    yield "lengths", head + b"\xff" * 4000
    yield "empty", b""
    yield "pickle", b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x94."


def _mutants() -> Iterator[tuple[str, str, bytes]]:
    two = _Q2 + (
        b"gate g(t) a,b { rz(t/2) a; cx a,b; }\ng(pi) q[0],q[1];\nif(c==2) x q[3];\n"
        b"barrier q;\nmeasure q -> c;\n"
    )
    three = _Q3 + (
        b"def f(qubit[2] r, int n) -> bit { for int i in [0:n] { ctrl @ x r[0], r[1]; }"
        b" return measure r[0]; }\nlet a = q[0:1];\nc[0] = f(a, 3);\n"
        b"if (c[0] && c[1]) { inv @ s q[2]; } else { x q[3]; }\n"
    ).replace(b" && c[1]", b"")
    rng = random.Random(3)
    for number in range(60):
        name, source = ("openqasm2", two) if number % 2 else ("openqasm3", three)
        data = bytearray(source)
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(data))
            kind = rng.randrange(3)
            if kind == 0:
                data[at] = rng.choice(b"qx0[](){};,+-*/@!&=9")
            elif kind == 1:
                del data[at : at + rng.randint(1, 9)]
            else:
                data[at:at] = data[rng.randrange(len(data)) :][: rng.randint(1, 30)]
        yield f"{number}", name, bytes(data)


def main(directory: Path) -> None:
    """Write every file."""
    directory.mkdir(parents=True, exist_ok=True)
    for item in corpus():
        (directory / f"{item.name}.{item.format}").write_bytes(item.source)
    print(f"{len(corpus())} files")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
