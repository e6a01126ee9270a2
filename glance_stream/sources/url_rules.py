"""Which URLs an image may be read from: Glance's import filters (glance/common/utils.py `validate_import_uri`).

Asked about the URL that is given and about each redirect (bugs 2138602, 2138672); and, which Glance does not do, about the address
that is connected to in the end.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from typing import TypeVar

from glance_stream.config import ImportFilters
from glance_stream.errors import InvalidRequest
from glance_stream.sources.http_address import parse
from glance_stream.sources.http_peers import IPAddress, Peers, refusal

T = TypeVar("T")


def allows(rules: ImportFilters, url: str) -> bool:
    """Where there is an allow list its deny list does not count. A host that is an address in disguise never passes.

    The URL is taken apart by what will connect: two readers of one URL may see two hosts in it.
    """
    try:
        address = parse(url)
    except InvalidRequest:
        return False
    host = _host(address.host.lower().rstrip("."))
    return (
        host is not None
        and _passes(address.scheme, rules.allowed_schemes, rules.disallowed_schemes)
        and _passes(host, rules.allowed_hosts, rules.disallowed_hosts)
        and _passes(address.port, rules.allowed_ports, rules.disallowed_ports)
    )


def peers_of(rules: ImportFilters | None, addresses: str) -> Peers:
    """Which addresses may be connected to. A host on the allow list may have any: whoever put it there knows it.

    Otherwise no name may stand for an address that is on the deny list, nor for one that ``addresses`` excludes.
    """
    listed = rules.allowed_hosts if rules else ()
    denied = rules.disallowed_hosts if rules and not listed else ()

    def refused(host: str, address: IPAddress) -> str | None:
        if _host(host.lower().rstrip(".")) in listed:
            return None
        return "not allowed as a source here" if _host(str(address)) in denied else refusal(addresses, address)

    return refused


def _passes(value: T, allowed: Collection[T], disallowed: Collection[T]) -> bool:
    return value in allowed if allowed else value not in disallowed


def _host(host: str) -> str | None:
    """As the rules would name it; None for what is no host, such as 2130706433 or 0x7f.1, which the system takes for 127.0.0.1."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None if not host or _is_taken_for_an_address(host) else host
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _is_taken_for_an_address(host: str) -> bool:
    try:
        socket.inet_aton(host)
    except (OSError, UnicodeError):
        return False
    return True
