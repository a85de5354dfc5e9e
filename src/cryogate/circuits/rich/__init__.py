"""The rich path: definitions, loops, subroutines and control flow, parsed only in a worker."""

from cryogate.circuits.rich.entry import entrypoint

__all__ = ["entrypoint"]
