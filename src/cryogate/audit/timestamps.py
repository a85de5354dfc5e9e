"""RFC 3161: somebody else's word about when a signed head existed.

What is stamped is the head's bytes with their signatures, so a token proves that these were there
at that time: whoever gets hold of the log's key later cannot date a history back. A token is
believed only under certificates that the reader brings, and is verified whenever it is used.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509

from cryogate.audit.checkpoint import open_checkpoint
from cryogate.audit.errors import NoteRefused, TimestampRefused
from cryogate.audit.note import MAX_NOTE_BYTES, NoteVerifier
from cryogate.domain.errors import CryogateError
from cryogate.ports.store import ReadStore, Row

if TYPE_CHECKING:
    from types import ModuleType

MAX_TOKEN_BYTES = 65_536
MAX_CA_BYTES = 1 << 20
MAX_STAMPS = 100_000
#: The folder of an export: ``<size>.checkpoint`` and beside it ``<size>.tsr``.
FOLDER = "timestamps"


@dataclass(frozen=True, slots=True)
class Stamped:
    """A head's bytes, and the time-stamp response about them. Nothing of it is verified yet."""

    size: int
    note: bytes
    token: bytes


class TsaTrust:
    """Certificates of time-stamping authorities: roots, and what may lie between."""

    def __init__(self, pem: bytes) -> None:
        """``pem`` holds the roots (self-signed), and intermediates that tokens lack.

        Raises:
            TimestampRefused: no root, or not PEM.
            MissingLibrary: the extra is not installed.
        """
        self._library = _library()
        try:
            found = x509.load_pem_x509_certificates(pem)
        except ValueError as error:
            raise TimestampRefused("the authority's certificates are not PEM") from error
        self._roots = [each for each in found if each.issuer == each.subject]
        self._between = [each for each in found if each.issuer != each.subject]
        if not self._roots:
            raise TimestampRefused("there is no root certificate of a time-stamping authority")

    def request(self, note: bytes) -> tuple[bytes, int]:
        """A request to stamp ``note`` (SHA-256, with certificates), and its nonce."""
        library = self._library
        asked = (
            library.TimestampRequestBuilder()
            .data(note)
            .hash_algorithm(library.HashAlgorithm.SHA256)
            .cert_request(cert_request=True)
            .nonce(nonce=True)
            .build()
        )
        return asked.as_bytes(), int(asked.nonce)

    def time(self, note: bytes, token: bytes, nonce: int | None = None) -> datetime:
        """When the authority saw ``note``, in UTC; ``nonce`` is that of our own request.

        Raises:
            TimestampRefused: the token is not a valid one for this note under these certificates.
        """
        if len(token) > MAX_TOKEN_BYTES:
            raise TimestampRefused("the time-stamp token is too large")
        builder = self._library.VerifierBuilder(
            roots=list(self._roots), intermediates=list(self._between), nonce=nonce
        )
        try:
            response = self._library.decode_timestamp_response(token)
            valid = builder.build().verify_message(response, note)
            time = response.tst_info.gen_time
        except (ValueError, self._library.VerificationError) as error:
            raise TimestampRefused(f"the time-stamp token does not verify: {error}") from error
        if valid is not True or not isinstance(time, datetime):
            raise TimestampRefused("the time-stamp token does not verify")
        return time.astimezone(UTC)


class MissingLibrary(CryogateError):
    """Time stamps need an extra package."""


def _library() -> Any:
    try:
        import rfc3161_client
    except ImportError as error:
        raise MissingLibrary(
            "time stamps need the extra: pip install 'cryogate[timestamps]'"
        ) from error
    library: ModuleType = rfc3161_client
    return library


async def stored(store: ReadStore) -> tuple[Stamped, ...]:
    """The stamped heads that lie in the database, smallest first.

    Raises:
        StoreUnavailable: the database did not answer.
    """
    return tuple(_from_row(row) for row in await store.fetch("timestamps_from", {"size": 0}))


async def first_over(store: ReadStore, size: int) -> Stamped | None:
    """The first stamped head that covers ``size`` entries. Raises as `stored`."""
    row = await store.fetch_one("timestamp_over", {"size": size})
    return None if row is None else _from_row(row)


def _from_row(row: Row) -> Stamped:
    try:
        token = base64.b64decode(str(row["token"]), validate=True)
    except (binascii.Error, ValueError):
        token = b""  # then it does not verify, and that is said
    return Stamped(int(row["size"] or 0), str(row["note"]).encode(), token)


def in_directory(directory: Path) -> tuple[Stamped, ...]:
    """The stamped heads of an export, smallest first. A file that is not there is empty."""
    found = []
    for path in sorted((directory / FOLDER).glob("*.checkpoint"))[:MAX_STAMPS]:
        note = _read(path, MAX_NOTE_BYTES + 1)
        token = _read(path.with_suffix(".tsr"), MAX_TOKEN_BYTES + 1)
        size = int(path.stem) if path.stem.isascii() and path.stem.isdigit() else 0
        found.append(Stamped(size, note, token))
    return tuple(found)


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(limit)
    except OSError:
        return b""


def files_of(stamps: Sequence[Stamped]) -> Mapping[str, bytes]:
    """The files of an export, by path. `openssl ts -verify` reads each pair."""
    files: dict[str, bytes] = {}
    for stamp in stamps:
        files[f"{FOLDER}/{stamp.size:016}.checkpoint"] = stamp.note
        files[f"{FOLDER}/{stamp.size:016}.tsr"] = stamp.token
    return files


def check(
    stamps: Sequence[Stamped],
    trust: TsaTrust,
    anchors: Sequence[NoteVerifier],
    told: Callable[[Stamped, str], None],
) -> tuple[tuple[int, datetime], ...]:
    """Sizes and times of the stamps that hold; each other one is ``told`` with the reason."""
    times = []
    for stamp in stamps:
        try:
            size = open_checkpoint(stamp.note, anchors).size
            times.append((size, trust.time(stamp.note, stamp.token)))
        except (NoteRefused, TimestampRefused) as error:
            told(stamp, str(error))
    return tuple(sorted(times))
