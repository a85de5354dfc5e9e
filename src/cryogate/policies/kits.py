"""Starters: the shipped rules with tiers, statements and tests for a kind of organization.

A kit holds data only, so a fix of the rules reaches every kit; what a kit does not hold (roles,
settings) is the shipped bundle's.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from cryogate.policies.bundle_files import MANIFEST, Bundle, BundleInvalid, read_files

NAMES = ("research-group", "startup", "regulated-enterprise", "ci-only")


def kit_directory(name: str) -> Path:
    """Where the kit's files are.

    Raises:
        BundleInvalid: there is no such kit.
    """
    if name not in NAMES:
        raise BundleInvalid(f"there is no kit {name!a}; there are {', '.join(NAMES)}")
    packaged = Path(str(resources.files("cryogate.policies") / "kits"))
    # a source tree has them at its root, an installed package beside this module
    root = packaged if packaged.is_dir() else Path(__file__).parents[3] / "policies-kit"
    return root / name


def assemble(name: str, version: int) -> dict[str, bytes]:
    """A whole bundle, unsigned, of this version.

    Raises:
        BundleInvalid: there is no such kit, or its files cannot be used.
    """
    shipped = read_files(Path(str(resources.files("cryogate.policies") / "bundle")))
    files = {path: text for path, text in shipped.items() if not path.endswith("_test.rego")}
    kit = {
        path: content
        for path, content in _read(kit_directory(name)).items()
        if path.endswith("data.json")
    }
    manifest = f'{{"revision": "{version}", "rego_version": 1}}\n'.encode()
    whole = {**files, **kit, MANIFEST: manifest}
    Bundle.of(whole, f"kit {name}")
    return whole


def _read(directory: Path) -> dict[str, bytes]:
    if not directory.is_dir():
        raise BundleInvalid(f"{directory} is not there")
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("data.json"))
    }
