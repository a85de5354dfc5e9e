"""Jobs, estimates and counts as text for people."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from cryogate.cli.amounts import show_cents
from cryogate.cli.histogram import histogram
from cryogate.cli.output import fields, say, show, table
from cryogate.client.models import Cut, Expectation
from cryogate.domain.safe_text import clean

_MAX_BITS = 128


def job_text(job: Mapping[str, Any]) -> None:
    """One job, and what to do next."""
    money = job.get("currency")
    approval = job.get("approval")
    waits = None
    if isinstance(approval, Mapping):
        waits = f"{approval.get('approval_id')} is {approval.get('state')}"
        if approval.get("expires_at"):
            waits += f", open until {approval['expires_at']}"
    actual = job.get("cost_actual_cents")
    runtime = job.get("runtime_ms")
    fields(
        [
            ("job", job.get("job_id")),
            ("state", job.get("state")),
            ("backend", job.get("backend")),
            ("shots", job.get("shots")),
            ("agent", job.get("agent_id")),
            ("experiment", job.get("experiment_id")),
            ("session", job.get("session_id")),
            ("circuit", job.get("circuit_sha256")),
            ("cost at most", show_cents(job.get("cost_estimate_cents"), money)),
            ("cost", None if actual is None else show_cents(actual, money)),
            ("approval", waits),
            ("failure", job.get("failure")),
            ("created", job.get("created_at")),
            ("updated", job.get("updated_at")),
            ("ran for", None if runtime is None else f"{runtime} ms"),
            ("next", job.get("next")),
        ]
    )


def estimate_text(found: Mapping[str, Any]) -> None:
    """What a job would cost and what would be decided."""
    facts = found.get("facts")
    told = {"allow": "may run", "needs_approval": "may run once a person approves"}
    source = found.get("price_source")
    if source and found.get("price_as_of"):
        source = f"{source}, as of {found['price_as_of']}"
    age = found.get("price_age_days")
    if type(age) is int:
        age = f"{age} days" + (", stale: a person must approve" if found.get("price_stale") else "")
    price = None
    if found.get("conversion"):
        price = show_cents(found.get("price_cents"), found.get("price_currency"))
    rows: list[tuple[str, object]] = [
        ("decision", told.get(str(found.get("decision")), "may not run")),
        ("reasons", found.get("reasons")),
        ("backend", found.get("backend")),
        ("cost at most", show_cents(found.get("cost_bound_cents"), found.get("currency"))),
        ("formula", found.get("formula")),
        ("price from", source),
        ("price age", age),
        ("price", price),
        ("converted at", found.get("conversion")),
        ("circuit", found.get("circuit_sha256")),
    ]
    vendor = found.get("vendor")
    if isinstance(vendor, Mapping):
        said = str(vendor.get("state")).replace("_", " ")
        rows.append(("the vendor", ": ".join([said, *map(str, vendor.get("reasons", ()))])))
    if isinstance(facts, Mapping):
        rows += [(name.replace("_", " "), value) for name, value in facts.items()]
    fields(rows)
    violations = [v for v in found.get("violations", ()) if isinstance(v, Mapping)]
    table(
        ("limit", "allowed", "actual", "hint"),
        [(v.get("limit"), show(v.get("allowed")), show(v.get("actual")), v.get("hint"))
         for v in violations],
    )  # fmt: skip


def counts_text(counts: Mapping[str, int], shots: int, top: int) -> None:
    """Counts as bars."""
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "")
    safe = {clean(bits, limit=_MAX_BITS): count for bits, count in counts.items()}
    if not safe:
        say("no counts are released to this reader")
        return
    for line in histogram(safe, shots, top=top, ascii_only=encoding != "utf8"):
        click.echo(line)


def cut_text(cut: Cut | None) -> None:
    """What was left out, if anything was."""
    if cut is None or not cut.withheld_shots:
        return
    rules = []
    if cut.min_count > 1:
        rules.append(f"outcomes seen fewer than {cut.min_count} times")
    if cut.top_k:
        rules.append(f"all but the {cut.top_k} most frequent outcomes")
    say(f"withheld: {cut.withheld_shots} shots ({', '.join(rules)})")


def expectations_text(values: Mapping[str, Expectation]) -> None:
    """Expectation values, and between what they lie where shots are withheld."""
    for string, found in values.items():
        line = f"<{string}> = {found.value:+.4f}"
        if found.low != found.high:
            line += f" over what is released; all shots: {found.low:+.4f} to {found.high:+.4f}"
        say(line)
