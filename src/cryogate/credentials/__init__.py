"""Secrets at rest and short leases of vendor credentials."""

from cryogate.credentials.embedded import EmbeddedLeases, FileSealer
from cryogate.credentials.transit_keys import TransitKeys

__all__ = ["EmbeddedLeases", "FileSealer", "TransitKeys"]
