"""Readers of what a SIEM is sent, that share nothing with its writers."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from cryogate.sinks.formats.ocsf import VERSION

_NAMES = {
    6003: "api_activity", 3002: "authentication", 3003: "authorize_session",
    3004: "entity_management", 2004: "detection_finding",
}  # fmt: skip


@cache
def _validator(name: str) -> Draft202012Validator:
    embedded: Any = OcsfJsonSchemaEmbedded
    published: Any = get_ocsf_schema
    schema = embedded(published(VERSION)).get_class_schema(name)
    return Draft202012Validator(schema)


def ocsf_errors(found: dict[str, Any]) -> list[str]:
    """What the published schema says against an event."""
    return [e.message for e in _validator(_NAMES[found["class_uid"]]).iter_errors(found)]


def read_cef(line: str) -> tuple[list[str], dict[str, str]]:
    """As the format's description reads: not our writer turned round."""
    *head, rest = re.split(r"(?<!\\)(?:\\\\)*\|", line, maxsplit=7)
    starts = list(re.finditer(r"(?:^| )([A-Za-z][A-Za-z0-9]*)(?<!\\)=", rest))
    ends = [m.start() for m in starts[1:]] + [len(rest)]
    return head, {m[1]: rest[m.end() : end] for m, end in zip(starts, ends, strict=True)}
