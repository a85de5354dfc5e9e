"""The main job, told as a story with real processes over real HTTP.

Exits non-zero when any step does not hold. Everything lives in a temporary directory.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

from cryogate.client import Client, Operator, Refused, read_credential
from cryogate.policies import shipped_bundle
from cryogate.policies.local_key import open_signer, sign_directory

GHZ = """OPENQASM 2.0;
include "qelib1.inc";
qreg q[3];
creg c[3];
h q[0];
cx q[0],q[1];
cx q[1],q[2];
measure q -> c;
"""
CLI = [sys.executable, "-m", "cryogate.cli.main"]


def ladder(gates: int, qubits: int = 5) -> str:
    """A circuit of ``gates`` gates in OpenQASM 3."""
    lines = ["OPENQASM 3.0;", 'include "stdgates.inc";', f"qubit[{qubits}] q;", f"bit[{qubits}] c;"]
    for i in range(gates):
        a = i % qubits
        lines.append(f"rx(pi/{i + 2}) q[{a}];" if i % 2 else f"cx q[{a}], q[{(a + 1) % qubits}];")
    return "\n".join([*lines, "c = measure q;"]) + "\n"


class Story:
    """Says what it does, does it, and stops at the first thing that does not hold."""

    def __init__(self, room: Path) -> None:
        self.room = room
        self.state = room / "state"
        self.agent = room / "ghz-bot.json"
        self.steps = 0

    def step(self, text: str) -> None:
        self.steps += 1
        print(f"\n[{self.steps}] {text}", flush=True)

    def holds(self, what: bool, text: str) -> None:
        if not what:
            self.fail(text)
        print(f"    ok: {text}", flush=True)

    def fail(self, text: str) -> NoReturn:
        print(f"    DOES NOT HOLD: {text}", flush=True)
        raise SystemExit(1)

    def run(self, *words: str, expect: int = 0, show: bool = True) -> str:
        """A ``cryogate`` command in its own process."""
        print(f"    $ cryogate {' '.join(words)}", flush=True)
        done = subprocess.run(
            [*CLI, *words], env=self.env(), capture_output=True, text=True, timeout=120, check=False
        )
        text = done.stdout + done.stderr
        if show or done.returncode != expect:
            print("".join(f"      {line}\n" for line in text.splitlines()), end="", flush=True)
        if done.returncode != expect:
            self.fail(f"exit code {done.returncode}, expected {expect}")
        return done.stdout

    def json(self, *words: str) -> Any:
        """A ``cryogate`` command's answer as JSON."""
        return json.loads(self.run(*words, "--json", show=False))

    def env(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("CRYOGATE_")}
        return {**kept, "CRYOGATE_STATE_DIR": str(self.state), "CRYOGATE_AGENT": str(self.agent)}


def policy_for(state: Path) -> None:
    """The shipped policy, with a lower threshold: here a person decides above ten cents."""
    shutil.copytree(shipped_bundle(), state / "policy")
    tiers = state / "policy" / "cryogate_data" / "tiers" / "data.json"
    data = json.loads(tiers.read_text())
    data["sandbox"]["approval_above_cents"] = 10
    tiers.write_text(json.dumps(data, indent=2))
    sign_directory(state / "policy", open_signer(state))


def start(story: Story) -> subprocess.Popen[str]:
    began = time.monotonic()
    server = subprocess.Popen([*CLI, "up", "--port", "0"], env=story.env(), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    known = story.state / "server.json"
    while not known.exists():
        if server.poll() is not None or time.monotonic() - began > 30:
            output = server.stdout.read() if server.stdout and server.poll() is not None else ""
            story.fail(f"the server did not start\n{output}")
        time.sleep(0.02)
    took = time.monotonic() - began
    story.holds(took < 5, f"first start took {took:.2f} s (keys, database, policy, log)")
    story.holds(story.state.stat().st_mode & 0o777 == 0o700, "state directory is 0700")
    return server


def enrol(story: Story) -> None:
    story.step("Enrol an agent: its key is made here, only the public half is registered")
    story.run("agent", "create", "ghz-bot", "--owner", "ada@example.org",
              "--role", "qpu.submit-only", "--role", "qpu.read-aggregates",
              "--experiment", "ghz", "--out", str(story.agent))  # fmt: skip
    story.run("experiment", "create", "ghz", "--purpose", "Bell inequalities on a laptop",
              "--owner", "ada@example.org", "--agent", "ghz-bot", "--backend", "local:aer",
              "--budget", "5.00", "--budget-shots", "100000")  # fmt: skip
    story.step("It gets a token that is bound to its key and lives five minutes")
    token = story.json("token", "show")
    story.run("token", "show")
    story.holds(token["expires_in_s"] <= 300, "the token lives for at most 300 s")


def circuits(story: Story) -> None:
    story.step("Preview the cost, then run a GHZ state")
    ghz = story.room / "ghz.qasm"
    ghz.write_text(GHZ)
    story.run("job", "estimate", str(ghz), "--shots", "1000")
    story.run("job", "submit", str(ghz), "--shots", "1000", "--wait")
    done = story.json("job", "submit", str(ghz), "--shots", "1000", "--wait")
    counts = done["counts"]
    story.holds(set(counts) <= {"000", "111"} and sum(counts.values()) == 1000,
                f"counts are those of a GHZ state: {counts}")  # fmt: skip
    story.step("Run a circuit of 200 gates in OpenQASM 3")
    big = story.room / "ladder.qasm"
    big.write_text(ladder(200))
    done = story.json("job", "submit", str(big), "--shots", "500", "--wait")
    story.holds(sum(done["counts"].values()) == 500, "500 shots of 200 gates came back")


def refused(story: Story) -> None:
    story.step("Ask for too much: every violation comes back at once")
    toffoli = GHZ.replace("cx q[1],q[2];", "ccx q[0],q[1],q[2];")
    with Client.from_file(story.agent, allowed_gate_set=["h", "cx"], max_shots=2000,
                          url=server_url(story)) as client:  # fmt: skip
        try:
            client.submit(toffoli, "local:null", shots=50_000)
        except Refused as error:
            limits = {violation.limit for violation in error.violations}
            for violation in error.violations:
                print(f"      {violation.limit}: {violation.hint}")
        else:
            story.fail("the job was accepted")
    for limit in ("max_shots", "allowed_gate_set", "allowed_backends"):
        story.holds(limit in limits, f"refused for {limit}")


def approval(story: Story) -> None:
    story.step("A costly job is parked until a person says yes to exactly these terms")
    ghz = str(story.room / "ghz.qasm")
    job = story.json("job", "submit", ghz, "--shots", "9999")
    story.holds(job["state"] == "parked", "the job is parked")
    pending = story.json("approval", "list")["items"]
    story.run("approval", "list")
    story.holds(len(pending) == 1, "one approval is waiting")
    story.run("approval", "approve", pending[0]["approval_id"], "--note", "within plan")
    with Client.from_file(story.agent, url=server_url(story)) as client:
        done = client.wait(job["job_id"], timeout_s=30)
    story.holds(done.state == "done", "approved, then run")
    budget = story.json("budget", "show", "ghz")
    story.run("budget", "show", "ghz")
    story.holds(budget["held_cents"] == 0 and budget["spent_cents"] > 0, "nothing is left on hold")


def revoke(story: Story) -> None:
    story.step("Revoke the agent; measure the time to the first refusal")
    operator = Operator(server_url(story), read_credential(story.state / "operator.jwk").identity)
    with Client.from_file(story.agent, url=server_url(story)) as client, operator:
        client.backends()
        asked = time.monotonic()
        operator.call("POST", "admin", "v1", "revocations",
                      body={"kind": "agent", "subject": "ghz-bot", "reason": "demo"})  # fmt: skip
        acknowledged = time.monotonic()
        accepted = 0
        for _ in range(20):
            try:
                client.backends()
                accepted += 1
            except Refused as error:
                first = time.monotonic()
                status = error.status
                break
        else:
            story.fail("the agent was never refused")
    story.holds(accepted == 0, "no call was accepted after the revocation was acknowledged")
    story.holds(status in (400, 401, 403), f"refused with {status}")
    print(f"      acknowledged after {(acknowledged - asked) * 1e3:.1f} ms, "
          f"first refusal {(first - acknowledged) * 1e3:.1f} ms later")  # fmt: skip


def audit(story: Story, server: subprocess.Popen[str]) -> None:
    story.step("Verify the audit log, then tamper with a copy")
    server.send_signal(signal.SIGTERM)
    story.holds(server.wait(timeout=20) == 0, "the server stopped cleanly")
    story.run("audit", "verify")
    copy = story.room / "tampered"
    shutil.copytree(story.state, copy)
    with sqlite3.connect(copy / "cryogate.db") as db:
        for (name,) in db.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'events'"
        ).fetchall():
            db.execute(f'DROP TRIGGER "{name}"')
        changed = db.execute(
            "UPDATE events SET body = replace(body, '\"shots\":9999', '\"shots\":9') "
            "WHERE body LIKE '%\"shots\":9999%'"
        ).rowcount
    db.close()
    story.holds(changed > 0, f"{changed} events were changed in the copy: 9999 shots became 9")
    story.run("audit", "verify", "--state-dir", str(copy), expect=4)


def server_url(story: Story) -> str:
    url: str = json.loads((story.state / "server.json").read_text())["url"]
    return url


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="cryogate-demo-") as directory:
        story = Story(Path(directory))
        story.state.mkdir(mode=0o700)
        policy_for(story.state)
        story.step("Start everything in one process")
        server = start(story)
        try:
            enrol(story)
            circuits(story)
            refused(story)
            approval(story)
            revoke(story)
            audit(story, server)
        finally:
            if server.poll() is None:
                server.kill()
                server.wait()
    print("\nEverything held.")


if __name__ == "__main__":
    main()
