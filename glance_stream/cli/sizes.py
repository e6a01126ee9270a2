"""Numbers for people: IEC units, seconds."""

from __future__ import annotations

UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def iec(size: float) -> str:
    """1536 -> '1.5 KiB'."""
    if abs(size) < 1024:
        return f"{size:.0f} B"
    for unit in UNITS:
        size /= 1024
        if abs(size) < 1023.95 or unit == UNITS[-1]:  # 1023.95 would be shown as 1024.0
            break
    return f"{size:.1f} {unit}"


def both(size: int | None) -> str:
    """'1.5 KiB (1536 bytes)'."""
    return "unknown" if size is None else f"{iec(size)} ({size} bytes)"


def rate(size: int, seconds: float) -> str:
    return f"{iec(size / seconds)}/s" if seconds > 0 else "-"
