"""``cryogate audit trace``, ``dispute`` and ``check``: a thing's story, and its evidence."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cryogate.cli.files import read_at_most
from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, fields, note, say, table

if TYPE_CHECKING:
    from cryogate.audit.trace import Story
    from cryogate.client import Operator

_PATH = click.Path(path_type=Path)
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_COLUMNS = ("seq", "timestamp", "action", "outcome", "agent", "who", "why")


@click.argument("subject", metavar="JOB|FINGERPRINT|AGENT")
@click.option("--after", type=click.IntRange(0), help="Continue an agent's story.")
def trace(settings: Settings, subject: str, after: int | None) -> None:
    """Tell the whole story of a job, a circuit or an agent, in the order of the log."""
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        story = server.call("GET", "audit", "trace", query={**_asked(subject), "after": after})
    entries = _told(story)

    def human() -> None:
        table(_COLUMNS, [_row(entry) for entry in entries], none="nothing is signed yet")
        if story["pending"]:
            note(f"{story['pending']} events have no signed head above them yet: ask again")
        if story["next"] is not None:
            note(f"there are more; continue with --after {story['next']}")

    emit(settings, {**story, "entries": entries}, human)


@click.argument("fingerprint")
@click.option("--out", type=_PATH, required=True, help="A new zip file.")
def dispute(settings: Settings, fingerprint: str, out: Path) -> None:
    """Gather the evidence about a circuit's FINGERPRINT (or a job) as one zip, to verify offline.

    Who was let in, who said yes, what ran and who read it: entries with their proofs, and the
    signed statements about results.
    """
    import msgspec

    from cryogate.audit.evidence import pack
    from cryogate.audit.trace import Story
    from cryogate.cli.connect import operator

    with operator(settings) as server:
        answer = server.call("GET", "audit", "trace", query=_asked(fingerprint))
        story = msgspec.convert(answer, Story)
        vkeys = server.raw("GET", "audit", "vkey").body.decode()
        pem = server.raw("GET", "audit", "provenance-key").body.decode()
        content = pack(story, vkeys, _statements(server, story), pem)
    with out.open("xb") as file:
        file.write(content)
    document = {"file": str(out), "entries": len(story.receipts), "pending": story.pending}

    def human() -> None:
        say(f"wrote {len(story.receipts)} entries with their proofs to {out}")
        if story.pending:
            note(f"{story.pending} events are too new to be proved: gather again in a second")
        say(f"next: cryogate audit check {out}")

    emit(settings, document, human)


@click.argument("file", type=_PATH)
@click.option("--vkey", "vkeys", multiple=True, metavar="KEY", help="The log's key, or its file.")
@click.option("--key", "key_file", type=_PATH, help="The server's provenance key (PEM).")
@click.option("--policy", "policy_file", type=_PATH, help="Logs and a quorum (C2SP tlog-policy).")
@click.option("--tsa-ca", type=_PATH, help="Certificates (PEM) of a time-stamping authority.")
def check(
    settings: Settings,
    file: Path,
    vkeys: tuple[str, ...],
    key_file: Path | None,
    policy_file: Path | None,
    tsa_ca: Path | None,
) -> None:
    """Verify an evidence zip offline, with keys from the options or the state directory.

    With --policy every proof must lead to a head that its quorum has cosigned; with --tsa-ca its
    head must have been stamped by such an authority (RFC 3161).
    """
    from cryogate.audit.dsse import load_pem
    from cryogate.audit.errors import NoteRefused
    from cryogate.audit.evidence import MAX_PACK_BYTES, check_pack
    from cryogate.cli.failure import UNVERIFIED, VerificationFailed
    from cryogate.cli.local_log import VKEY_FILE, given_keys, given_policy, tsa_trust

    pem = key_file or settings.state / "provenance.pem"
    log_keys = given_keys(vkeys or (str(settings.state / VKEY_FILE),))
    try:
        keys = [load_pem(read_at_most(pem, 4096))] if key_file or pem.exists() else []
        tsa = None if tsa_ca is None else tsa_trust(tsa_ca)
        policy = None if policy_file is None else given_policy(policy_file)
        report = check_pack(read_at_most(file, MAX_PACK_BYTES + 1), log_keys, keys, tsa, policy)
    except NoteRefused as error:
        raise VerificationFailed(str(error)) from None
    document: dict[str, Any] = {
        "ok": report.ok,
        "entries": list(report.entries),
        "statements": report.statements,
        "findings": list(report.findings),
        "stamped": None if report.stamped is None else report.stamped.isoformat(),
    }

    def human() -> None:
        table(_COLUMNS, [_row(entry) for entry in report.entries], none="no verified entry")
        for text in report.findings:
            note(text)
        verdict = "all of it is in the log" if report.ok else "DOES NOT VERIFY"
        fields(
            [
                ("verdict", verdict),
                ("statements", report.statements),
                ("all of it was there at", document["stamped"]),
            ]
        )

    emit(settings, document, human)
    if not report.ok:
        click.get_current_context().exit(UNVERIFIED)


def _told(story: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries with what they commit to, as far as it was told and is true."""
    import msgspec

    from cryogate.audit.opening import in_clear, opens
    from cryogate.ports.privacy import Opening

    told = msgspec.convert(story.get("openings") or {}, dict[str, Opening])
    found = {token: opening for token, opening in told.items() if opens(token, opening)}
    return [in_clear(json.loads(receipt["entry"]), found) for receipt in story["receipts"]]


def _asked(subject: str) -> dict[str, str | int | None]:
    if _FINGERPRINT.fullmatch(subject):
        return {"circuit": subject}
    return {"job": subject} if subject.startswith("job_") else {"agent": subject}


def _statements(server: Operator, story: Story) -> dict[str, bytes]:
    """The statements that have been made about the jobs of a story."""
    found = {}
    for receipt in story.receipts:
        if receipt.action == "provenance.signed":
            job_id = str(json.loads(receipt.entry)["job_id"])
            found[job_id] = server.raw("GET", "audit", "provenance", job_id).body
    return found


def _row(entry: dict[str, Any]) -> list[object]:
    return [
        entry.get("seq"),
        entry.get("timestamp"),
        entry.get("action"),
        entry.get("outcome"),
        entry.get("agent_id"),
        entry.get("actor_chain"),
        entry.get("decision_reasons"),
    ]


def register(group: click.Group) -> None:
    """Add these commands to ``group``."""
    command(group, "trace", As.OPERATOR)(trace)
    command(group, "dispute", As.OPERATOR)(dispute)
    command(group, "check", As.NOBODY)(check)
