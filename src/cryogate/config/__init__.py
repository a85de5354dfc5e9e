"""Configuration: the only reader of settings from files and environment."""

from cryogate.config.loading import (
    ConfigError,
    default_state_dir,
    explain,
    load,
    settings,
    variable,
)
from cryogate.config.model import LOOPBACK, Config

__all__ = [
    "LOOPBACK",
    "Config",
    "ConfigError",
    "default_state_dir",
    "explain",
    "load",
    "settings",
    "variable",
]
