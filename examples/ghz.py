"""Run a GHZ state as an agent: ``python examples/ghz.py agent.json my-experiment``."""

# ruff: noqa: T201
import sys

from cryogate.client import Client

GHZ = """
OPENQASM 2.0;
include "qelib1.inc";
qreg q[3];
creg c[3];
h q[0];
cx q[0], q[1];
cx q[1], q[2];
measure q -> c;
"""

with Client.from_file(sys.argv[1], experiment=sys.argv[2]) as client:
    result = client.run(GHZ, backend="local:aer", shots=1000)
    print(dict(result.counts))
