"""Sizes and times as people write them."""

from __future__ import annotations

import re

BINARY_UNITS = {"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
SIZE_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, **BINARY_UNITS}
TIME_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class ByteSize(int):
    """A number of bytes, written as an integer or with a unit: ``4194304``, ``"4 MiB"``."""


class Duration(int):
    """A number of seconds, written with a unit: ``"90s"``, ``"60m"``, ``"24h"``, ``"7d"``."""


def parse_size(value: object) -> ByteSize:
    """Bytes from an integer or from text with a unit. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        number: float = value
    elif isinstance(value, str) and (found := re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", value)):
        unit = SIZE_UNITS.get(found[2].lower())
        if unit is None:
            raise ValueError(f"unknown unit {found[2]!r}, write one of B, KiB, MiB, GiB, TiB, kB, MB, GB, TB")
        number = float(found[1]) * unit if "." in found[1] else int(found[1]) * unit
    else:
        raise ValueError(f"expected a size such as 4194304 or '4 MiB', got {value!r}")
    if number < 1 or number != int(number):
        raise ValueError(f"expected a whole number of bytes, at least 1, got {value!r}")
    return ByteSize(number)


def parse_duration(value: object) -> Duration:
    """Seconds from text with a unit, never without one: who means days would have asked for seconds. Raises ValueError."""
    found = re.fullmatch(r"\s*([0-9]{1,9})\s*([a-z])\s*", value) if isinstance(value, str) else None
    if found is None or found[2] not in TIME_UNITS:
        raise ValueError(f"expected a time such as 90m, 24h or 7d, got {value!r}")
    return Duration(int(found[1]) * TIME_UNITS[found[2]])
