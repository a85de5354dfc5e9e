"""The vendors' own clients, unmodified, work against our fakes: they speak the real formats."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
from qiskit.quantum_info import Operator
from tests.support.live import ROOT
from tests.support.sdks import run
from tests.support.vendors import GOOGLE_BELL
from tests.unit.circuits.support import PYTKET_GATES, QUIL_GATES, random_program
from tests.unit.circuits.test_cirq import random_program as cirq_program

from cryogate.circuits import Dialect, emit, parse_pytket, same_circuit
from cryogate.circuits.qiskit_bridge import to_qiskit
from cryogate.dev.azure import PLACE, AzureFake
from cryogate.dev.braket import BraketFake
from cryogate.dev.google import PROJECT as GOOGLE_PROJECT
from cryogate.dev.google import GoogleFake
from cryogate.dev.ibm import CRN, IbmFake
from cryogate.dev.ionq import IonqFake
from cryogate.dev.nexus_door import EMAIL, PASSWORD, PROPERTIES
from cryogate.dev.quantinuum import QuantinuumFake
from cryogate.dev.serving import served
from cryogate.dev.simulate import probabilities
from cryogate.domain.secrets import Secret
from cryogate.outbound.sigv4 import AwsKeys, sign

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("client", ["qiskit", "cirq"])
def test_ionqs_clients_run_a_circuit(client: str) -> None:
    fake = IonqFake()
    with served(fake.app) as url:
        counts = run("ionq.py", client, url, fake.key)
    assert set(counts) == {"00", "11"}
    assert sum(counts.values()) == 1000


def test_ionqs_generated_client_finds_its_schema() -> None:
    fake = IonqFake(polls=2)
    with served(fake.app) as url:
        found = run("ionq.py", "core", url, fake.key)
    assert found == {
        "devices": ["qpu.forte-1", "qpu.forte-enterprise-1", "simulator"], "cost": 0.11,
        "unit": "usd", "chances": {"0": pytest.approx(0.5), "3": pytest.approx(0.5)},
        "listed": True,
    }  # fmt: skip


def test_the_braket_sdk_runs_a_circuit() -> None:
    fake = BraketFake()
    root = fake.accounts.root
    with served(fake.app) as url:
        found = run("aws.py", "braket", url, root.key_id, root.secret)
    assert set(found["counts"]) == {"00", "11"}
    assert sum(found["counts"].values()) == 100
    assert found["found"] == {"cryogate:job": "sdk"}
    assert found["queued"] == "8.30"


def test_ibms_client_runs_a_circuit() -> None:
    fake = IbmFake()
    with served(fake.app) as url:
        found = run("ibm.py", url, fake.key, CRN)
    assert set(found["counts"]) == {"00", "11"}
    assert sum(found["counts"].values()) == 200
    assert (found["usage"], found["status"]) == (1.5, "DONE")


def test_microsofts_client_runs_and_cancels() -> None:
    fake = AzureFake(polls=1)
    with served(fake.app) as url:
        found = run("azure_quantum.py", url, fake.mint(), PLACE)
    assert found["result"] == {"histogram": {"0": pytest.approx(0.5), "3": pytest.approx(0.5)}}
    assert "quantinuum.qpu.h2-1" in found["targets"]
    assert found["stopped"] == "Cancelled"
    assert (found["ro"], found["rows"]) == ([[0, 0], [1, 1]], 50)


def test_quantinuums_client_logs_in_runs_and_cancels() -> None:
    fake = QuantinuumFake(polls=1)
    script = str(ROOT / "docs/providers/quantinuum/project.py")
    with served(fake.app) as url:
        found = run("quantinuum.py", "nexus", url, EMAIL, PASSWORD, script)
    assert sum(found.pop("counts").values()) == 100
    assert found == {
        "logged_in": True, "secret": ["project", "refresh_token"], "same": True, "cost": 5.76,
        "properties": sorted(PROPERTIES),
        "devices": ["H2-1", "H2-1E", "H2-1LE", "H2-1SC", "H2-2", "H2-Emulator"],
        "state": "online", "found": True, "stopped": "CANCELLED",
    }  # fmt: skip


@pytest.mark.attack("C5")
def test_pytket_reads_what_we_write_as_the_same_matrix() -> None:
    rng = random.Random(7)
    programs = [random_program(rng, PYTKET_GATES, measured=False) for _ in range(40)]
    texts = [json.loads(emit(program, Dialect.PYTKET)) for program in programs]
    for program, found in zip(
        programs, run("quantinuum.py", "matrices", feed=json.dumps(texts)), strict=True
    ):
        theirs = Operator(np.array(found["matrix"]) @ [1, 1j])
        # their first qubit is the highest
        assert Operator(to_qiskit(program)).reverse_qargs().equiv(theirs)
        assert same_circuit(parse_pytket(json.dumps(found["again"]).encode()), program)


@pytest.mark.attack("C5")
def test_rigettis_parser_reads_what_we_write() -> None:
    rng = random.Random(7)
    texts = [emit(random_program(rng, QUIL_GATES), Dialect.QUIL) for _ in range(40)]
    asked = json.dumps([text.decode() for text in texts])
    for ours, found in zip(texts, run("quantinuum.py", "quil", feed=asked), strict=True):
        assert found["same"]
        written = [line for line in ours.decode().splitlines() if not line.startswith("#")]
        assert len(found["text"].splitlines()) == len(written)
        for line, theirs in zip(written, found["text"].splitlines(), strict=True):
            assert line.split("(")[0].split() == theirs.split("(")[0].split()


def test_googles_client_runs_our_circuit_and_cirq_reads_what_we_mean() -> None:
    fake = GoogleFake(polls=1)
    programs = [cirq_program(seed, 4) for seed in range(12)] + [GOOGLE_BELL]
    texts = "[" + ",".join(emit(p, Dialect.CIRQ).decode() for p in programs) + "]"
    with served(fake.app) as url:
        told = run("google_quantum.py", url, fake.mint(), GOOGLE_PROJECT, feed=texts)
    found = told["run"]
    assert found["processors"] == ["rainbow", "willow_pink"]
    assert set(found["counts"]) == {"00", "11"}
    assert sum(found["counts"].values()) == 200
    assert (found["granted_s"], found["echoed"]) == (36_000, True)
    # every gate that we write, as Cirq reads and simulates it
    for program, theirs in zip(programs, told["read"], strict=True):
        ours: dict[str, float] = {}
        measured = {
            op.clbits[0]: op.qubits[0] for op in program.operations() if op.name == "measure"
        }
        bits = [measured[bit] for bit in sorted(measured, reverse=True)]
        for state, chance in probabilities(program).items():
            text = "".join(str(state >> qubit & 1) for qubit in bits)
            ours[text] = ours.get(text, 0.0) + chance
        assert {k: v for k, v in ours.items() if v > 1e-9} == pytest.approx(theirs, abs=1e-6)


def test_signatures_are_those_of_botocore() -> None:
    arn = "arn%3Aaws%3Abraket%3Aus-east-1%3A123456789012%3Aquantum-task%2Fab-c"
    asked: list[dict[str, Any]] = [
        {"service": "braket", "method": "GET", "body": "", "headers": {},
         "url": f"https://braket.us-east-1.amazonaws.com/quantum-task/{arn}"},
        {"service": "braket", "method": "POST", "body": '{"a":1}',
         "headers": {"content-type": "application/json"},
         "url": "https://braket.us-east-1.amazonaws.com/devices"},
        {"service": "sts", "method": "POST", "body": "Action=AssumeRole",
         "headers": {"content-type": "application/x-www-form-urlencoded; charset=utf-8"},
         "url": "https://sts.us-east-1.amazonaws.com/"},
        {"service": "s3", "method": "GET", "body": "", "headers": {},
         "url": "https://s3.us-east-1.amazonaws.com/bucket/a/b%20c/results.json"},
        # the log's mirror and the second copy of its head
        {"service": "s3", "method": "GET", "body": "", "headers": {},
         "url": "https://s3.us-east-1.amazonaws.com/bucket?object-lock="},
        {"service": "s3", "method": "PUT", "body": "tile",
         "headers": {"content-type": "application/octet-stream", "content-md5": "abc=",
                     "x-amz-object-lock-mode": "COMPLIANCE",
                     "x-amz-object-lock-retain-until-date": "2027-12-01T00:00:00Z"},
         "url": "https://s3.us-east-1.amazonaws.com/bucket/log/tile/entries/x001/002.p/3"},
        {"service": "s3", "method": "PUT", "body": "head",
         "headers": {"content-type": "text/plain; charset=utf-8", "if-match": '"an-etag"'},
         "url": "https://s3.us-east-1.amazonaws.com/bucket/log/head"},
    ]  # fmt: skip
    for token in ("", "a-session-token"):
        for request in asked:
            request |= {"region": "us-east-1", "now_ms": 1_780_000_000_000,
                        "key_id": "AKIATESTTESTTESTTEST", "secret": "a/secret+key",
                        "token": token}  # fmt: skip
        expected = run("aws.py", "signed", feed=json.dumps(asked))
        for request, header in zip(asked, expected, strict=True):
            keys = AwsKeys(
                "AKIATESTTESTTESTTEST", Secret(b"a/secret+key"),
                Secret(token.encode()) if token else None,
            )  # fmt: skip
            found = sign(
                keys, service=request["service"], region="us-east-1", method=request["method"],
                url=request["url"], headers=request["headers"], body=request["body"].encode(),
                now_ms=1_780_000_000_000,
            )["authorization"]  # fmt: skip
            assert found == header
