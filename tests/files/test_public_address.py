"""Which hosts are of the public internet: the address decides, however it is spelled."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async._files.public_address import (
    is_local_name,
    is_private_host,
    is_public,
    is_public_when_resolved,
    parse_address,
)

PRIVATE = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
    "2001::/32",
    "2001:db8::/32",
    "2002::/16",
    "64:ff9b:1::/48",
]

private_addresses = st.sampled_from(PRIVATE).flatmap(lambda network: st.ip_addresses(network=network))
private_v4 = st.sampled_from([one for one in PRIVATE if "." in one]).flatmap(
    lambda network: st.ip_addresses(v=4, network=network)
)


@pytest.mark.parametrize(
    "address",
    [
        *("8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.0", "100.128.0.0", "223.255.255.255", "192.167.255.255"),
        *("2606:4700::1111", "2a00:1450:4001::200e", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2001:4860:4860::8888"),
    ],
)
def test_addresses_of_public_hosts_are_public(address: str) -> None:
    """Those of real services, and the neighbours of private networks."""
    assert is_public_when_resolved(address)
    assert not is_private_host(address)
    assert not is_private_host(f"[{address}]")


@given(private_addresses)
def test_no_private_address_is_public(address: IPv4Address | IPv6Address) -> None:
    assert not is_public(address)
    assert is_private_host(str(address))


@given(private_v4, st.sampled_from(["::ffff:{}", "64:ff9b::{}", "::{}", "::ffff:0:{}"]))
def test_no_form_of_ipv6_makes_a_private_address_public(address: IPv4Address, form: str) -> None:
    """Mapped, translated, or an old form."""
    assert not is_public_when_resolved(form.format(address))


def test_the_block_of_local_proxies_is_public_when_a_name_resolves_to_it_and_not_when_it_is_spelled() -> None:
    """They route every name by themselves; an address in that block is of nobody."""
    assert is_public_when_resolved("198.18.0.7")
    assert not is_public(IPv4Address("198.18.0.7"))
    assert is_private_host("198.18.0.7")


@given(st.ip_addresses())
def test_no_address_is_public_that_is_private_to_the_standard_library(address: IPv4Address | IPv6Address) -> None:
    if is_public(address):
        found = getattr(address, "ipv4_mapped", None) or address
        assert not found.is_private
        assert not found.is_multicast
        assert not found.is_unspecified
        assert not found.is_reserved or found in ip_network("64:ff9b::/96")
    is_fake = address in ip_network("198.18.0.0/15")
    assert is_public_when_resolved(str(address)) is (is_public(address) or is_fake)


octets = st.tuples(*[st.integers(0, 255)] * 4)
spell_number = st.sampled_from(["{:d}", "{:#x}", "0{:o}", "{:#X}", "000{:o}", "0x00{:x}"])


@given(octets, st.integers(1, 4), st.lists(spell_number, min_size=4, max_size=4))
def test_an_address_is_recognized_in_every_spelling(parts: tuple[int, ...], count: int, spelling: list[str]) -> None:
    """Decimal, octal, hexadecimal; in one to four parts, the last of which fills the rest."""
    rest = int.from_bytes(bytes(parts[count - 1 :]), "big")
    text = ".".join(one.format(number) for one, number in zip(spelling, [*parts[: count - 1], rest], strict=False))
    assert parse_address(text) == ip_address(bytes(parts))


@pytest.mark.parametrize(
    "host",
    [
        *("2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0", "0x0", "127.0.0.1.", "[::1]", "::ffff:7f00:1"),
        *("\uff11\uff12\uff17.0.0.1", "0300.0250.1", "fe80::1%25eth0", "fe80::1%lo", "169.254.169.254", "0xA9FEA9FE"),
    ],
)
def test_well_known_spellings_of_private_addresses(host: str) -> None:
    """Of loopback, and of the metadata service of a cloud."""
    assert is_private_host(host)
    assert not is_public_when_resolved(host)


@pytest.mark.parametrize(
    "host", ["256.1.1.1", "1.2.3.4.5", "08.1.1.1", "1.2.3.x", "4294967296", "1..2", ":::", "1" * 50, "cdn.example"]
)
def test_names_are_not_addresses(host: str) -> None:
    """A resolver may know them; the address that it returns is checked then."""
    assert parse_address(host) is None
    assert not is_public_when_resolved(host)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "nas.local",
        "db.internal",
        "simulator",
        "x.home.arpa",
        "1-2",
        "",
        "a.lan",
    ],
)
def test_local_names_are_private(host: str) -> None:
    """The public DNS has none of them."""
    assert is_local_name(host)
    assert is_private_host(host)


@pytest.mark.parametrize("host", ["aivideomaker.ai", "cdn.example.com.", "local.example", "notlocal.notlocalhost"])
def test_other_names_may_be_public(host: str) -> None:
    assert not is_private_host(host)
