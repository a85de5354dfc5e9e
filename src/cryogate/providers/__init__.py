"""Adapters to vendors and simulators, by the scheme that stands before a backend's colon."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from cryogate.ports.provider import Provider
from cryogate.providers.local import LocalProvider

__all__ = ["PROVIDERS", "LocalProvider"]

PROVIDERS: Final[Mapping[str, Callable[[], Provider]]] = MappingProxyType({"local": LocalProvider})
