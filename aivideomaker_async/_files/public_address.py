"""Which hosts are of the public internet.

The address of a video comes from a response of the service. It must not make this machine request its own services,
those of its network, or the metadata service of its cloud. So a download goes to public addresses only, unless the
caller allows others or the service itself is at a private one.

The address that is connected to decides, however it is spelled.
"""

from __future__ import annotations

import unicodedata
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeAlias

__all__ = ["Address", "is_local_name", "is_private_host", "is_public", "is_public_when_resolved", "parse_address"]

Address: TypeAlias = IPv4Address | IPv6Address

# Not `is_global` of the standard library: its tables have changed between versions of Python.
_NOT_PUBLIC_V4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",
        ),
    )
)
_FAKE: Final = IPv4Network("198.18.0.0/15")
"""What local proxies resolve every name to, to route it by themselves. The block is for tests of networks and leads to
no machine of one."""
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_NOT_PUBLIC_V6: Final = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
_NAT64: Final = IPv6Network("64:ff9b::/96")

_PRIVATE_ENDINGS: Final = (
    "localhost",
    "localdomain",
    "test",
    "home.arpa",
    # RFC 6762 and its appendix G.
    "local",
    "intranet",
    "internal",
    "private",
    "corp",
    "home",
    "lan",
)


def is_public(address: Address) -> bool:
    """Return whether an address is of the public internet."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    if address.ipv4_mapped is not None:
        return is_public(address.ipv4_mapped)
    if address in _NAT64:
        # In a network without IPv4, names of public hosts resolve to these.
        return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    return address in _GLOBAL_UNICAST and not any(address in network for network in _NOT_PUBLIC_V6)


def is_public_when_resolved(text: str) -> bool:
    """Return whether the address that a name resolves to is public, or stands for a public one."""
    address = parse_address(text)
    return address is not None and (is_public(address) or address in _FAKE)


def parse_address(host: str) -> Address | None:
    """Return the address that a host spells, in any way that a system understands; None for a name.

    `127.0.0.1` is also `127.1`, `2130706433`, `0x7f000001` and `0177.0.0.1`.
    """
    host = unicodedata.normalize("NFKC", host).strip("[]").rstrip(".")
    if ":" in host:
        try:
            return IPv6Address(host.partition("%")[0])
        except AddressValueError:
            return None
    return _parse_v4(host.lower().split("."))


def _parse_v4(parts: list[str]) -> IPv4Address | None:
    numbers = [number for part in parts if (number := _parse_number(part)) is not None]
    if len(numbers) != len(parts) or len(parts) > 4:
        return None
    # The last part fills the rest.
    *bytes_before, rest = numbers
    if any(byte > 255 for byte in bytes_before) or rest >= 256 ** (5 - len(parts)):
        return None
    return IPv4Address(sum(byte << 8 * (3 - place) for place, byte in enumerate(bytes_before)) + rest)


def _parse_number(text: str) -> int | None:
    if not text.isascii() or not text.isalnum() or len(text) > 40:
        return None
    base = 16 if text.startswith("0x") else 8 if text.startswith("0") else 10
    try:
        return int(text.removeprefix("0x") or "0", base)
    except ValueError:
        return None


def is_local_name(host: str) -> bool:
    """Return whether the public DNS does not have a name: `localhost`, a name without a dot, `nas.local`."""
    name = host.rstrip(".").lower()
    return "." not in name or name.endswith(tuple(f".{ending}" for ending in _PRIVATE_ENDINGS))


def is_private_host(host: str) -> bool:
    """Return whether a host is surely not of the public internet, as far as can be known without resolving it."""
    address = parse_address(host)
    return is_local_name(host) if address is None else not is_public(address)
