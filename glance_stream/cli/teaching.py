"""What every ``--help`` ends with: how the command is used, and what its exit code means."""

from __future__ import annotations

from glance_stream.errors import (
    EXIT_BAD_REQUEST,
    EXIT_DAMAGED,
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_LEFTOVERS,
    EXIT_LOCKED,
    EXIT_PARTIAL,
)

NO_CATALOGUE = "the catalogue can't be reached"
UNWRITTEN = "the result could not be written"
MEANINGS = {
    EXIT_DONE: "done",
    EXIT_BAD_REQUEST: "bad request, nothing was changed",
    EXIT_PARTIAL: "done, but not in all stores",
    EXIT_FAILED: "failed and rolled back",
    EXIT_LEFTOVERS: "failed, and something was left behind: see 'recover'",
    EXIT_LOCKED: "another operation holds the image",
    EXIT_DAMAGED: "a copy is damaged or missing",
    EXIT_INTERRUPTED: "interrupted and rolled back",
}


def epilog(*examples: str, codes: tuple[int, ...] = (), meanings: dict[int, str] | None = None) -> str:
    """The end of a command's help. ``meanings``: where a code says something more exact for this command."""
    known = MEANINGS | (meanings or {})
    wanted = (EXIT_DONE, EXIT_BAD_REQUEST, *codes, EXIT_INTERRUPTED)
    lines = ["\b", "Examples:", *(f"  {example}" for example in examples), "", "\b", "Exit codes:"]
    return "\n".join([*lines, *(f"  {code:<4}{known[code]}" for code in wanted)])
