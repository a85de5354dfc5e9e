"""Every kind of sink by the first part of its URL's scheme, and every format by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from cryogate.ports.sinks import Sink
from cryogate.sinks.file import FileSink
from cryogate.sinks.formats.cef import cef
from cryogate.sinks.formats.ecs import ecs
from cryogate.sinks.formats.ocsf import ocsf
from cryogate.sinks.formats.plain import plain
from cryogate.sinks.otlp import OtlpSink
from cryogate.sinks.relp import RelpSink
from cryogate.sinks.s3 import S3Sink
from cryogate.sinks.setup import Format, SinkSetup
from cryogate.sinks.splunk import SplunkSink
from cryogate.sinks.syslog import SyslogSink
from cryogate.sinks.webhook import WebhookSink

SINKS: Final[Mapping[str, Callable[[SinkSetup], Sink]]] = MappingProxyType(
    {
        "file": FileSink,
        "syslog": SyslogSink,
        "relp": RelpSink,
        "splunk": SplunkSink,
        "otlp": OtlpSink,
        "webhook": WebhookSink,
        "s3": S3Sink,
    }
)
FORMATS: Final[Mapping[str, Format]] = MappingProxyType(
    {"json": plain, "ocsf": ocsf, "cef": cef, "ecs": ecs}
)


def make(setup: SinkSetup) -> Sink:
    """The sink that a URL names.

    Raises:
        ValueError: there is none of this kind, or the setup does not fit it.
        OSError: a file of its cannot be read.
    """
    kind = setup.parts.scheme.partition("+")[0]
    if kind not in SINKS:
        raise ValueError(
            f"there is no sink {kind or 'without a scheme'}; there are {', '.join(SINKS)}"
        )
    return SINKS[kind](setup)
