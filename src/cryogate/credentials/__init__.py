"""Secrets at rest and short leases of vendor credentials."""

from cryogate.credentials.aws_sts import AwsSts
from cryogate.credentials.bearer_tokens import Entra, IbmIam, Nexus
from cryogate.credentials.embedded import EnvelopeSealer, FileSealer
from cryogate.credentials.google_tokens import GooglePlaces, GoogleTokens
from cryogate.credentials.lease_desk import LeaseDesk
from cryogate.credentials.local import EmbeddedLeases
from cryogate.credentials.master_key import MasterKey, MasterKeyUnusable
from cryogate.credentials.static_keys import StaticKeys
from cryogate.credentials.transit_keys import TransitKeys
from cryogate.credentials.vault import VaultClient, VaultDynamic, VaultLogin, VaultSecrets
from cryogate.credentials.vendor_secrets import StoredSecrets

__all__ = [
    "AwsSts",
    "EmbeddedLeases",
    "Entra",
    "EnvelopeSealer",
    "FileSealer",
    "GooglePlaces",
    "GoogleTokens",
    "IbmIam",
    "LeaseDesk",
    "MasterKey",
    "MasterKeyUnusable",
    "Nexus",
    "StaticKeys",
    "StoredSecrets",
    "TransitKeys",
    "VaultClient",
    "VaultDynamic",
    "VaultLogin",
    "VaultSecrets",
]
