"""The options of a server's URL, looked at before anything is connected: a refusal names the option, and never quotes its value."""

from __future__ import annotations

from sqlalchemy import URL

from glance_stream.errors import InvalidRequest

UNKNOWN = "its driver knows no such option"


def check(url: URL, name: str) -> None:
    """One by one, and then together: a certificate needs its key. InvalidRequest; ``name``: the catalogue's."""
    fault_of = _psycopg_fault if url.get_backend_name() == "postgresql" else _pymysql_fault
    for option, value in url.query.items():
        if fault := fault_of(url.set(query={option: value})):
            raise InvalidRequest(f"catalogue {name}: option {option!r} of its URL: {fault}")
    if url.query and (fault := fault_of(url)):
        raise InvalidRequest(f"catalogue {name}: options {', '.join(url.query)} of its URL: {fault}")


def _psycopg_fault(url: URL) -> str:
    """What libpq would say of names, and psycopg of the values that it reads itself."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import make_conninfo, timeout_from_conninfo

    given = {name: value if isinstance(value, str) else ",".join(value) for name, value in url.query.items()}
    try:
        make_conninfo("", **given)
    except ProgrammingError:
        return UNKNOWN
    try:
        timeout_from_conninfo({**given})
    except ProgrammingError:
        return "a value that its driver does not take"
    return ""


def _pymysql_fault(url: URL) -> str:
    """A connection is made ready and not opened: that reads the files of certificates too."""
    dialect = url.get_dialect()
    try:
        _, options = dialect().create_connect_args(url)
        dialect.import_dbapi().connect(**options, defer_connect=True)
    except TypeError:
        return UNKNOWN
    except OSError as error:  # of which ssl.SSLError is one
        return error.strerror or f"{type(error).__name__}, a value that its driver does not take"
    except Exception:  # ValueError, NotImplementedError and KeyError at least
        return "a value that its driver does not take"
    return ""
