"""Formats: valid, whole, and nothing in an event can break a line, a field or a frame (L4)."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from tests.support.siem import ocsf_errors, read_cef

from cryogate.domain.events import Event, Outcome
from cryogate.ports.audit import encode_event, leaf_bytes
from cryogate.ports.sinks import Entry
from cryogate.sinks.formats.cef import cef
from cryogate.sinks.formats.ocsf import ocsf
from cryogate.sinks.registry import FORMATS
from cryogate.sinks.setup import Format
from cryogate.sinks.syslog_line import syslog_line

ACTIONS = [
    "job.accepted", "human.sign_in", "job.done", "token.issued", "token.refused", "lease.issued",
    "policy.activated",
    "approval.requested", "alert.raised", "agent.suspended", "revocation.created", "odd",
]  # fmt: skip
HOSTILE = [
    "line\r\nbreak", "pipe|pipe|=|\\|", 'quote" ] end', "\x00\x1b[31m\x7f\x85", "\u2028\u202e",
    "é漢🎉", "\ud800", "12 <34>1 - forged", "x" * 1_000_000, "", "[cryogate@32473 seq=\"1\"]",
]  # fmt: skip
FRAMED: dict[str, Format] = {
    **FORMATS,
    "syslog": lambda entry: syslog_line(entry, "host.example", FORMATS["cef"]),
}


def entry_of(event: Event) -> Entry:
    data = leaf_bytes(encode_event(event), 7)
    return Entry("log.example/one", 7, data, json.loads(data))


def hostile(value: str) -> Entry:
    """Past every limit of the log: a sink trusts no other part."""
    fields: dict[str, Any] = {
        "timestamp": value, "action": value, "outcome": value, "agent_id": value, "seq": 7,
        "decision_reasons": [value, value], "job_id": value, "purpose": value, "qpu": value,
    }  # fmt: skip
    return Entry("log.example/one", 7, json.dumps(fields).encode(), fields)


@pytest.mark.parametrize("outcome", list(Outcome))
@pytest.mark.parametrize("action", ACTIONS)
def test_ocsf_is_valid_against_the_published_schema(action: str, outcome: Outcome) -> None:
    full = Event(
        1_800_000_000_123, action, outcome, "agent-7", "ada@example.com", "exp-42", "calibrate",
        "a" * 64, ("h", "cx"), "local:aer", 100, "tok-1", 300, "ses-1", "job-1", 12, 11, "USD", 5,
        "b" * 64, ("limit:shots",), "app-1", ("operator:ada", "agent-7"),
    )  # fmt: skip
    for event in (full, Event(1_800_000_000_123, action, outcome)):
        found = json.loads(ocsf(entry_of(event)))
        assert not ocsf_errors(found)
        assert found["time"] == 1_800_000_000_123
        assert found["type_uid"] == found["class_uid"] * 100 + found["activity_id"]


@pytest.mark.attack("L4")
@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("form", sorted(FRAMED))
def test_nothing_in_an_event_breaks_a_line(form: str, value: str) -> None:
    line = FRAMED[form](hostile(value))
    assert re.fullmatch(rb"[ -~]+", line), "printable ASCII on one line, whatever was in it"
    if form in ("json", "ocsf", "ecs"):
        assert isinstance(json.loads(line), dict)


@pytest.mark.attack("L4")
@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_a_cef_reader_finds_the_fields_that_were_meant(value: str) -> None:
    head, pairs = read_cef(cef(hostile(value)).decode())
    assert len(head) == 7
    assert head[:2] == ["CEF:0", "Cryogate"]
    assert set(pairs) <= {
        "rt", "externalId", "deviceExternalId", "act", "outcome", "suser", "dvchost", "reason",
        "cs2", "cs2Label",
    }  # fmt: skip
    assert pairs["externalId"] == "7"
    assert pairs["outcome"] == "failure"


@pytest.mark.attack("L4")
@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_a_syslog_reader_finds_one_header_and_one_element(value: str) -> None:
    line = syslog_line(hostile(value), "host.example", FORMATS["json"]).decode()
    match = re.fullmatch(
        r"<(\d{1,3})>1 (\S+) host\.example cryogate - (\S{1,32}) "
        r'(\[cryogate@32473 origin="log\.example/one" seq="7"\]) (\{.*\})',
        line,
    )
    assert match, line[:200]
    assert int(match[1]) // 8 == 13
    assert match[2] == "-", "what is no time stamp is left out"
    assert json.loads(match[5])["seq"] == 7
