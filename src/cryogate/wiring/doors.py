"""Ways to addresses that the operator wrote down, each with its own bounds."""

from __future__ import annotations

from urllib.parse import urlsplit

from cryogate.config import LOOPBACK, ConfigError
from cryogate.config.sections import Outbound
from cryogate.outbound.addresses import networks
from cryogate.outbound.fetcher import Fetcher

_THIS_MACHINE = ("127.0.0.0/8", "::1/128")


def operator_door(
    setting: str,
    url: str,
    outbound: Outbound,
    *,
    timeout_s: float,
    max_bytes: int,
    answers_prove_themselves: bool = False,
) -> Fetcher:
    """A way to one address that the operator wrote down: https, or http on this machine.

    Plain http elsewhere only where what is sent is no secret and what comes back is signed.

    Raises:
        ConfigError: neither; names the setting.
    """
    parts = urlsplit(url)
    near = parts.hostname in LOOPBACK
    clear = near or answers_prove_themselves
    if not parts.hostname or parts.scheme not in (("https", "http") if clear else ("https",)):
        raise ConfigError(f"{setting}: write an https URL (http on this machine), not {url}")
    try:
        return Fetcher(
            allowed=networks((*outbound.private_networks, *(_THIS_MACHINE if near else ()))),
            ca_file=outbound.ca_file or None,
            timeout_s=timeout_s,
            max_bytes=max_bytes,
            insecure_http=clear,
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"{setting}: {error}") from error
