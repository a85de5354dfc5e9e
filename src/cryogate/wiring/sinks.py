"""Copies of the log for other systems: the sinks that are configured, each with its feeder."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cryogate.audit.reading import read_entries
from cryogate.config import ConfigError
from cryogate.config.secret_files import read_secret
from cryogate.config.sinks import SinkTable
from cryogate.ports.alerts import Alerts
from cryogate.ports.audit import canonical
from cryogate.ports.privacy import EventReader
from cryogate.ports.sinks import Entry, FieldValue
from cryogate.ports.store import ReadStore
from cryogate.sinks.feeder import Feeder, ReadEntries
from cryogate.sinks.registry import FORMATS, make
from cryogate.sinks.setup import SinkSetup
from cryogate.wiring.ground import Ground

_fields = msgspec.json.Decoder(dict[str, FieldValue]).decode


def open_feeders(ground: Ground, alerts: Alerts) -> tuple[Feeder, ...]:
    """A feeder for each configured sink; none of them runs yet.

    Raises:
        ConfigError: a sink that cannot be made; names it.
    """
    tables = ground.config.sinks
    if len({table.name for table in tables}) != len(tables):
        raise ConfigError("sinks: two of them have one name")
    sealed = reader(ground.store, ground.config.audit.origin)
    reads = {"sealed": sealed, "clear": opened(sealed, ground.opener)}
    return tuple(_feeder(ground, alerts, table, reads[table.fields]) for table in tables)


def reader(store: ReadStore, origin: str) -> ReadEntries:
    """Reads entries, each checked against its hash: what was altered is never handed on."""

    async def read(first: int, count: int) -> Sequence[Entry]:
        found = await read_entries(store, first, count)
        return [Entry(origin, entry.seq, entry.data, _fields(entry.data)) for entry in found]

    return read


def opened(sealed: ReadEntries, opener: EventReader) -> ReadEntries:
    """Reads the same entries with what can be opened of them. Their bytes are then not those that
    were hashed; the number leads to the entry that was.
    """

    async def read(first: int, count: int) -> Sequence[Entry]:
        entries = await sealed(first, count)
        clear = await opener.clear([entry.fields for entry in entries])
        return [
            entry._replace(data=canonical(fields), fields=fields)
            for entry, fields in zip(entries, clear, strict=True)
        ]

    return read


def _feeder(ground: Ground, alerts: Alerts, table: SinkTable, read: ReadEntries) -> Feeder:
    where = f"sinks.{table.name}"
    token = read_secret(f"{where}.token_file", table.token_file) if table.token_file else ""
    setup = SinkSetup(
        name=table.name,
        url=table.url,
        line=FORMATS[table.format],
        send=ground.fetcher.send,
        now_ms=ground.clock.now_ms,
        token=token,
        user=table.user,
        region=table.region,
        ca_file=table.ca_file,
        cert_file=table.cert_file,
        key_file=table.key_file,
        insecure_clear=table.insecure_clear,
        overlap=table.overlap,
        rotate_bytes=table.rotate_bytes,
        keep=table.keep,
    )
    try:
        sink = make(setup)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{where}: {error}") from error
    return Feeder(
        table.name,
        sink,
        store=ground.store,
        clock=ground.clock,
        read=read,
        alerts=alerts,
        holder=ground.replica_id,
        from_start=table.start == "first",
    )
