"""The zeros that need not be written: a new image reads as zeros where nothing was written."""

from __future__ import annotations

from collections.abc import Iterator

BLOCK = 64 << 10  # bytes; BlueStore's largest unit of allocation by default, on a spinning disk
ZEROS = bytes(BLOCK)


def data_runs(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes of each run of blocks that are not all zeros. Without a zero block that is ``content`` itself, not copied.

    ``startswith`` compares at the speed of memcmp and stops at the first byte that differs.
    """
    start = 0
    for at in range(0, len(content), BLOCK):
        if content.startswith(ZEROS[: len(content) - at], at):
            if at > start:
                yield start, content[start:at]
            start = at + BLOCK
    if start < len(content):
        yield start, content[start:]
