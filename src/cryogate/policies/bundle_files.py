"""A policy bundle: Rego files and JSON data, named by a digest and ordered by a version.

Layout as OPA reads it: ``a/b/data.json`` is ``data.a.b``; ``.manifest`` holds the version as its
``revision``; ``.signatures.json`` is the signature over all of it (`cryogate.policies.signing`).
What may never change: the digest is SHA-256 over every file's path and bytes in path order, but
for the signature, so two bundles with one digest are one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from cryogate.domain.errors import CryogateError
from cryogate.policies.checks import check_data
from cryogate.policies.statement_index import index_of

MAX_FILES = 256
MAX_FILE_BYTES = 1 << 20
MAX_BUNDLE_BYTES = 2 << 20
MANIFEST, SIGNATURES = ".manifest", ".signatures.json"


class BundleInvalid(CryogateError):
    """The bundle cannot be used; the text names the file."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """Rules by path, the data document, and the digest of it all.

    ``version`` is 0 for a bundle that does not say; ``files`` are its bytes by path. An index in
    them that is not that of the statements makes it not ``indexed``: it may be looked at and
    signed anew, but never put in force.
    """

    policies: tuple[tuple[str, str], ...]
    data: dict[str, Any]
    digest: str
    version: int = 0
    files: Mapping[str, bytes] = field(default_factory=dict)
    indexed: bool = True

    @staticmethod
    def load(directory: Path) -> Bundle:
        """Read and check the bundle in ``directory``.

        Raises:
            BundleInvalid: missing, too large, a link out of it, a foreign file, or bad data.
        """
        return Bundle.of(read_files(directory), str(directory))

    @staticmethod
    def of(files: Mapping[str, bytes], name: str = "the bundle") -> Bundle:
        """Check a bundle whose files are at hand.

        Raises:
            BundleInvalid: too large, a foreign file, or bad data.
        """
        _check_sizes(files)
        policies = []
        version = 0
        data: dict[str, Any] = {}
        digest = hashlib.sha256()
        for path, content in sorted(files.items(), key=lambda item: PurePosixPath(item[0])):
            if path == SIGNATURES:
                continue
            digest.update(f"{len(path)}:{path}:{len(content)}:".encode() + content)
            if path == MANIFEST:
                version = _version(strict_json(path, content))
            elif path.endswith("_test.rego"):
                continue  # for `opa test`; part of the digest, not of the rules
            elif path.endswith(".rego"):
                policies.append((path, _text(path, content)))
            else:
                _place(data, path, strict_json(path, content))
        if not policies:
            raise BundleInvalid(f"{name} holds no policy: an empty bundle allows nothing")
        problem = check_data(data.get("cryogate_data"))
        if problem is not None:
            raise BundleInvalid(f"{name}: {problem}")
        index = index_of(data["cryogate_data"]["statements"])
        given = data.get("cryogate_index", index)
        data["cryogate_index"] = index
        return Bundle(
            tuple(policies), data, digest.hexdigest(), version, dict(files), given == index
        )


def read_files(directory: Path) -> dict[str, bytes]:
    """The files of the bundle in ``directory``, by path.

    Raises:
        BundleInvalid: missing, too large, a link out of it, or a foreign file.
    """
    if not directory.is_dir():
        raise BundleInvalid(f"{directory} is no directory")
    found: dict[str, bytes] = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_symlink():
            raise BundleInvalid(f"{name} is a link; a bundle holds files only")
        if path.is_dir():
            continue
        _check_name(name)
        if len(found) >= MAX_FILES or path.stat().st_size > MAX_FILE_BYTES:
            raise BundleInvalid(f"more than {MAX_FILES} files or {MAX_FILE_BYTES} bytes in one")
        found[name] = path.read_bytes()
    return found


def _check_name(name: str) -> None:
    if name in (MANIFEST, SIGNATURES):
        return
    path = PurePosixPath(name)
    plain = name.isascii() and name.isprintable() and len(name) <= 256 and str(path) == name
    if not plain or path.is_absolute() or ".." in path.parts:
        raise BundleInvalid(f"{name[:256]!a} is no path of a bundle")
    if path.suffix != ".rego" and path.name != "data.json":
        raise BundleInvalid(f"{name} is neither Rego nor data.json")


def _check_sizes(files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        _check_name(name)
        if len(content) > MAX_FILE_BYTES:
            raise BundleInvalid(f"{name} has more than {MAX_FILE_BYTES} bytes")
    if len(files) > MAX_FILES or sum(map(len, files.values())) > MAX_BUNDLE_BYTES:
        raise BundleInvalid(f"more than {MAX_FILES} files or {MAX_BUNDLE_BYTES} bytes in all")


def _version(manifest: Any) -> int:
    """The version in a manifest: a whole number from 1, spelled in one way."""
    revision = manifest.get("revision") if isinstance(manifest, dict) else None
    if (
        not isinstance(revision, str)
        or not (revision.isascii() and revision.isdigit())
        or revision.startswith("0")
        or len(revision) > 15
    ):
        raise BundleInvalid(f'{MANIFEST}: "revision" must be a whole number from 1, as text')
    unknown = manifest.keys() - {"revision", "rego_version"}
    if unknown:
        raise BundleInvalid(f"{MANIFEST}: {min(unknown)!a} is not read here")
    return int(revision)


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BundleInvalid(f"{name} is not UTF-8") from error


def strict_json(name: str, content: bytes) -> Any:
    """JSON in its strict reading: every key once, no constants that JSON does not have.

    Raises:
        BundleInvalid: it is not.
    """
    try:
        return json.loads(content, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BundleInvalid(f"{name}: {error}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key is there twice")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _place(data: dict[str, Any], name: str, value: Any) -> None:
    node = data
    for part in name.split("/")[:-1]:
        node = node.setdefault(part, {})
    if not isinstance(value, dict):
        raise BundleInvalid(f"{name} must hold an object")
    node.update(value)
