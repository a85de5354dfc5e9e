"""Where the keys that sign tokens are, as it is configured."""

from __future__ import annotations

from pathlib import Path

from cryogate.broker.keys import KeyRing
from cryogate.config import ConfigError
from cryogate.credentials import TransitKeys
from cryogate.domain.secrets import Secret
from cryogate.ports.keys import SigningKeys
from cryogate.wiring.ground import Ground


def signing_keys(ground: Ground) -> SigningKeys:
    """The keys, not loaded yet.

    Raises:
        ConfigError: a transit engine without its URL or token file.
    """
    config = ground.config.signing
    lead_ms = config.lead_s * 1000
    if config.keys == "sealed":
        return KeyRing(ground.store, ground.sealer, ground.clock, lead_ms=lead_ms)
    if not config.transit_url.startswith("https://") and not config.transit_url.startswith(
        ("http://127.0.0.1:", "http://[::1]:")
    ):
        raise ConfigError("signing.transit_url must be https, or http on this machine")
    if not config.transit_token_file:
        raise ConfigError("signing.transit_token_file must name a file with the engine's token")
    token_file = Path(config.transit_token_file)
    return TransitKeys(
        config.transit_url,
        lambda: Secret(token_file.read_bytes()),
        ground.store,
        ground.clock,
        mount=config.transit_mount,
        name=config.transit_key,
        lead_ms=lead_ms,
        ca_file=config.transit_ca_file or None,
    )
