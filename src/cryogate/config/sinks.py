"""What others are shown: copies of the audit log (``[[sinks]]``), metrics, traces, log lines."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from cryogate.config.sections import Section

SinkName = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{0,31}$")]


class SinkTable(Section, frozen=True, kw_only=True):
    """``url`` says what kind of sink it is. Secrets are in files that only their owner may read.

    ``name`` is that of its place in the log: another name begins anew.
    """

    name: SinkName
    url: Annotated[str, msgspec.Meta(min_length=8, max_length=1024)]
    format: Literal["json", "ocsf", "cef", "ecs"] = "json"
    fields: Literal["sealed", "clear"] = "sealed"
    start: Literal["first", "now"] = "first"
    token_file: str = ""
    user: str = ""
    region: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    insecure_clear: bool = False
    overlap: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 2000
    rotate_bytes: Annotated[int, msgspec.Meta(ge=64 << 10, le=1 << 40)] = 64 << 20
    keep: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 10


class Tracing(Section, frozen=True, kw_only=True):
    """Spans are sent to an OpenTelemetry collector at ``url``; without one nothing is measured."""

    url: Annotated[str, msgspec.Meta(max_length=1024)] = ""
    token_file: str = ""
    one_in: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1


class Logs(Section, frozen=True, kw_only=True):
    """What the process says on standard error."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Metrics(Section, frozen=True, kw_only=True):
    """``/metrics`` is served to who shows the token; without a file there is no such route."""

    token_file: str = ""
