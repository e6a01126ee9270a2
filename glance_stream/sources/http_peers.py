"""Which machines a web source may be read from, decided on the very address that is connected to.

A name that was checked and is then resolved once more may mean another machine by then (DNS rebinding). So a name is resolved once
for each connection, all that it stands for is checked, and the connection goes to one of the checked addresses; TLS and the Host
header keep the name. Reconnecting, resuming and following a redirect are connections like the first.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from urllib3.connection import HTTPConnection, HTTPSConnection

from glance_stream.errors import InvalidRequest

IPAddress = IPv4Address | IPv6Address
# Given the host as it was named and an address it stands for: why not, or None.
Peers = Callable[[str, IPAddress], str | None]

# Where clouds tell a machine its credentials. Most are link-local; these are not.
METADATA = frozenset(
    map(
        ip_address,
        (
            "100.100.100.200",  # Alibaba Cloud
            "168.63.129.16",  # Azure
            "192.0.0.192",  # Oracle Cloud
            "fd00:ec2::254",  # EC2
            "fd20:ce::254",  # Google Cloud
        ),
    )
)
WAY_OUT = "source_addresses (of an http store, addresses) in the configuration can allow it"
NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052


def refusal(addresses: str, address: IPAddress) -> str | None:
    """Why not, or None. ``addresses``: 'public' for those of the Internet, 'private' for those of one's networks too, or 'any'."""
    if addresses == "any":
        return None
    inner = _inside(address)
    if inner is not None:
        return refusal(addresses, inner)
    if address in METADATA or address.is_link_local:
        return f"an address local to the link or to a cloud, where machines find their credentials: {WAY_OUT}"
    if address.is_multicast or address.is_unspecified or (address.is_reserved and not address.is_loopback):
        return "not the address of one machine"
    if addresses == "public" and not address.is_global:
        return f"an address of a private network or of this machine: {WAY_OUT}"
    return None


def _inside(address: IPAddress) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one leads to: mapped, 6to4, Teredo, NAT64."""
    if not isinstance(address, IPv6Address):
        return None
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)


def peers(addresses: str) -> Peers:
    """A rule without a list of hosts."""
    return lambda _host, address: refusal(addresses, address)


def dial(host: str, port: int, timeout: float | None, allowed: Peers) -> socket.socket:
    """A connected socket. Raises OSError; InvalidRequest if the name stands for any address that is not allowed.

    One bad address among good ones is refused too: an honest name has none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:  # a label that is empty or too long
        raise InvalidRequest("the source's URL names no valid host") from None
    for *_, place in found:
        address = ip_address(str(place[0]).partition("%")[0])
        if why := allowed(host, address):
            raise InvalidRequest(f"{host} is {address}, {why}" if host != str(address) else f"{host} is {why}")
    last: OSError = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    for family, kind, protocol, _, place in found:
        try:
            return _connected(family, kind, protocol, place, timeout)
        except OSError as error:
            last = error
    raise last


def _connected(family: int, kind: int, protocol: int, place: tuple[object, ...], timeout: float | None) -> socket.socket:
    made = socket.socket(family, kind, protocol)
    try:
        made.settimeout(timeout)
        with suppress(OSError):
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.connect(place)
    except BaseException:
        made.close()
        raise
    return made


class _Dialling:
    """What both kinds of connection do instead of resolving and connecting themselves."""

    allowed: Peers
    host: str
    port: int
    timeout: float | None

    def _new_conn(self) -> socket.socket:
        return dial(self.host, self.port, self.timeout, self.allowed)


class CheckedConnection(_Dialling, HTTPConnection):
    """http to a checked address. ``allowed`` is set before it connects."""


class CheckedTLSConnection(_Dialling, HTTPSConnection):
    """https to a checked address; the certificate must be the name's."""
