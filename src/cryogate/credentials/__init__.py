"""Secrets at rest and short leases of vendor credentials."""

from cryogate.credentials.embedded import EmbeddedLeases, FileSealer

__all__ = ["EmbeddedLeases", "FileSealer"]
