"""Secrets that an operator keeps in a file of their own."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryogate.config.loading import ConfigError

_MAX_BYTES = 4096


def read_secret(setting: str, path: str) -> str:
    """The secret in the file that ``setting`` names, without the white space around it.

    Raises:
        ConfigError: no file, open to others, or not a short text; names the setting.
    """
    if not path:
        raise ConfigError(f"{setting} must name the file that holds the secret")
    try:
        with Path(path).open("rb") as file:
            found = os.fstat(file.fileno())
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{setting}: cannot read {path}: {error.strerror}") from error
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"{setting}: {path} is open to others: chmod 600 {path}")
    try:
        text = data.decode("utf-8").strip()
    except UnicodeDecodeError:
        text = ""
    if not text or len(data) > _MAX_BYTES:
        raise ConfigError(f"{setting}: {path} holds no short text")
    return text
