"""Adapters to vendors and simulators, by the scheme that stands before a backend's colon."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from cryogate.ports.provider import Provider
from cryogate.providers.azure import AzureProvider
from cryogate.providers.braket import BraketProvider
from cryogate.providers.google import GoogleProvider
from cryogate.providers.ibm import IbmProvider
from cryogate.providers.ionq import IonqProvider
from cryogate.providers.local import LocalProvider
from cryogate.providers.quantinuum import QuantinuumProvider
from cryogate.providers.setup import Setup

__all__ = [
    "PROVIDERS",
    "AzureProvider",
    "BraketProvider",
    "GoogleProvider",
    "IbmProvider",
    "IonqProvider",
    "LocalProvider",
    "QuantinuumProvider",
    "Setup",
]

PROVIDERS: Final[Mapping[str, Callable[[Setup], Provider]]] = MappingProxyType(
    {
        "local": LocalProvider.of,
        "ionq": IonqProvider.of,
        "braket": BraketProvider.of,
        "ibm": IbmProvider.of,
        "azure": AzureProvider.of,
        "google": GoogleProvider.of,
        "quantinuum": QuantinuumProvider.of,
    }
)
