"""Writes ``mqt_bench.zip``: circuits of MQT Bench's families, as OpenQASM 2.

Families with conditions that OpenQASM 2 cannot say are written as OpenQASM 3.

MQT Bench needs scikit-learn and networkx, which nothing else here does, so its output is kept and
not its package. To write it again, in an environment of its own::

    python -m venv /tmp/mqt && /tmp/mqt/bin/pip install mqt.bench==2.3.0
    /tmp/mqt/bin/python tests/corpus/make_mqt_bench.py

Names of inlined gates change from run to run; circuits do not, for all that is random has a seed.
"""

from __future__ import annotations

import random
import zipfile
from pathlib import Path

import numpy as np
from mqt.bench import BenchmarkLevel, get_benchmark
from mqt.bench.benchmarks import get_available_benchmark_names
from mqt.bench.targets import get_target_for_gateset
from qiskit import QuantumCircuit, qasm2, qasm3

OUT = Path(__file__).with_name("mqt_bench.zip")
SIZES = (2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 17, 18, 24)
GATESETS = ("ibm_falcon", "ionq_aria", "rigetti", "quantinuum")
LONGEST = 60_000


def circuits() -> dict[str, str]:
    """Sources by name. A family that cannot be made, or said in OpenQASM 2, is left out."""
    found: dict[str, str] = {}
    for number, family in enumerate(get_available_benchmark_names()):
        made = 0
        for size in SIZES:
            for level in (BenchmarkLevel.ALG, BenchmarkLevel.INDEP):
                made += _add(found, f"{family}_{level.name.lower()}_{size}", family, size, level)
            if made >= 8:
                break
        gateset = GATESETS[number % len(GATESETS)]
        for size in (3, 4, 5, 9):
            name = f"{family}_{gateset}_{size}"
            _add(found, name, family, size, BenchmarkLevel.NATIVEGATES, gateset)
    return found


def _add(
    found: dict[str, str],
    name: str,
    family: str,
    size: int,
    level: BenchmarkLevel,
    gateset: str | None = None,
) -> int:
    random.seed(1)
    np.random.seed(1)
    try:
        target = None if gateset is None else get_target_for_gateset(gateset, size)
        made: QuantumCircuit = get_benchmark(family, level, size, target, 1)
        try:
            name, text = f"{name}.qasm", qasm2.dumps(made)
        except qasm2.QASM2ExportError:
            name, text = f"{name}.qasm3", qasm3.dumps(made)
    except Exception as error:
        print(f"{name}: {type(error).__name__}: {str(error)[:80]}")
        return 0
    if len(text) > LONGEST and any(known.startswith(family) for known in found):
        return 0
    found[name] = text
    return 1


def main() -> None:
    """Write the archive."""
    found = circuits()
    with zipfile.ZipFile(OUT, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, text in sorted(found.items()):
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            archive.writestr(info, text, zipfile.ZIP_DEFLATED)
    print(f"{len(found)} circuits, {sum(map(len, found.values()))} characters")


if __name__ == "__main__":
    main()
