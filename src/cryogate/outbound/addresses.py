"""Which addresses may be reached (P4).

A name that somebody else chose may lead to the metadata service of a cloud, to a database beside
us, or to this very server. So the *address* is judged, after resolution, and the connection goes
to that address and no other: a name that resolves differently a moment later changes nothing.

 (1) link-local, multicast, unspecified and broadcast are never reached, listed or not
 (2) an IPv6 address that carries an IPv4 one is judged by the one it carries
 (3) an address in a listed network may be reached
 (4) any other must be global unicast
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_GLOBAL_V6: Final = IPv6Network("2000::/3")
_METADATA: Final = frozenset({IPv6Address("fd00:ec2::254"), IPv4Address("100.100.100.200")})


def networks(texts: Collection[str]) -> tuple[Network, ...]:
    """The networks in CIDR notation.

    Raises:
        ValueError: one is not a network.
    """
    return tuple(ip_network(text) for text in texts)


def may_reach(text: str, allowed: Collection[Network] = ()) -> bool:
    """Whether a connection to the address ``text`` may be opened."""
    try:
        address: Address = ip_address(text)
    except ValueError:
        return False  # also an IPv6 address with a zone: it is link-local
    carried = _carried(address)  # (2)
    if carried is not None:
        return may_reach(str(carried), allowed)
    if (
        address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or address in _METADATA
        or address == IPv4Address("255.255.255.255")
    ):  # (1)
        return False
    if any(address.version == network.version and address in network for network in allowed):  # (3)
        return True
    if isinstance(address, IPv6Address) and address not in _GLOBAL_V6:  # (4)
        return False
    return address.is_global and not address.is_reserved


def _carried(address: Address) -> IPv4Address | None:
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if any(address in network for network in _NAT64) or int(address) >> 32 == 0:
        low = int(address) & 0xFFFFFFFF
        # ``::`` and ``::1`` are no carriers: they are judged as what they are
        return IPv4Address(low) if low > 1 else None
    return None
