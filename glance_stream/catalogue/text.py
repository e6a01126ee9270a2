"""Texts on their way into the database. SQLite takes what other databases refuse, so it is refused or cleaned here."""

from __future__ import annotations

from glance_stream.errors import InvalidRequest


def check_text(what: str, value: object, longest: int | None = None) -> None:
    """For what must come back as it was given. InvalidRequest otherwise."""
    if not isinstance(value, str):
        raise InvalidRequest(f"{what} must be text, not {type(value).__name__}")
    if "\0" in value:
        raise InvalidRequest(f"{what} holds a NUL character")
    if longest is not None and len(value) > longest:
        raise InvalidRequest(f"{what} is longer than {longest} characters")


def readable(message: str, longest: int | None = None) -> str:
    """For what people read. Recording a failure must not fail because its message quotes a file name that is not UTF-8."""
    return message.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")[:longest]
