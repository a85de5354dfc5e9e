"""Circuits: our hot path against qiskit's native parser, the rich path, and hostile input.

``python -m bench.circuits`` prints one table; each figure comes from this one run, and ratios are
what counts. Ours includes canonical text, facts and fingerprint; qiskit's is parsing only. Memory
is the growth of a fresh process's peak while it parses.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SIZES = (20, 2_000, 100_000, 1_000_000)
TARGETS = {"ratio": 1.2, "20 gates ms": 0.25, "rich ms": 3.0, "hostile s": 2.0}


def flat_source(gates: int, qubits: int, seed: int = 1) -> bytes:
    """A third plain gates, a third rotations with 17-digit angles, a third CX."""
    rng = random.Random(seed)
    lines = ["OPENQASM 2.0;", 'include "qelib1.inc";', f"qreg q[{qubits}];", f"creg c[{qubits}];"]
    for _ in range(gates):
        roll = rng.random()
        if roll < 0.35:
            lines.append(f"{rng.choice('hxstz')} q[{rng.randrange(qubits)}];")
        elif roll < 0.65:
            angle = rng.uniform(-7, 7)
            lines.append(f"r{rng.choice('xyz')}({angle!r}) q[{rng.randrange(qubits)}];")
        else:
            a, b = rng.sample(range(qubits), 2)
            lines.append(f"cx q[{a}],q[{b}];")
    return ("\n".join([*lines, "measure q -> c;"]) + "\n").encode()


def rich_source(gates: int) -> bytes:
    """OpenQASM 3 with two definitions, a subroutine, and about ``gates`` gates after inlining."""
    body = "".join(
        f"pair({0.1 + i / 7}) q[{i % 4}], q[{(i + 1) % 4}];\n" for i in range(gates // 5)
    )
    return (
        'OPENQASM 3.0;\ninclude "stdgates.inc";\n'
        "gate turn(t) a { rz(t / 2) a; rx(t) a; }\n"
        "gate pair(t) a, b { turn(t) a; cx a, b; turn(-t) b; }\n"
        f"qubit[4] q;\nbit[4] c;\n{body}c = measure q;\n"
    ).encode()


def measured(work: Callable[[], object], repeat: int) -> tuple[float, float]:
    """(best seconds, growth of the peak in MB); memory is that of the first run."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    work()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    best = float("inf")
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best, grown


def ours(gates: int, repeat: int) -> tuple[float, float]:
    from cryogate.circuits import Format, ParseLimits, parse_flat

    source = flat_source(gates, 5 if gates < 100 else 50)
    limits = ParseLimits(max_bytes=1 << 28, max_operations=2_000_000)

    def work() -> object:
        program = parse_flat(source, Format.OPENQASM2, limits)
        return program.facts, program.fingerprint

    return measured(work, repeat)


def qiskit(gates: int, repeat: int) -> tuple[float, float]:
    from qiskit import qasm2

    source = flat_source(gates, 5 if gates < 100 else 50).decode()
    qasm2.loads("OPENQASM 2.0; qreg q[1];", include_path=())  # its own start-up is not counted

    def work() -> object:
        return qasm2.loads(source, include_path=())

    return measured(work, repeat)


async def rich() -> float:
    from cryogate.circuits import RICH_ENTRYPOINT, Format, GuardedPool, ParseLimits, load

    pool = GuardedPool(RICH_ENTRYPOINT, size=1, max_jobs=10_000, request_timeout_s=10.0)
    source, best = rich_source(100), float("inf")
    for _ in range(300):
        start = time.perf_counter()
        program = await load(source, Format.OPENQASM3, ParseLimits(), pool)
        best = min(best, time.perf_counter() - start)
        assert program.facts.gates == 100
    await pool.close()
    return best


async def hostile() -> float:
    from cryogate.circuits import (
        RICH_ENTRYPOINT,
        CircuitError,
        Format,
        GuardedPool,
        ParseLimits,
        WorkerLimits,
        load,
    )  # fmt: skip

    limits = WorkerLimits(memory_bytes=512 << 20, cpu_seconds=2)
    pool = GuardedPool(RICH_ENTRYPOINT, size=1, limits=limits, max_jobs=100, request_timeout_s=1.5)
    head3, head2 = b"OPENQASM 3.0;\nqubit q;\n", b'OPENQASM 2.0;\ninclude "qelib1.inc";\n'
    files = [
        head3 + b"for int i in [0:200000] { for int j in [0:i] { int k = j; } }",
        head3 + b"for int i in [0:1000000000000] { U(0,0,0) q; }",
        head3 + b"U(" + b"(" * 400_000 + b"1" + b")" * 400_000 + b",0,0) q;",
        head3 + b"if (true) { " * 80_000,
        head2 + b"qreg q[1024]; " + b"h q;" * 200_000,
        head2 + b"gate g0 a{x a;}" + b"".join(
            b"gate g%d a{g%d a;g%d a;}" % (i, i - 1, i - 1) for i in range(1, 60)
        ) + b"qreg q[1]; g59 q[0];",
        head2 + b";" * 900_000,
    ]  # fmt: skip
    worst = 0.0
    for source in files:
        named = Format.OPENQASM3 if source.startswith(head3) else Format.OPENQASM2
        start = time.perf_counter()
        try:
            await load(source, named, ParseLimits(), pool)
        except CircuitError:
            worst = max(worst, time.perf_counter() - start)
    await pool.close()
    return worst


def child(mode: str, gates: int) -> tuple[float, float]:
    command = [sys.executable, "-m", "bench.circuits", "--child", mode, "--gates", str(gates)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    best, grown = json.loads(done.stdout)
    return best, grown


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", choices=["ours", "qiskit"])
    parser.add_argument("--gates", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="leave the million out")
    options = parser.parse_args()
    if options.child:
        repeat = max(3, min(2000, 400_000 // max(options.gates, 1)))
        mode = ours if options.child == "ours" else qiskit
        print(json.dumps(mode(options.gates, repeat if options.gates < 10**6 else 2)))
        return 0
    failed = []
    print("    gates    ours ms  qiskit ms  ratio  ours MB qiskit MB")
    for gates in SIZES[:-1] if options.quick else SIZES:
        mine, my_peak = child("ours", gates)
        theirs, their_peak = child("qiskit", gates)
        ratio = theirs / mine
        print(
            f"{gates:>9} {mine * 1e3:>10.3f} {theirs * 1e3:>10.3f} {ratio:>6.2f}"
            f" {my_peak:>8.1f} {their_peak:>9.1f}"
        )
        if gates >= 2000 and ratio < TARGETS["ratio"]:
            failed.append(f"{gates} gates: ratio {ratio:.2f}")
        if gates >= 100_000 and my_peak > their_peak:
            failed.append(f"{gates} gates: memory")
        if gates == 20 and mine * 1e3 > TARGETS["20 gates ms"]:
            failed.append("20 gates")
    warm = asyncio.run(rich())
    print(f"rich path, 100 gates with definitions, warm: {warm * 1e3:.2f} ms")
    worst = asyncio.run(hostile())
    print(f"hostile input, slowest refusal: {worst:.2f} s")
    failed += ["rich path"] * (warm * 1e3 > TARGETS["rich ms"])
    failed += ["hostile input"] * (worst > TARGETS["hostile s"])
    print("missed: " + "; ".join(failed) if failed else "every target met")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
