"""Quantinuum's own client and packages, unmodified. Runs in the SDKs' environment.

The client keeps its login in cookies and in files under the home directory, so it gets a home of
its own, and reads where Nexus is from its environment.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import runpy
import sys
import tempfile
from typing import Any
from urllib.parse import urlsplit


def nexus(url: str, email: str, password: str, script: str) -> Any:
    place = urlsplit(url)
    os.environ |= {
        "HOME": tempfile.mkdtemp(), "NEXUS_PROTOCOL": place.scheme,
        "NEXUS_DOMAIN": place.hostname or "", "NEXUS_PORT": str(place.port),
    }  # fmt: skip
    import qnexus as qnx
    from pytket.circuit import Circuit, OpType
    from qnexus.client.jobs import PollingStrategy

    qnx.auth.login_no_interaction(email, password)
    logged_in = qnx.auth.is_logged_in()
    # the page's way to make a project whose jobs must say what they are for
    printed = io.StringIO()
    sys.argv = [script, "another"]
    with contextlib.redirect_stdout(printed):
        runpy.run_path(script, run_name="__main__")
        runpy.run_path(script, run_name="__main__")  # it may be run again
    secret = json.loads(printed.getvalue().splitlines()[-1])
    project = qnx.projects.get(id=secret["project"])
    names = list(qnx.projects.get_properties(project).df()["name"])
    circuit = Circuit(2, 2, "bell")
    for qubit in (0, 1):
        circuit.add_gate(OpType.PhasedX, [0.5, -0.5], [qubit]).Rz(1, qubit)
    circuit.ZZPhase(0.5, 0, 1).Rz(-0.5, 0).Rz(-0.5, 1)
    circuit.add_gate(OpType.PhasedX, [0.5, -0.5], [1]).Rz(1, 1)
    circuit.Measure(0, 0).Measure(1, 1)
    reference = qnx.circuits.upload(circuit, project=project, name="bell")
    config = qnx.models.QuantinuumConfig(device_name="H2-1")
    tags = dict.fromkeys(names, "sdk")
    start = {"programs": [reference], "n_shots": [100], "backend_config": config,
             "project": project, "properties": tags, "max_cost": 20.0}  # fmt: skip
    job = qnx.start_execute_job(name="sdk", **start)
    quick = PollingStrategy(initial_interval=0.05)
    status = qnx.jobs.wait_for(job, strategy=quick, timeout=60)
    [result] = qnx.jobs.results(job)
    counts = result.download_result().get_counts()
    second = qnx.start_execute_job(name="stop", **start)
    qnx.jobs.cancel(second)
    # the token that the gateway keeps is good by itself
    qnx.auth.logout()
    qnx.auth.login_with_token(secret["refresh_token"])
    return {
        "logged_in": logged_in,
        "secret": sorted(secret),
        "properties": sorted(names),
        "cost": status.cost,
        "counts": {"".join(map(str, reversed(bits))): n for bits, n in counts.items()},
        "same": result.get_input().download_circuit() == circuit,
        "devices": sorted(device.device_name for device in qnx.devices.get_all()),
        "state": qnx.devices.status(config).value,
        "found": str(qnx.jobs.get(name="sdk", project=project).id) == str(job.id),
        "stopped": qnx.jobs.status(second).status.value,
    }


def matrices(_: str = "") -> Any:
    """What pytket makes of circuits that come as JSON: their matrices, and the JSON again."""
    from pytket.circuit import Circuit

    found = []
    for circuit in json.load(sys.stdin):
        read = Circuit.from_dict(circuit)
        rows = read.get_unitary()
        found.append({
            "matrix": [[[x.real, x.imag] for x in row] for row in rows.tolist()],
            "again": read.to_dict(),
        })  # fmt: skip
    return found


def quil(_: str = "") -> Any:
    """Whether Rigetti's own parser reads the texts, and what it says they are."""
    from quil.program import Program

    found = []
    for text in json.load(sys.stdin):
        read = Program.parse(text)
        again = Program.parse(read.to_quil())
        found.append({"same": again == read, "text": read.to_quil()})
    return found


if __name__ == "__main__":
    run: Any = {"nexus": nexus, "matrices": matrices, "quil": quil}[sys.argv[1]]
    print("\n" + json.dumps(run(*sys.argv[2:])))  # noqa: T201
