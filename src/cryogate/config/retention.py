"""The written retention policy: a TOML file of its own, that people sign off."""

from __future__ import annotations

import tomllib
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import msgspec

from cryogate.config.loading import ConfigError
from cryogate.ports.retention import LEGAL_MINIMUM_DAYS, RetentionPolicy

_MAX_BYTES = 65_536
_Line = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
_Days = Annotated[int, msgspec.Meta(ge=1, le=36_525)]
_Slug = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    keep_days: _Days
    decided_by: _Line
    reason: _Line
    legal_minimum_days: _Days = LEGAL_MINIMUM_DAYS
    holds: Annotated[tuple[_Slug, ...], msgspec.Meta(max_length=1000)] = ()


def read_retention(path: Path) -> RetentionPolicy:
    """The policy in a file.

    Raises:
        ConfigError: it cannot be read, is malformed, or keeps entries for less than the law asks.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"audit.retention_file: {error.strerror}") from None
    if len(content) > _MAX_BYTES:
        raise ConfigError("audit.retention_file: too large")
    try:
        found = msgspec.convert(tomllib.loads(content.decode()), _File)
    except (ValueError, RecursionError) as error:  # of TOML, of UTF-8, and of msgspec
        raise ConfigError(f"audit.retention_file: {error}") from None
    if found.legal_minimum_days < LEGAL_MINIMUM_DAYS:
        raise ConfigError(
            f"audit.retention_file: legal_minimum_days may be raised above {LEGAL_MINIMUM_DAYS}, "
            f"not lowered"
        )
    if found.keep_days < found.legal_minimum_days:
        raise ConfigError(
            f"audit.retention_file: keep_days is {found.keep_days}, and the legal minimum is "
            f"{found.legal_minimum_days}"
        )
    return RetentionPolicy(
        found.keep_days,
        found.legal_minimum_days,
        found.decided_by,
        found.reason,
        found.holds,
        sha256(content).hexdigest(),
    )
