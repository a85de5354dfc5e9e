"""The server's process never imports a heavy parser."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PROBE = """
import asyncio, sys
from cryogate.circuits import *
program = parse_flat(b'OPENQASM 2.0; include "qelib1.inc"; qreg q[1]; x q[0];', Format.OPENQASM2)
emit(program, Dialect.OPENQASM3), similarity(program, program), svg(program), inspection(program)
async def rich():
    pool = GuardedPool(RICH_ENTRYPOINT, size=1, max_jobs=1, request_timeout_s=60.0)
    source = b'OPENQASM 3; gate g a { U(0,0,0) a; } qubit q; g q;'
    loaded = await load(source, Format.OPENQASM3, ParseLimits(), pool)
    await pool.close()
    assert loaded.facts.gates == 1
asyncio.run(rich())
heavy = {name.partition(".")[0] for name in sys.modules} & {"qiskit", "openqasm3", "antlr4"}
print(sorted(heavy))
"""


@pytest.mark.attack("C1")
def test_no_heavy_parser_in_this_process() -> None:
    path = [entry for entry in sys.path if entry]
    code = f"import sys; sys.path[:0] = {path!r}\n{_PROBE}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
