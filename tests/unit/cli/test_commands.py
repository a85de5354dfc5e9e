"""Commands end to end: what is asked of the server, what is printed, which exit code."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from tests.fakes.gateway import FakeGateway

from cryogate.cli.main import NOUNS, cli
from cryogate.client import Identity, write_credential
from cryogate.domain.ids import JOB, SESSION, new_id

GHZ = "OPENQASM 2.0;\nqreg q[1];\n"


@dataclass
class Shell:
    """A state directory, an agent's file and a circuit, and the command that uses them."""

    gateway: FakeGateway
    home: Path

    def __call__(self, *args: str, input: str | None = None) -> Result:  # noqa: A002
        env = {
            "CRYOGATE_STATE_DIR": str(self.home),
            "CRYOGATE_URL": self.gateway.url,
            "CRYOGATE_AGENT": None,
            "XDG_RUNTIME_DIR": str(self.home / "runtime"),
        }
        return CliRunner().invoke(cli, list(args), env=env, input=input)

    def agent(self, *args: str) -> Result:
        return self(*args, "--as", str(self.home / "agent.json"))


@pytest.fixture
def shell(gateway: FakeGateway, tmp_path: Path) -> Shell:
    for name, file in (("operator:admin", "operator.jwk"), ("agent-a", "agent.json")):
        identity = Identity.generate(name)
        gateway.clients[name] = identity.public_jwk()
        write_credential(tmp_path / file, identity, None, "exp-1")
    (tmp_path / "ghz.qasm").write_text(GHZ)
    return Shell(gateway, tmp_path)


def job_view(job_id: str, state: str = "queued", **more: object) -> dict[str, object]:
    return {
        "job_id": job_id,
        "state": state,
        "backend": "local:aer",
        "shots": 100,
        "experiment_id": "exp-1",
        "cost_estimate_cents": 123,
        "currency": "USD",
        "next": "Fetch the result.",
        **more,
    }


def serve_job(gateway: FakeGateway, state: str, **more: object) -> str:
    job_id = new_id(JOB)
    gateway.answer("POST", "/v1/jobs", (202, job_view(job_id, "queued")))
    gateway.answer("GET", f"/v1/jobs/{job_id}", (200, job_view(job_id, state, **more)))
    counts = {"job_id": job_id, "counts": {"0": 60, "1": 40}, "shots": 100}
    gateway.answer("GET", f"/v1/jobs/{job_id}/result", (200, counts))
    return job_id


def test_submit_and_wait_shows_the_counts(shell: Shell) -> None:
    job_id = serve_job(shell.gateway, "done", cost_actual_cents=7)
    result = shell.agent("job", "submit", str(shell.home / "ghz.qasm"), "--shots", "100", "--wait")
    assert result.exit_code == 0, result.output
    assert f"{job_id} done on local:aer, cost 0.07 USD" in result.stdout
    assert "60.0%" in result.stdout
    assert "total 100 of 100 shots in 2 outcomes" in result.stdout
    assert result.stderr == ""


def test_submit_as_json_is_one_document(shell: Shell) -> None:
    job_id = serve_job(shell.gateway, "done")
    args = ("job", "submit", str(shell.home / "ghz.qasm"), "--json")
    assert json.loads(shell.agent(*args).stdout)["job_id"] == job_id
    document = json.loads(shell.agent(*args, "--wait").stdout)
    assert document["counts"] == {"0": 60, "1": 40}
    assert document["job"]["state"] == "done"


def test_a_program_may_come_from_standard_input(shell: Shell) -> None:
    serve_job(shell.gateway, "done")
    result = shell("job", "submit", "-", "--as", str(shell.home / "agent.json"), input=GHZ)
    assert result.exit_code == 0, result.output
    assert shell.gateway.seen[0].body["program"]["source"] == GHZ


def test_a_job_that_failed_exits_1_and_says_why(shell: Shell) -> None:
    serve_job(shell.gateway, "failed", failure="no qubits left", next="Nothing more will happen.")
    result = shell.agent("job", "submit", str(shell.home / "ghz.qasm"), "--wait")
    assert result.exit_code == 1
    assert "no qubits left" in result.stderr
    assert "next: Nothing more will happen." in result.stderr


def test_patience_that_ends_exits_3_and_says_where_to_look(shell: Shell) -> None:
    job_id = serve_job(shell.gateway, "queued")
    result = shell.agent("job", "submit", str(shell.home / "ghz.qasm"), "--wait", "--timeout", "0")
    assert result.exit_code == 3
    assert f"cryogate job show {job_id}" in result.stderr


REFUSAL = {
    "type": "https://cryogate.dev/problems/not_allowed",
    "title": "This is not allowed",
    "detail": "two limits were not kept \x1b[31m",
    "violations": [
        {"limit": "max_shots", "allowed": 10, "actual": 100, "hint": "ask for at most 10"},
        {
            "limit": "allowed_backends",
            "allowed": ["local:aer"],
            "actual": "x:y",
            "hint": "\u202eno",
        },
    ],
}


@pytest.mark.attack("H4")
def test_a_refusal_shows_every_violation_and_no_control_characters(shell: Shell) -> None:
    shell.gateway.answer("POST", "/v1/jobs", (403, REFUSAL))
    result = shell.agent("job", "submit", str(shell.home / "ghz.qasm"))
    assert result.exit_code == 1
    for word in ("two limits", "max_shots", "ask for at most 10", "allowed_backends", "x:y"):
        assert word in result.stderr
    assert "\x1b" not in result.stderr
    assert "\u202e" not in result.stderr


def test_a_refusal_as_json_is_a_problem_document_on_standard_error(shell: Shell) -> None:
    shell.gateway.answer("POST", "/v1/jobs", (403, REFUSAL))
    result = shell.agent("job", "submit", str(shell.home / "ghz.qasm"), "--json")
    assert result.exit_code == 1
    assert result.stdout == ""
    problem = json.loads(result.stderr)
    assert (problem["code"], problem["status"], problem["exit"]) == ("not_allowed", 403, 1)
    assert problem["violations"][0]["limit"] == "max_shots"


@pytest.mark.parametrize("as_json", [False, True])
def test_a_usage_error_exits_2(shell: Shell, as_json: bool) -> None:
    result = shell("budget", "set", "exp-1", "--limit", "12", *(["--json"] if as_json else []))
    assert result.exit_code == 2
    assert "12.50" in result.stderr
    if as_json:
        assert json.loads(result.stderr)["code"] == "usage"


def test_nobody_there_exits_3(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
    result = shell("agent", "list", "--url", url)
    assert result.exit_code == 3
    assert "cryogate up" in result.stderr


def test_no_credential_says_what_to_name(shell: Shell) -> None:
    assert "--as" in shell("job", "submit", str(shell.home / "ghz.qasm")).stderr
    result = shell("agent", "list", "--state-dir", str(shell.home / "elsewhere"))
    assert result.exit_code == 1
    assert "--state-dir" in result.stderr


@pytest.mark.attack("S1")
def test_an_exposed_credential_is_not_used(shell: Shell) -> None:
    (shell.home / "agent.json").chmod(0o644)
    result = shell.agent("backend", "list")
    assert result.exit_code == 1
    assert "chmod 600" in result.stderr
    assert not shell.gateway.token_forms


def test_an_estimate_that_would_be_denied_exits_1(shell: Shell) -> None:
    view = {
        "backend": "ibm:x",
        "facts": {"qubits": 3, "gate_counts": {"h": 1}},
        "circuit_sha256": "ab" * 32,
        "cost_bound_cents": 4200,
        "currency": "USD",
        "formula": "shots * price",
        "price_source": "shipped book",
        "price_as_of": "2026-11-01",
        "decision": "deny",
        "reasons": ["stage"],
        "violations": [{"limit": "stage", "allowed": "simulator", "actual": "hardware",
                        "hint": "ask an operator"}],
    }  # fmt: skip
    shell.gateway.answer("POST", "/v1/estimates", (200, view))
    result = shell.agent("job", "estimate", str(shell.home / "ghz.qasm"), "--backend", "ibm:x")
    assert result.exit_code == 1
    for word in (
        "may not run",
        "42.00 USD",
        "shots * price",
        "as of 2026-11-01",
        "ask an operator",
    ):
        assert word in result.stdout
    view["decision"] = "needs_approval"
    result = shell.agent("job", "estimate", str(shell.home / "ghz.qasm"), "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["decision"] == "needs_approval"


def test_creating_an_agent_registers_the_public_half_only(shell: Shell) -> None:
    shell.gateway.answer("POST", "/admin/v1/agents", (201, {"agent_id": "lab-1"}))
    out = shell.home / "lab-1.json"
    result = shell("agent", "create", "lab-1", "--owner", "kim@example.org", "--out", str(out),
                   "--attribute", "sandboxed=true", "--attribute", "model=m-7")  # fmt: skip
    assert result.exit_code == 0, result.output
    body = shell.gateway.seen[0].body
    assert "d" not in body["jwk"]
    assert body["attributes"] == {"sandboxed": True, "model": "m-7"}
    assert "stage" not in body  # the server alone says where an agent begins
    held = json.loads(out.read_text())
    assert held["client_id"] == "lab-1"
    assert held["jwk"]["x"] == body["jwk"]["x"]
    assert held["jwk"]["d"] not in result.output
    assert out.stat().st_mode & 0o777 == 0o600


def test_a_refused_agent_leaves_no_credential_behind(shell: Shell) -> None:
    shell.gateway.answer("POST", "/admin/v1/agents", (409, {"detail": "exists"}))
    out = shell.home / "lab-1.json"
    assert shell("agent", "create", "lab-1", "--owner", "kim", "--out", str(out)).exit_code == 1
    assert not out.exists()


def test_a_private_key_is_never_registered(shell: Shell) -> None:
    path = shell.home / "private.json"
    path.write_text(json.dumps(json.loads((shell.home / "agent.json").read_text())["jwk"]))
    result = shell("agent", "add-key", "agent-a", "--jwk", str(path))
    assert result.exit_code == 2
    assert "public half" in result.stderr
    assert not shell.gateway.seen


def test_setting_one_limit_keeps_the_other(shell: Shell) -> None:
    view = {"currency": "USD", "limit_cents": 1000, "held_cents": 100, "spent_cents": 50,
            "limit_shots": 5000, "held_shots": 0, "spent_shots": 0}  # fmt: skip
    shell.gateway.answer("GET", "/admin/v1/budgets/exp-1", (200, view))
    shell.gateway.answer("PUT", "/admin/v1/budgets/exp-1", (200, {**view, "limit_cents": 2050}))
    result = shell("budget", "set", "exp-1", "--limit", "20.50")
    assert result.exit_code == 0, result.output
    assert shell.gateway.seen[-1].body == {"limit_cents": 2050}  # what is left out stays
    assert "20.50 USD" in result.stdout
    assert "19.00 USD" in result.stdout


@pytest.mark.attack("H4")
def test_an_approval_shows_exact_terms_and_no_tricks(shell: Shell) -> None:
    terms = {"agent_id": "agent-a", "experiment_id": "exp-1", "circuit_sha256": "ab" * 32,
             "backend": "ibm:x", "shots": 4000, "cost_ceiling_cents": 99_00,
             "currency": "USD"}  # fmt: skip
    view = {"approval_id": "apr_1", "state": "approved", "terms": terms,
            "reason": "cheap \x1b[8m\u202e[bold red]really[/]"}  # fmt: skip
    shell.gateway.answer("POST", "/admin/v1/approvals/apr_1/approve", (200, view))
    result = shell("approval", "approve", "apr_1", "--note", "ok")
    assert result.exit_code == 0, result.output
    assert shell.gateway.seen[0].body == {"note": "ok"}
    for word in ("approved apr_1", "99.00 USD", "4000", "ab" * 32, "[bold red]really[/]"):
        assert word in result.stdout
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout


@pytest.mark.parametrize(
    ("args", "kind", "subject"),
    [
        (("agent", "revoke", "agent-a"), "agent", "agent-a"),
        (("token", "revoke", "tok_1"), "token", "tok_1"),
        (("experiment", "revoke", "exp-1"), "experiment", "exp-1"),
        (("session", "revoke", "ses_1"), "session", "ses_1"),
        (("revocation", "create", "owner", "kim"), "owner", "kim"),
        (("revocation", "everything", "--yes"), "all", "*"),
    ],
)
def test_revocations(shell: Shell, args: tuple[str, ...], kind: str, subject: str) -> None:
    shell.gateway.answer("POST", "/admin/v1/revocations", (201, {"kind": kind}))
    result = shell(*args, "--reason", "lost laptop")
    assert result.exit_code == 0, result.output
    assert shell.gateway.seen[0].body == {
        "kind": kind, "subject": subject, "reason": "lost laptop"
    }  # fmt: skip


def test_the_emergency_stop_asks_first(shell: Shell) -> None:
    result = shell("revocation", "everything", "--reason", "drill", input="n\n")
    assert result.exit_code == 1
    assert not shell.gateway.seen


@pytest.mark.parametrize("name", ["..", ".", "", "../budgets", "a/../../v1", "a?b=c", "a#b", "ä"])
def test_names_cannot_lead_to_another_endpoint(shell: Shell, name: str) -> None:
    assert shell("agent", "show", name).exit_code == 1
    for seen in shell.gateway.seen:
        rest = seen.path.removeprefix("/admin/v1/agents/")
        assert rest != seen.path
        assert "/" not in rest
        assert not seen.query


def leaves(command: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from leaves(found, *path, name)
    else:
        yield path, command


LEAVES = dict(leaves(cli))


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_takes_json_and_explains_itself(path: tuple[str, ...]) -> None:
    command = LEAVES[path]
    options = {name for param in command.params for name in param.opts}
    assert "--json" in options
    assert command.help
    assert CliRunner().invoke(cli, [*path, "--help"]).exit_code == 0


def test_every_command_is_documented() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "cli.md").read_text()
    assert not [" ".join(path) for path in LEAVES if f"cryogate {' '.join(path)}" not in page]


@pytest.mark.parametrize("args", [["--help"], ["--version"]])
def test_help_starts_fast_because_it_imports_little(args: list[str]) -> None:
    code = (
        "import sys\n"
        "from cryogate.cli.main import cli\n"
        f"cli({args!r}, standalone_mode=False)\n"
        "heavy = {'httpx', 'rich', 'msgspec', 'cryptography', 'qiskit', 'numpy', 'asyncio'}\n"
        "found = heavy & set(sys.modules)\n"
        "found |= {m for m in sys.modules if m.startswith('cryogate.cli.') and\n"
        "          m.split('.')[2] not in ('main', 'options')}\n"
        "sys.exit(','.join(sorted(found)) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_list_of_nouns_is_the_help(shell: Shell) -> None:
    text = shell("--help").stdout
    assert [noun for noun in NOUNS if f"  {noun} " in text] == list(NOUNS)


LISTS: list[tuple[tuple[str, ...], str]] = [
    (("agent", "list"), "/admin/v1/agents"),
    (("experiment", "list"), "/admin/v1/experiments"),
    (("budget", "list"), "/admin/v1/budgets"),
    (("approval", "list"), "/admin/v1/approvals"),
    (("token", "list", "--agent", "agent-a"), "/admin/v1/tokens"),
    (("session", "list"), "/admin/v1/sessions"),
    (("job", "list"), "/admin/v1/jobs"),
    (("revocation", "list"), "/admin/v1/revocations"),
    (("keys", "list"), "/admin/v1/keys"),
    (("audit", "events"), "/audit/events"),
]


@pytest.mark.parametrize(
    ("args", "path"), LISTS, ids=lambda v: v if isinstance(v, str) else " ".join(v)
)
def test_lists_when_empty_and_when_full_of_surprises(
    shell: Shell, args: tuple[str, ...], path: str
) -> None:
    shell.gateway.answer("GET", path, (200, {"items": [], "next": None}))
    empty = shell(*args)
    assert empty.exit_code == 0, empty.output
    assert empty.stdout.strip()
    odd = {"agent_id": "\x1b[2J", "job_id": 7, "roles": {"a": None}, "terms": [], "x": [[1]]}
    page = {"items": [odd, "not an object", None], "next": "9.job_1"}
    shell.gateway.answer("GET", path, (200, page))
    full = shell(*args)
    assert full.exit_code == 0, full.output
    assert "\x1b" not in full.output
    assert "9.job_1" in full.stderr
    assert json.loads(shell(*args, "--json").stdout) == page


@pytest.mark.attack("S1")
def test_a_token_is_described_and_never_printed(shell: Shell) -> None:
    result = shell.agent("token", "show", "--json")
    document = json.loads(result.stdout)
    assert document["granted"][0]["experiment_id"] == "exp-1"
    assert document["expires_in_s"] == 300
    text = shell.agent("token", "show").stdout
    assert "exp-1" in text
    assert not [t for t in shell.gateway.live if t in result.stdout + text]


def test_sessions_are_opened_and_closed(shell: Shell) -> None:
    session_id = new_id(SESSION)
    view = {"session_id": session_id, "experiment_id": "exp-1", "max_jobs": 3, "state": "open"}
    shell.gateway.answer("POST", "/v1/sessions", (201, view))
    shell.gateway.answer("GET", f"/v1/sessions/{session_id}", (200, view))
    shell.gateway.answer("DELETE", f"/v1/sessions/{session_id}", (200, {**view, "state": "closed"}))
    opened = shell.agent("session", "open", "--max-jobs", "3", "--ttl", "60", "--json")
    assert json.loads(opened.stdout)["session_id"] == session_id
    assert shell.gateway.seen[-1].body == {"max_jobs": 3, "ttl_s": 60}
    assert session_id in shell.agent("session", "show", session_id).stdout
    assert shell.agent("session", "close", session_id).exit_code == 0


def test_an_operator_looks_on_where_no_agent_is_named(shell: Shell) -> None:
    job_id = new_id(JOB)
    shell.gateway.answer("GET", f"/admin/v1/jobs/{job_id}", (200, job_view(job_id, "running")))
    shell.gateway.answer(
        "POST", f"/admin/v1/jobs/{job_id}/cancel", (202, job_view(job_id, "cancelled"))
    )
    assert "running" in shell("job", "show", job_id).stdout
    assert "cancelled" in shell("job", "cancel", job_id).stdout
    shell.agent("job", "list")
    assert shell.gateway.seen[-1].path == "/v1/jobs"


def test_where_a_circuit_comes_from(shell: Shell, tmp_path: Path) -> None:
    job_id = new_id(JOB)
    item = {
        "similarity": 0.97,
        "same_circuit": False,
        "experiment_id": "exp-\x1b[2J",
        "job_id": "j",
    }
    report = {"circuit_sha256": "a" * 64, "items": [item, "odd"], "compared": 1, "left_out": 2}
    shell.gateway.answer("GET", f"/admin/v1/jobs/{job_id}/similar", (200, report))
    shell.gateway.answer("POST", "/admin/v1/circuits/similar", (200, report))
    of_job = shell("job", "similar", job_id, "--limit", "3")
    assert "0.97" in of_job.stdout
    assert "\x1b" not in of_job.stdout
    assert "2 circuits were left out" in of_job.stderr
    path = tmp_path / "ghz.qasm"
    path.write_text("OPENQASM 2.0;\nqreg q[1];\n")
    assert json.loads(shell("job", "similar", str(path), "--json").stdout) == report
    assert shell.gateway.seen[-1].body == {"format": "openqasm2", "source": path.read_text()}


def test_a_change_is_only_what_was_named(shell: Shell) -> None:
    shell.gateway.answer("PATCH", "/admin/v1/agents/agent-a", (200, {"agent_id": "agent-a"}))
    shell.gateway.answer("PATCH", "/admin/v1/experiments/exp-1", (200, {"experiment_id": "exp-1"}))
    shell("agent", "set", "agent-a", "--tier", "trusted")
    shell("agent", "disable", "agent-a")
    shell("experiment", "close", "exp-1")
    shell("experiment", "set", "exp-1", "--agent", "b", "--agent", "a")
    assert [seen.body for seen in shell.gateway.seen] == [
        {"tier": "trusted"},
        {"active": False},
        {"closed": True},
        {"allowed_agents": ["a", "b"]},
    ]
    assert shell("agent", "set", "agent-a").exit_code == 2
    assert shell("experiment", "set", "exp-1").exit_code == 2


@pytest.mark.attack("T5")
def test_commands_in_a_session_use_its_token_and_nobody_elses(shell: Shell) -> None:
    session_id = new_id(SESSION)
    view = {"session_id": session_id, "experiment_id": "exp-1"}
    shell.gateway.answer("POST", "/v1/sessions", (201, view))
    shell.gateway.answer("DELETE", f"/v1/sessions/{session_id}", (200, view))
    serve_job(shell.gateway, "queued")
    circuit = str(shell.home / "ghz.qasm")
    assert shell.agent("session", "open").exit_code == 0
    assert shell.agent("job", "submit", circuit, "--session", session_id).exit_code == 0
    opened, submitted = shell.gateway.seen
    assert opened.token == submitted.token
    assert submitted.body["session_id"] == session_id
    [kept] = (shell.home / "runtime" / "cryogate").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600

    stranger = Identity.generate("agent-b")
    shell.gateway.clients["agent-b"] = stranger.public_jwk()
    write_credential(shell.home / "b.json", stranger, None, "exp-1")
    args = ("job", "submit", circuit, "--session", session_id, "--as", str(shell.home / "b.json"))
    assert shell(*args).exit_code == 0
    assert shell.gateway.seen[-1].token != opened.token

    assert shell.agent("session", "close", session_id).exit_code == 0
    assert shell.gateway.seen[-1].token == opened.token
    assert not kept.exists()


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"client_id": "agent-a", "token": 1}'])
def test_a_broken_memory_of_a_session_is_passed_over(shell: Shell, content: str) -> None:
    session_id = new_id(SESSION)
    path = shell.home / "runtime" / "cryogate" / f"{session_id}.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    path.chmod(0o600)
    serve_job(shell.gateway, "queued")
    args = ("job", "submit", str(shell.home / "ghz.qasm"), "--session", session_id)
    assert shell.agent(*args).exit_code == 0
