"""A verified result as a research object: RO-Crate 1.2, profile Process Run Crate 0.5.

What a crate says is made of the signed statement and nothing else, and it brings what proves it:
the provenance file byte for byte, and each log entry beside its proof. It is made only of a file
that verified; who gets it verifies the files in it anew, for JSON-LD proves nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from cryogate.audit.provenance_check import ProvenanceFile
from cryogate.audit.receipts import MAGIC, Receipt

METADATA: Final = "ro-crate-metadata.json"
STATEMENT_FILE: Final = "provenance.json"
COUNTS_FILE: Final = "counts.json"
_SPECIFICATION: Final = "https://w3id.org/ro/crate/1.2"
_PROFILE: Final = "https://w3id.org/ro/wfrun/process/0.5"
_JSON: Final = "application/json"
_ASSURANCE: Final = {
    "computed_here": "The simulator ran in the gateway that signed this.",
    "reported_by_vendor": "The vendor reported this result; that its machine ran it is its word.",
}
Entity = dict[str, Any]


def crate(
    found: ProvenanceFile, predicate: Mapping[str, Any], raw: bytes, license_url: str = ""
) -> Mapping[str, bytes]:
    """The files of a crate, by path. ``found`` has verified, ``predicate`` is what it says and
    ``raw`` the file's bytes; ``license_url`` is under which terms the result may be used.
    """
    files: dict[str, bytes] = {STATEMENT_FILE: raw}
    described = [
        _file(STATEMENT_FILE, raw, "Signed provenance statement (in-toto in DSSE) with receipts")
    ]
    if found.counts is not None:
        files[COUNTS_FILE] = json.dumps(found.counts, sort_keys=True).encode()
        described.append(_file(COUNTS_FILE, files[COUNTS_FILE], "Counts by outcome"))
    for receipt in () if found.receipt is None else found.receipt.receipts:
        for path, content, what in _evidence(receipt):
            files[path] = content
            described.append(_file(path, content, what))
    graph = _graph(predicate, described, license_url, counts=found.counts is not None)
    document = {"@context": f"{_SPECIFICATION}/context", "@graph": graph}
    files[METADATA] = json.dumps(document, indent=2, ensure_ascii=True).encode() + b"\n"
    return files


def _evidence(receipt: Receipt) -> tuple[tuple[str, bytes, str], ...]:
    name = f"log/{receipt.seq:012}"
    about = f"log entry {receipt.seq} ({receipt.action})"
    return (
        (f"{name}.json", receipt.entry.encode(), f"Audit {about}, byte for byte"),
        (f"{name}.tlog-proof", receipt.proof.encode(), f"Proof ({MAGIC}) of {about}"),
    )


def _file(path: str, content: bytes, name: str) -> Entity:
    return {
        "@id": path,
        "@type": "File",
        "name": name,
        "description": name,
        "contentSize": str(len(content)),
        "encodingFormat": _JSON if path.endswith(".json") else "text/plain",
    }


def _graph(
    said: Mapping[str, Any], files: list[Entity], license_url: str, *, counts: bool
) -> list[Entity]:
    job, backend = str(said["job_id"]), said["backend"]
    agent, circuit = said["agent"], said["circuit"]
    action, device = f"#{job}", f"urn:x-cryogate:backend:{backend['name']}"
    owner = f"#owner-of-{job}"
    facts = _facts(said, circuit)
    result = {"@id": COUNTS_FILE if counts else STATEMENT_FILE}
    title = f"Quantum job {job} on {backend['name']}"
    terms: Entity = {
        "@id": license_url or "#license",
        "@type": "CreativeWork",
        "name": license_url or "No license is stated",
        "description": "The terms under which the result may be used.",
    }
    return [
        {
            "@id": METADATA,
            "@type": "CreativeWork",
            "name": "RO-Crate metadata",
            "conformsTo": {"@id": _SPECIFICATION},
            "about": {"@id": "./"},
        },
        {
            "@id": "./",
            "@type": "Dataset",
            "name": title,
            "description": f"{said['shots']} shots of one circuit, with the signed statement of "
            f"how the result came about and proofs from the audit log {said['log']['origin']}.",
            "datePublished": _offset(said["received_at"]),
            "license": {"@id": terms["@id"]},
            "conformsTo": {"@id": _PROFILE},
            "hasPart": [{"@id": entity["@id"]} for entity in files],
            "mentions": {"@id": action},
        },
        terms,
        {
            "@id": _PROFILE,
            "@type": ["CreativeWork", "Profile"],
            "name": "Process Run Crate",
            "version": "0.5",
        },
        {
            "@id": action,
            "@type": "CreateAction",
            "name": title,
            "description": f"{_ASSURANCE.get(str(said['assurance']), '')} "
            f"The agent {agent['agent_id']} asked for it, for {agent['owner']}.",
            "startTime": _offset(said["accepted_at"]),
            "endTime": _offset(said["received_at"]),
            "actionStatus": "http://schema.org/CompletedActionStatus",
            "agent": {"@id": owner},
            "instrument": {"@id": device},
            "object": [{"@id": fact["@id"]} for fact in facts],
            "result": result,
            "subjectOf": {"@id": STATEMENT_FILE},
        },
        {"@id": owner, "@type": "Person", "name": str(agent["owner"])},
        _device(device, backend),
        *facts,
        *files,
    ]


def _device(identity: str, backend: Mapping[str, Any]) -> Entity:
    kind = {True: "Quantum simulator", False: "Quantum computer, reached as a service"}
    calibrated = backend.get("calibrated_at")
    entity: Entity = {
        "@id": identity,
        "@type": "SoftwareApplication",
        "name": str(backend["name"]),
        "url": identity,
        # a device has no version; what sets one day's apart from another's is its calibration
        "version": f"calibrated {calibrated}" if calibrated else "not stated",
        "description": kind.get(backend.get("simulator"), "Quantum backend")  # type: ignore[arg-type]
        + (f", {backend['qubits']} qubits" if "qubits" in backend else ""),
    }
    return entity


def _facts(said: Mapping[str, Any], circuit: Mapping[str, Any]) -> list[Entity]:
    cost = said["cost"]
    values = {
        "circuit_sha256": ("SHA-256 of the circuit's canonical text", circuit["sha256"]),
        "program_sha256": ("SHA-256 of the program that was sent", circuit["program_sha256"]),
        "shots": ("Shots", said["shots"]),
        "agent": ("Agent that asked for it", said["agent"]["agent_id"]),
        "chain": ("For whom, outermost first", ", ".join(said["agent"]["chain"]) or None),
        "policy_digest": ("Digest of the policy that allowed it", said["policy_digest"]),
        "approval_id": ("Approval", said["approval_id"]),
        "experiment_id": ("Experiment", said["experiment_id"]),
        "cost": ("Cost", _money(cost)),
        "assurance": ("Whose word the result is", said["assurance"]),
    }
    return [
        {"@id": f"#{name}", "@type": "PropertyValue", "name": title, "value": value}
        for name, (title, value) in values.items()
        if value is not None
    ]


def _offset(time: str) -> str:
    """RFC 3339 as the profile's checks spell it."""
    return time.removesuffix("Z") + "+00:00" if time.endswith("Z") else time


def _money(cost: Mapping[str, Any]) -> str | None:
    cents = cost.get("actual_cents")
    return None if cents is None else f"{cents // 100}.{cents % 100:02} {cost['currency']}"
