"""``cryogate provenance``: fetch the signed statement about a result, and verify one offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from cryogate.cli.files import read_at_most
from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, fields, note, say

if TYPE_CHECKING:
    from cryogate.audit.provenance_check import ProvenanceFile, ProvenanceReport

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
@click.option("--policy", "policy_file", type=_PATH, help="Logs and a quorum (C2SP tlog-policy).")
def verify(
    settings: Settings,
    file: Path,
    key_file: Path | None,
    vkeys: tuple[str, ...],
    policy_file: Path | None,
) -> None:
    """Verify a provenance FILE, offline: signature, counts, and that the log knows it.

    Keys come from the options, else from the state directory; never from the file itself. With
    --policy every receipt must lead to a head that its quorum has cosigned.
    """
    from cryogate.cli.failure import UNVERIFIED

    _, report = _verified(settings, file, key_file, vkeys, policy_file)
    document = {
        "ok": report.ok,
        "findings": list(report.findings),
        "log_sizes": list(report.sizes),
        "predicate": report.predicate,
    }
    emit(settings, document, lambda: _human(report.ok, report.findings, report.predicate))
    if not report.ok:
        click.get_current_context().exit(UNVERIFIED)


@click.argument("file", type=_PATH)
@click.option("--ro-crate", "directory", type=_PATH, required=True, help="A new directory.")
@click.option("--license", "license_url", default="", help="URL of the terms of use.")
@click.option("--key", "key_file", type=_PATH, help="The server's provenance key (PEM).")
@click.option("--vkey", "vkeys", multiple=True, metavar="KEY", help="The log's key, or its file.")
def export(
    settings: Settings,
    file: Path,
    directory: Path,
    license_url: str,
    key_file: Path | None,
    vkeys: tuple[str, ...],
) -> None:
    """Write a provenance FILE as a research object (RO-Crate 1.2, Process Run Crate).

    The file is verified first, as `provenance verify` does; one that does not verify is refused.
    """
    from cryogate.audit.provenance_check import MAX_FILE_BYTES
    from cryogate.audit.ro_crate import METADATA, crate
    from cryogate.cli.failure import VerificationFailed
    from cryogate.domain.errors import Malformed

    found, report = _verified(settings, file, key_file, vkeys)
    if not report.ok or report.predicate is None:
        raise VerificationFailed("; ".join(report.findings))
    files = crate(found, report.predicate, read_at_most(file, MAX_FILE_BYTES), license_url)
    try:
        directory.mkdir(mode=0o700, parents=True)
        for name, content in files.items():
            path = directory / name
            path.parent.mkdir(mode=0o700, exist_ok=True)
            with path.open("xb") as out:
                out.write(content)
    except OSError as error:
        raise Malformed("not_exported", f"{directory}: {error.strerror}") from None

    def human() -> None:
        say(f"wrote {len(files)} files to {directory}")
        say(f"next: show {directory / METADATA} to whatever reads RO-Crates")

    emit(settings, {"directory": str(directory), "files": sorted(files)}, human)


def _verified(
    settings: Settings,
    file: Path,
    key_file: Path | None,
    vkeys: tuple[str, ...],
    policy_file: Path | None = None,
) -> tuple[ProvenanceFile, ProvenanceReport]:
    from cryogate.audit.dsse import load_pem
    from cryogate.audit.errors import NoteRefused
    from cryogate.audit.provenance_check import MAX_FILE_BYTES, read_file, verify_provenance
    from cryogate.cli.failure import VerificationFailed
    from cryogate.cli.local_log import VKEY_FILE, given_keys, given_policy

    log_keys = given_keys(vkeys or (str(settings.state / VKEY_FILE),))
    try:
        key = load_pem(read_at_most(key_file or settings.state / _KEY_FILE, _MAX_PEM_BYTES))
        found = read_file(read_at_most(file, MAX_FILE_BYTES + 1))
    except NoteRefused as error:
        raise VerificationFailed(str(error)) from None
    policy = None if policy_file is None else given_policy(policy_file)
    return found, verify_provenance(found, [key], log_keys, policy)


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


command(group, "fetch", As.AGENT)(fetch)
command(group, "verify", As.NOBODY)(verify)
command(group, "export", As.NOBODY)(export)
