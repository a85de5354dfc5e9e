"""The rich path with qiskit imported when the worker starts, for endpoints that receive QPY."""

from __future__ import annotations

from cryogate.circuits import qiskit_reader
from cryogate.circuits.rich import entrypoint

# The import is the point: the first QPY source must not pay for it out of its own time limit.
__all__ = ["entrypoint", "qiskit_reader"]
