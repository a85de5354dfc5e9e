"""The key that signs bundles on a machine of its own: in the state directory, for its owner only.

A deployment of more than one person keeps the key elsewhere, sets ``policy.trusted_keys`` to the
public half, and signs with ``cryogate policy sign DIR --key FILE``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from cryogate.policies.bundle_files import SIGNATURES, Bundle, BundleInvalid, read_files
from cryogate.policies.signing import sign_files
from cryogate.policies.statement_index import FILE
from cryogate.tokens.errors import TokenError
from cryogate.tokens.keys import SigningKey, generate, load_private

SIGNER, TRUSTED = "policy-signer.jwk", "policy-keys.json"


def open_signer(state: Path) -> SigningKey:
    """The key of the state directory, made if it is not there; its public half beside it.

    Raises:
        BundleInvalid: there is a file that is no such key.
    """
    path = state / SIGNER
    if not path.exists():
        key = generate()
        _write(path, key.private_jwk())
    key = read_signer(path)
    if not (state / TRUSTED).exists():
        _write(state / TRUSTED, {"keys": [key.public.jwk()]})
    return key


def read_signer(path: Path) -> SigningKey:
    """The private key in ``path``.

    Raises:
        BundleInvalid: unreadable, or no ES256 private key.
    """
    try:
        document = json.loads(path.read_bytes()[: 1 << 16])
        return load_private(document)
    except OSError as error:
        raise BundleInvalid(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError, AttributeError, TokenError) as error:
        raise BundleInvalid(f"{path} holds no ES256 private key") from error


def sign_directory(directory: Path, key: SigningKey) -> Bundle:
    """Sign the bundle in ``directory`` as it is now; writes its index and signature into it.

    Raises:
        BundleInvalid: the bundle cannot be used.
    """
    files = read_files(directory)
    files.pop(FILE, None)
    index = Bundle.of(files, str(directory)).data["cryogate_index"]
    (directory / FILE).unlink(missing_ok=True)
    if index["by_agent"]:
        files[FILE] = json.dumps(index, indent=1).encode() + b"\n"
        (directory / FILE).parent.mkdir(exist_ok=True)
        (directory / FILE).write_bytes(files[FILE])
    files[SIGNATURES] = sign_files(files, key)
    signed = Bundle.of(files, str(directory))
    partial = directory / f"{SIGNATURES}.new"
    partial.write_bytes(files[SIGNATURES])
    partial.rename(directory / SIGNATURES)
    return signed


def _write(path: Path, document: object) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(document, file)
        file.flush()
        os.fsync(file.fileno())
