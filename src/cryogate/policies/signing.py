"""Signatures over bundles, in OPA's own format, so that OPA checks the very same file.

``.signatures.json`` holds one JWT (ES256) whose payload lists every file with its SHA-256. The
argument, by number:

 (1) one signature, made with ES256 by a key that is trusted by name (its thumbprint); the header
     can neither choose another algorithm nor bring its own key
 (2) the signature holds over the bytes that were read
 (3) the list names every file of the bundle once, and no other
 (4) every file has the hash that the list says

What may never change: how a file is hashed. Rego is hashed as it is; JSON is hashed in its
canonical text (sorted keys, no blanks), as OPA does, so whitespace is not signed and cannot matter.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from cryogate.policies.bundle_files import SIGNATURES, BundleInvalid, strict_json
from cryogate.tokens.encoding import b64, unb64
from cryogate.tokens.errors import TokenError
from cryogate.tokens.keys import ES256, PublicKey, SigningKey, load_public

_MAX_SIGNATURES_BYTES = 256 << 10


class Untrusted(BundleInvalid):
    """The bundle is not signed by a trusted key, or not as it is now."""


class _Signatures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    signatures: tuple[str, ...]


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    alg: str
    kid: str
    typ: str = "JWT"


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    hash: str
    algorithm: str


class _Payload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    files: tuple[_File, ...]


def sign_files(files: Mapping[str, bytes], key: SigningKey) -> bytes:
    """The content of ``.signatures.json`` for ``files``."""
    listed = [
        {"name": name, "hash": file_hash(name, content), "algorithm": "SHA-256"}
        for name, content in sorted(files.items())
        if name != SIGNATURES
    ]
    parts = (
        {"alg": "ES256", "typ": "JWT", "kid": key.public.kid},
        {"files": listed},
    )
    signed = ".".join(b64(msgspec.json.encode(part)) for part in parts)
    jwt = f"{signed}.{b64(key.sign(signed.encode('ascii')))}"
    return json.dumps({"signatures": [jwt]}, indent=1).encode() + b"\n"


def verify_files(files: Mapping[str, bytes], trusted: Mapping[str, PublicKey]) -> str:
    """The name (thumbprint) of the trusted key that signed exactly these files.

    Raises:
        Untrusted: no signature, an unknown key, or files that are not the signed ones.
        BundleInvalid: a JSON file that cannot be read.
    """
    content = files.get(SIGNATURES)
    if content is None:
        raise Untrusted("the bundle is not signed: cryogate policy sign DIR")
    if len(content) > _MAX_SIGNATURES_BYTES:
        raise Untrusted(f"{SIGNATURES} is too large")
    try:
        found = msgspec.convert(strict_json(SIGNATURES, content), _Signatures)
    except msgspec.ValidationError as error:
        raise Untrusted(f"{SIGNATURES}: {error}") from error
    if len(found.signatures) != 1:
        raise Untrusted(f"{SIGNATURES} must hold one signature")
    kid, payload = _verified(found.signatures[0], trusted)
    listed = {file.name: file for file in payload.files}
    present = files.keys() - {SIGNATURES}
    if len(listed) != len(payload.files) or listed.keys() != present:  # (3)
        strangers = sorted(listed.keys() ^ present)
        raise Untrusted(f"not the files that were signed: {', '.join(strangers[:3])}")
    for name in sorted(present):  # (4)
        if listed[name].algorithm != "SHA-256" or listed[name].hash != file_hash(name, files[name]):
            raise Untrusted(f"{name} was changed after the bundle was signed")
    return kid


def _verified(jwt: str, trusted: Mapping[str, PublicKey]) -> tuple[str, _Payload]:
    try:
        raw_header, raw_payload, raw_signature = jwt.split(".")
        header = msgspec.json.decode(unb64(raw_header), type=_Header)
        key = trusted.get(header.kid)
        if key is None or header.alg != "ES256":  # (1)
            raise Untrusted(f"signed by a key that is not trusted here: {header.kid[:64]!a}")
        signed = f"{raw_header}.{raw_payload}".encode("ascii")
        key.verify("ES256", signed, unb64(raw_signature))  # (2)
        return header.kid, msgspec.json.decode(unb64(raw_payload), type=_Payload)
    except (ValueError, TokenError, msgspec.MsgspecError) as error:
        raise Untrusted("the signature does not hold") from error


def file_hash(name: str, content: bytes) -> str:
    """SHA-256 (hex) of a file as it is signed.

    Raises:
        BundleInvalid: JSON that cannot be read, or whose canonical text OPA spells otherwise.
    """
    if not name.endswith(".rego"):
        value = strict_json(name, content)
        _check_signable(name, value)
        content = json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        ).encode()
    return hashlib.sha256(content).hexdigest()


def _check_signable(name: str, value: Any) -> None:
    """Integers and plain text have one canonical spelling in every language; floats do not."""
    if isinstance(value, float) or (
        isinstance(value, str) and any(c in value for c in "\x08\x0c\x7f\u2028\u2029")
    ):
        raise BundleInvalid(f"{name}: only whole numbers and plain text can be signed")
    if isinstance(value, dict):
        for key, item in value.items():
            _check_signable(name, key)
            _check_signable(name, item)
    elif isinstance(value, list):
        for item in value:
            _check_signable(name, item)


def trusted_keys(path: Path) -> dict[str, PublicKey]:
    """Public keys of a JWKS file, by thumbprint.

    Raises:
        BundleInvalid: unreadable, no keys, or a key that is no ES256 public key.
    """
    try:
        document = strict_json(str(path), path.read_bytes()[:_MAX_SIGNATURES_BYTES])
    except OSError as error:
        raise BundleInvalid(f"cannot read {path}: {error.strerror}") from error
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not keys:
        raise BundleInvalid(f'{path} must be a JSON Web Key Set: {{"keys": […]}}')
    try:
        loaded = [load_public(key, ES256) for key in keys]
    except (TokenError, AttributeError, TypeError) as error:
        raise BundleInvalid(f"{path} holds a key that is no ES256 public key") from error
    return {key.kid: key for key in loaded}
