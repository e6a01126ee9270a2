"""Which URLs an image may be read from: Glance's import filters (glance/common/utils.py `validate_import_uri`).

Asked about the URL that is given and about each redirect (bugs 2138602, 2138672).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from typing import TypeVar
from urllib.parse import urlsplit

from glance_stream.config import ImportFilters

T = TypeVar("T")

PORTS = {"http": 80, "https": 443}


def allows(rules: ImportFilters, url: str) -> bool:
    """Where there is an allow list its deny list does not count. A host that is an address in disguise never passes."""
    try:
        parts = urlsplit(url)
        scheme, port = parts.scheme.lower(), parts.port
    except ValueError:
        return False
    host = _host((parts.hostname or "").lower().rstrip("."))
    return (
        host is not None
        and _passes(scheme, rules.allowed_schemes, rules.disallowed_schemes)
        and _passes(host, rules.allowed_hosts, rules.disallowed_hosts)
        and _passes(port or PORTS.get(scheme, 0), rules.allowed_ports, rules.disallowed_ports)
    )


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
