"""Policy engines behind one port, and the bundle of rules that ships with the product."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from cryogate.policies.bundle_files import Bundle, BundleInvalid
from cryogate.policies.opa import OpaEngine
from cryogate.policies.regorus import RegorusEngine
from cryogate.policies.testing import TestResult, run_bundle_tests

__all__ = [
    "Bundle",
    "BundleInvalid",
    "OpaEngine",
    "RegorusEngine",
    "TestResult",
    "run_bundle_tests",
    "shipped_bundle",
]


def shipped_bundle() -> Path:
    """The directory of the shipped bundle."""
    return Path(str(resources.files("cryogate.policies") / "bundle"))
