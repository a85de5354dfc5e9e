"""Policy engines behind one port, and the bundle of rules that ships with the product."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from cryogate.policies.bundle_files import Bundle, BundleInvalid
from cryogate.policies.opa import OpaEngine
from cryogate.policies.regorus import RegorusEngine
from cryogate.policies.testing import TestResult, run_bundle_tests
from cryogate.ports.policy import PolicyEngine

__all__ = [
    "Bundle",
    "BundleInvalid",
    "OpaEngine",
    "RegorusEngine",
    "TestResult",
    "open_engine",
    "run_bundle_tests",
    "shipped_bundle",
]


def shipped_bundle() -> Path:
    """The directory of the shipped bundle."""
    return Path(str(resources.files("cryogate.policies") / "bundle"))


def open_engine(name: str, bundle: Bundle, opa_url: str, timeout_ms: int) -> PolicyEngine:
    """The engine of this name on ``bundle``.

    Raises:
        BundleInvalid: the bundle cannot be used; says which file and why.
        ValueError: no engine has this name.
    """
    if name == "regorus":
        return RegorusEngine(bundle)
    if name == "opa":
        return OpaEngine(opa_url, bundle, timeout_ms)
    raise ValueError(f"there is no policy engine {name!r}")
