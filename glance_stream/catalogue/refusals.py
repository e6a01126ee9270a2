"""What databases say when they refuse, in our words, and whether it is worth saying the same again."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sqlalchemy import exc as sql

from glance_stream.catalogue.sqlite import BUSY_SECONDS
from glance_stream.errors import CatalogueError, CatalogueUnavailable, InvalidRequest

ADVICE: Mapping[str, str] = {
    "SQLITE_BUSY": f"another process has kept it locked for {BUSY_SECONDS:.0f} s",
    "SQLITE_READONLY": "it is read-only: the file and its directory must be writable",
    "SQLITE_CANTOPEN": "it can't be opened: its directory must exist and be writable",
    "SQLITE_PERM": "access to it is denied",
    "SQLITE_NOTADB": "the file is not a catalogue, or is damaged: name another file, or restore this one from a backup",
    "SQLITE_CORRUPT": "the file is damaged: restore it from a backup",
    "SQLITE_FULL": "there is no space left for it",
    "SQLITE_IOERR": "reading or writing its file failed",
    "42501": "its user lacks a privilege: it must own the database, or be given all privileges on it",
    "25006": "the server is read-only, as a standby is: name the primary",
    "1044": "its user lacks a privilege: GRANT ALL PRIVILEGES on its database",
    "1142": "its user lacks a privilege: GRANT ALL PRIVILEGES on its database",
    "1153": "the server's max_allowed_packet is too small for an image's fingerprints: 64 MiB are enough",
    "1290": "the server is read-only, as a replica is: name the primary",
}

# SQLSTATE: the server stops or starts, has too many clients, or ended what waited too long or stood in another's way.
POSTGRESQL_PASSES = frozenset(["40001", "40P01", "55P03", "57014", "57P01", "57P02", "57P03", "57P05", "25P03", "53300"])
# The same for MariaDB, with Galera's "not ready" (1047), and PyMySQL's own 2003, 2006 and 2013 for a connection not made or lost.
MARIADB_PASSES = frozenset([1020, 1040, 1047, 1053, 1158, 1159, 1160, 1161, 1205, 1213, 1927, 1969, 2003, 2006, 2013, 2055, 4031])

# What libpq says of the URL's options before it asks any server.
LIBPQ_REFUSES = re.compile(r"invalid (\w+ value|port number)")


def refusal(name: str, error: sql.DBAPIError) -> CatalogueError | InvalidRequest:
    """What to raise: CatalogueUnavailable if the same transaction may well succeed soon. ``name``: the catalogue's."""
    if not code_of(error.orig) and LIBPQ_REFUSES.search(str(error.orig)):
        return InvalidRequest(f"catalogue {name}: {said(error.orig)}")
    kind = CatalogueUnavailable if may_pass(error) else CatalogueError
    advice = ADVICE.get(code_of(error.orig))
    told = said(error.orig)
    return kind(f"catalogue {name}: {advice} ({told})" if advice else f"catalogue {name}: {told}")


def said(error: BaseException | None) -> str:
    """The driver's text, on one line."""
    return " ".join(str(error).split())


def may_pass(error: sql.DBAPIError) -> bool:
    """Not so for SQLite, which has waited for the other process itself."""
    orig = error.orig
    if error.connection_invalidated or _number(orig) in MARIADB_PASSES:
        return True
    if not hasattr(orig, "sqlstate") or _number(orig) is not None:
        return False
    state = _state(orig)
    if not state:  # libpq does not say why it could not connect but in words
        return isinstance(error, sql.OperationalError)
    return state in POSTGRESQL_PASSES or state.startswith("08")


def code_of(error: BaseException | None) -> str:
    """SQLite's primary result code (extended ones add a word, as in SQLITE_IOERR_FSYNC), MariaDB's number, or SQLSTATE."""
    sqlite = "_".join(getattr(error, "sqlite_errorname", "").split("_")[:2])
    return sqlite or str(_number(error) or _state(error))


def _number(error: BaseException | None) -> int | None:
    return error.args[0] if error is not None and error.args and isinstance(error.args[0], int) else None


def _state(error: BaseException | None) -> str:
    return getattr(error, "sqlstate", None) or ""
