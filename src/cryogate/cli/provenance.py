"""``cryogate provenance``: fetch the signed statement about a result, and verify one offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, fields, note, say

_PATH = click.Path(path_type=Path)
_KEY_FILE = "provenance.pem"
_MAX_PEM_BYTES = 4096


@click.group()
def group() -> None:
    """Provenance: what a result was made of, signed and logged."""


@click.argument("job_id")
@click.option("--out", type=_PATH, required=True, help="A new file to write it to.")
def fetch(settings: Settings, job_id: str, out: Path) -> None:
    """Save the statement about JOB_ID's result with its receipts, to hand to others."""
    from cryogate.cli.connect import agent
    from cryogate.client.messages import Call

    with agent(settings) as client:
        answer = client.request(
            Call("GET", f"/v1/jobs/{quote(job_id, safe='')}/provenance?wait_s=5")
        )
    with out.open("xb") as file:
        file.write(answer.body)

    def human() -> None:
        say(f"wrote {out}")
        say(f"next: cryogate provenance verify {out}")

    emit(settings, {"file": str(out), "job_id": job_id}, human)


@click.argument("file", type=_PATH)
@click.option("--key", "key_file", type=_PATH, help="The server's provenance key (PEM).")
@click.option("--vkey", "vkeys", multiple=True, metavar="KEY", help="The log's key, or its file.")
def verify(settings: Settings, file: Path, key_file: Path | None, vkeys: tuple[str, ...]) -> None:
    """Verify a provenance FILE, offline: signature, counts, and that the log knows it.

    Keys come from the options, else from the state directory; never from the file itself.
    """
    from cryogate.audit.dsse import load_pem
    from cryogate.audit.errors import NoteRefused
    from cryogate.audit.provenance_check import MAX_FILE_BYTES, read_file, verify_provenance
    from cryogate.cli.failure import UNVERIFIED, VerificationFailed
    from cryogate.cli.local_log import VKEY_FILE, given_keys

    log_keys = given_keys(vkeys or (str(settings.state / VKEY_FILE),))
    try:
        key = load_pem(_read(key_file or settings.state / _KEY_FILE, _MAX_PEM_BYTES))
        found = read_file(_read(file, MAX_FILE_BYTES + 1))
    except NoteRefused as error:
        raise VerificationFailed(str(error)) from None
    report = verify_provenance(found, [key], log_keys)
    document = {
        "ok": report.ok,
        "findings": list(report.findings),
        "log_sizes": list(report.sizes),
        "predicate": report.predicate,
    }
    emit(settings, document, lambda: _human(report.ok, report.findings, report.predicate))
    if not report.ok:
        click.get_current_context().exit(UNVERIFIED)


def _human(ok: bool, findings: tuple[str, ...], predicate: dict[str, Any] | None) -> None:
    for text in findings:
        note(text)
    said = predicate or {}
    fields(
        [
            ("verdict", "signed, and the log knows it" if ok else "DOES NOT VERIFY"),
            ("job", said.get("job_id")),
            ("circuit", said.get("circuit", {}).get("sha256")),
            ("backend", said.get("backend", {}).get("name")),
            ("shots", said.get("shots")),
            ("agent", said.get("agent", {}).get("agent_id")),
            ("assurance", said.get("assurance")),
        ]
    )


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(limit)
    except OSError as error:
        raise click.UsageError(f"cannot read {path.name}: {error.strerror}") from None


command(group, "fetch", As.AGENT)(fetch)
command(group, "verify", As.NOBODY)(verify)
