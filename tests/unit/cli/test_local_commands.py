"""Commands that need no server: circuits, policy bundles, configuration."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cryogate.cli.main import cli
from cryogate.policies import shipped_bundle

GHZ = """OPENQASM 2.0;
include "qelib1.inc";
qreg q[2];
creg c[2];
h q[0];
cx q[0],q[1];
measure q -> c;
"""
ASKED = {
    "action": "job:submit",
    "now_ms": 1,
    "agent": {"id": "a", "owner": "o", "tier": "sandbox", "stage": "simulator", "roles": []},
}


def run(home: Path, *args: str, input: str | None = None, **env: str) -> Result:  # noqa: A002
    found = {"CRYOGATE_STATE_DIR": str(home), "CRYOGATE_AGENT": None, **env}
    return CliRunner().invoke(cli, list(args), env=found, input=input)


def test_inspect_shows_what_the_gateway_finds(tmp_path: Path) -> None:
    path = tmp_path / "ghz.qasm"
    path.write_text(GHZ)
    document = json.loads(run(tmp_path, "circuit", "inspect", str(path), "--json").stdout)
    assert len(document["circuit_sha256"]) == 64
    assert document["facts"]["gate_counts"] == {"cx": 1, "h": 1}
    text = run(tmp_path, "circuit", "inspect", "-", input=GHZ).stdout
    assert document["circuit_sha256"] in text
    assert "cx=1, h=1" in text


def test_limits_and_drawings(tmp_path: Path) -> None:
    path = tmp_path / "ghz.qasm"
    path.write_text(GHZ)
    kept = run(tmp_path, "circuit", "inspect", str(path), "--limit", "qubits=2", "--gate", "h",
               "--gate", "cx")  # fmt: skip
    assert kept.exit_code == 0, kept.output
    broken = run(tmp_path, "circuit", "inspect", str(path), "--limit", "qubits=1", "--json")
    assert broken.exit_code == 1
    [violation] = json.loads(broken.stdout)["violations"]
    assert (violation["limit"], violation["actual"]) == ("qubits", 2)
    assert run(tmp_path, "circuit", "inspect", str(path), "--limit", "qbits=1").exit_code == 2
    assert run(tmp_path, "circuit", "inspect", str(path), "--limit", "qubits=x").exit_code == 2
    assert "q0:" in run(tmp_path, "circuit", "inspect", str(path), "--draw").stdout
    assert run(tmp_path, "circuit", "inspect", str(path), "--svg").stdout.startswith("<svg")
    assert run(tmp_path, "circuit", "inspect", str(path), "--svg", "--json").exit_code == 2


def test_what_a_token_and_a_backend_would_refuse(tmp_path: Path) -> None:
    path, token, backends = tmp_path / "ghz.qasm", tmp_path / "t.json", tmp_path / "b.json"
    path.write_text(GHZ.replace("h q[0]", "reset q[0]; h q[0]"))
    token.write_text(json.dumps({"granted": [{"allowed_gate_set": ["h"]}]}))
    common = {"status": "online", "max_shots": 10, "gate_set": ["h", "cx"]}
    offered = [
        {"name": "a:sim", "simulator": True, "qubits": 1, "features": ["reset"], **common},
        {"name": "b:qpu", "simulator": False, "qubits": 9, "features": [], "dialect": "braket",
         **common},
    ]  # fmt: skip
    backends.write_text(json.dumps({"items": offered, "next": None}))
    given = ("circuit", "inspect", str(path), "--token", str(token), "--backends", str(backends))
    result = run(tmp_path, *given, "--json")
    assert result.exit_code == 1
    found = [(v["by"], v["limit"], v["actual"]) for v in json.loads(result.stdout)["refused"]]
    assert found == [
        ("token", "allowed_gate_set", ["cx"]),
        ("a:sim", "backend.qubits", 2),
        ("b:qpu", "backend.features", ["reset"]),
        ("b:qpu", "backend.dialect", "Braket's OpenQASM cannot express reset"),
    ]
    one = run(tmp_path, *given, "--backend", "a:sim")
    assert "backend.qubits" in one.stdout
    assert "b:qpu" not in one.stdout
    assert run(tmp_path, *given, "--backend", "c:none").exit_code == 1
    assert run(tmp_path, "circuit", "inspect", str(path), "--backend", "a:sim").exit_code == 2
    assert run(tmp_path, *given, "--live").exit_code == 2
    for broken in ("", "[]", '{"items": 3}', '{"items": [{"name": 7}]}', "[" * 9999):
        backends.write_text(broken)
        assert run(tmp_path, *given).exit_code == 1
    # Hardware that does not say what it is sent is no backend.
    del offered[1]["dialect"]
    backends.write_text(json.dumps({"items": offered}))
    assert run(tmp_path, *given).exit_code == 1


def test_inputs_are_bound(tmp_path: Path) -> None:
    source = "OPENQASM 3; input float t; input int k; qubit[2] q; bit c; U(t, 0, 0) q[k];"
    bind = ("circuit", "inspect", "-", "--json", "--param", "k=1")
    shas = set()
    for value in ("0.5", "-1e-3"):
        result = run(tmp_path, *bind, "--param", f"t={value}", input=source)
        assert result.exit_code == 0, result.output
        shas.add(json.loads(result.stdout)["circuit_sha256"])
    assert len(shas) == 2
    assert run(tmp_path, *bind, input=source).exit_code == 1
    for wrong in ("t", "t=nan", "t=true", "t=x", "k=1"):
        assert run(tmp_path, *bind, "--param", wrong, input=source).exit_code == 2


def test_a_circuit_too_large_to_expand_is_described(tmp_path: Path) -> None:
    source = "OPENQASM 3; qubit q; bit c; for int i in [1:1000000000000] { U(0,0,0) q; }"
    result = run(tmp_path, "circuit", "inspect", "-", "--json", "--limit", "depth=10", input=source)
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["circuit_sha256"] is None
    assert document["facts"]["gate_counts"] == {"u": 10**12}
    assert document["violations"] == [{"limit": "depth", "allowed": 10, "actual": 10**12}]
    assert "1000000000000 operations" in document["refused"][0]["actual"]
    assert run(tmp_path, "circuit", "inspect", "-", "--svg", input=source).exit_code == 1
    assert "too large" in run(tmp_path, "circuit", "inspect", "-", input=source).stdout


@pytest.mark.parametrize(
    "source",
    ["", "OPENQASM 2.0;\nqreg q[", "OPENQASM 3;\ndefcal x q {}", "OPENQASM 2.0;\n\x1b[2Jx;"],
)
def test_a_refused_circuit_says_where(tmp_path: Path, source: str) -> None:
    result = run(tmp_path, "circuit", "inspect", "-", input=source)
    assert result.exit_code == 1
    assert "\x1b" not in result.output
    assert result.stderr.startswith("refused")


def test_rich_circuits_are_parsed_in_a_guarded_worker(tmp_path: Path) -> None:
    rich = (
        'OPENQASM 3;\ninclude "stdgates.inc";\ngate pair a, b { h a; cx a, b; }\n'
        "qubit[2] q; bit[2] c;\npair q[0], q[1];\nc = measure q;\n"
    )
    flat, path = tmp_path / "flat.qasm", tmp_path / "rich.qasm"
    flat.write_text(GHZ)
    path.write_text(rich)
    result = run(tmp_path, "circuit", "similar", str(path), str(flat), "--json")
    [found] = json.loads(result.stdout)["items"]
    assert found["same_circuit"] is True
    assert found["similarity"] == 1.0


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    result = run(tmp_path, "circuit", "inspect", str(tmp_path / "absent.qasm"))
    assert result.exit_code == 1
    assert "absent.qasm" in result.stderr


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    target = tmp_path / "bundle"
    shutil.copytree(shipped_bundle(), target)
    return target


def change_cases(bundle: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = bundle / "tests" / "data.json"
    document = json.loads(path.read_text())
    change(document["cases"])
    path.write_text(json.dumps(document))


def test_the_shipped_bundle_passes_its_tests(tmp_path: Path) -> None:
    result = run(tmp_path, "policy", "test")
    assert result.exit_code == 0, result.output
    assert "tests passed" in result.stdout


def test_a_policy_test_that_fails_exits_4_and_is_named(tmp_path: Path, bundle: Path) -> None:
    changed: list[str] = []

    def expect_the_contrary(cases: dict[str, Any]) -> None:
        name = next(name for name, case in cases.items() if case["allow"])
        cases[name] = {"start": cases[name]["start"], "set": {"agent.tier": "x"}, "allow": True}
        changed.append(name)

    change_cases(bundle, expect_the_contrary)
    result = run(tmp_path, "policy", "test", str(bundle), "--json")
    assert result.exit_code == 4
    failed = [t["name"] for t in json.loads(result.stdout)["tests"] if not t["passed"]]
    assert failed == changed
    assert changed[0] in run(tmp_path, "policy", "test", str(bundle)).stdout


def test_a_bundle_without_tests_proves_nothing(tmp_path: Path, bundle: Path) -> None:
    change_cases(bundle, lambda cases: cases.clear())
    assert run(tmp_path, "policy", "test", str(bundle)).exit_code != 0


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run(tmp_path, "policy", "test", str(empty)).exit_code == 1


def test_a_question_is_answered_here(tmp_path: Path, bundle: Path) -> None:
    args = ("policy", "eval", "-", "--bundle", str(bundle), "--json")
    denied = run(tmp_path, *args, input=json.dumps(ASKED))
    assert denied.exit_code == 1
    assert json.loads(denied.stdout)["decision"] == "deny"
    wrong = run(tmp_path, *args, input=json.dumps({**ASKED, "approved": True}))
    assert wrong.exit_code == 1
    assert json.loads(wrong.stderr)["code"] == "malformed_question"
    assert run(tmp_path, *args, input="not JSON").exit_code == 2


def test_configuration_is_explained(tmp_path: Path) -> None:
    result = run(tmp_path, "config", "check", "--json", CRYOGATE_SERVER_PORT="9000")
    document = json.loads(result.stdout)
    assert document["settings"]["server.port"]["value"] == "9000"
    assert document["settings"]["state_dir"]["value"] == str(tmp_path)


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    file = tmp_path / "cryogate.toml"
    file.write_text("[server]\nprot = 1\n")
    result = run(tmp_path, "config", "check", str(file))
    assert result.exit_code == 1
    assert "prot" in result.stderr


def test_a_price_that_bounds_nothing_is_named(tmp_path: Path) -> None:
    file = tmp_path / "cryogate.toml"
    file.write_text('[providers]\nenabled = ["ibm"]\n[ibm]\nmax_seconds = 90\n')
    result = run(tmp_path, "config", "check", str(file))
    assert result.exit_code == 1
    assert "ibm.max_seconds is 90" in result.stderr
    assert "60 s on ibm:*" in result.stderr
