"""The entry as it is in the log: canonical JSON, so its leaf hash can be computed from it.

Safe in every framing: the canonical form is ASCII on one line; control characters are escapes.
"""

from __future__ import annotations

from cryogate.ports.sinks import Entry


def plain(entry: Entry) -> bytes:
    """The entry's canonical bytes."""
    return entry.data
