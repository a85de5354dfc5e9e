"""A policy bundle: Rego files and JSON data in one directory, read once, named by its digest.

Layout as OPA reads it: ``a/b/data.json`` is ``data.a.b``. What may never change: the digest is
SHA-256 over every file's path and bytes in path order, so two bundles with one digest are one.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryogate.domain.errors import CryogateError
from cryogate.policies.checks import check_data

MAX_FILES = 256
MAX_FILE_BYTES = 1 << 20


class BundleInvalid(CryogateError):
    """The bundle cannot be used; the text names the file."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """Rules by path, the data document, and the digest of it all."""

    policies: tuple[tuple[str, str], ...]
    data: dict[str, Any]
    digest: str

    @staticmethod
    def load(directory: Path) -> Bundle:
        """Read and check a bundle.

        Raises:
            BundleInvalid: missing, too large, a link out of it, a foreign file, or bad data.
        """
        policies = []
        data: dict[str, Any] = {}
        digest = hashlib.sha256()
        for name, content in _files(directory):
            digest.update(f"{len(name)}:{name}:{len(content)}:".encode() + content)
            if name.endswith("_test.rego"):
                continue  # for `opa test`; part of the digest, not of the rules
            if name.endswith(".rego"):
                policies.append((name, _text(name, content)))
            else:
                _place(data, name, _json(name, content))
        if not policies:
            raise BundleInvalid(f"{directory} holds no policy: an empty bundle allows nothing")
        problem = check_data(data.get("cryogate_data"))
        if problem is not None:
            raise BundleInvalid(f"{directory}: {problem}")
        return Bundle(tuple(policies), data, digest.hexdigest())


def _files(directory: Path) -> list[tuple[str, bytes]]:
    if not directory.is_dir():
        raise BundleInvalid(f"{directory} is no directory")
    found: list[tuple[str, bytes]] = []
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_symlink():
            raise BundleInvalid(f"{name} is a link; a bundle holds files only")
        if path.is_dir():
            continue
        if path.suffix != ".rego" and path.name != "data.json":
            raise BundleInvalid(f"{name} is neither Rego nor data.json")
        if len(found) >= MAX_FILES or path.stat().st_size > MAX_FILE_BYTES:
            raise BundleInvalid(f"more than {MAX_FILES} files or {MAX_FILE_BYTES} bytes in one")
        found.append((name, path.read_bytes()))
    return found


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BundleInvalid(f"{name} is not UTF-8") from error


def _json(name: str, content: bytes) -> Any:
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
