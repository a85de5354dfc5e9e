from __future__ import annotations

import pytest

from cryogate.outbound.addresses import may_reach, networks

INSIDE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1",
    "169.254.169.254", "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1",
    "100.100.100.200", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254",
    "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a00:1::1", "::127.0.0.1", "2001:db8::1",
    "not an address", "", "0x7f.1", "2130706433",
]  # fmt: skip


@pytest.mark.attack("P4")
@pytest.mark.parametrize("text", INSIDE)
def test_addresses_inside_are_not_reached(text: str) -> None:
    assert may_reach(text) is False


@pytest.mark.parametrize("text", ["8.8.8.8", "140.82.121.4", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_are_reached(text: str) -> None:
    assert may_reach(text) is True


@pytest.mark.attack("P4")
def test_a_listed_network_opens_that_network_and_never_the_metadata_service() -> None:
    allowed = networks(["10.1.0.0/16", "169.254.0.0/16", "fd00::/8", "100.64.0.0/10"])
    assert may_reach("10.1.2.3", allowed)
    assert may_reach("::ffff:10.1.2.3", allowed)
    assert may_reach("fd00::5", allowed)
    assert not may_reach("10.2.0.1", allowed)
    assert not may_reach("169.254.169.254", allowed)
    assert not may_reach("fd00:ec2::254", allowed)
    assert not may_reach("100.100.100.200", networks(["100.64.0.0/10", "100.100.0.0/16"]))
