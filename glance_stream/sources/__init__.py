"""Where the bytes come from: :func:`open_source` turns what a user wrote into a source.

Nothing is opened or looked up here, and the HTTP client is imported only when a URL needs it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from glance_stream.errors import InvalidRequest
from glance_stream.sources.base import Source, SourceInfo
from glance_stream.sources.path import PathSource
from glance_stream.sources.pipe import PipeSource

if TYPE_CHECKING:
    from glance_stream.sources.http_limits import HttpLimits
    from glance_stream.sources.http_peers import Peers

__all__ = ["PathSource", "PipeSource", "Source", "SourceInfo", "open_source"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_LOCAL_HOSTS = ("", "localhost")


def open_source(
    text: str,
    *,
    limits: HttpLimits | None = None,
    headers: Mapping[str, str] | None = None,
    ca: str | None = None,
    allow: Callable[[str], bool] | None = None,
    allowed: Peers | None = None,
) -> Source:
    """The source, not opened yet, that ``text`` names: ``-``, an http(s) or file URL, or a path. Raises InvalidRequest.

    The keywords are those of :class:`~glance_stream.sources.http.HttpSource`; other kinds of source have no use for them.
    """
    if text == "-":
        return PipeSource(_stdin())
    if not text:
        raise InvalidRequest("the source is empty: give a path, a URL, or '-' for standard input")
    match = _SCHEME.match(text)
    scheme = match.group(1).lower() if match else ""
    if scheme in ("http", "https"):
        from glance_stream.sources.http import HttpSource

        return HttpSource(text, limits=limits, headers=headers, ca=ca, allow=allow, allowed=allowed)
    if scheme == "file":
        return PathSource(_file_url_path(text))
    if scheme and not os.path.lexists(text):
        raise InvalidRequest(
            f"can't read from {scheme}:// : give a path, http://, https://, file:///path, or '-' for standard input"
        )
    return PathSource(text)


def _stdin() -> int:
    try:
        return sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        return 0  # replaced or absent: what the shell connected is still descriptor 0


def _file_url_path(url: str) -> str:
    host, slash, path = url.partition("://")[2].partition("/")
    if host.lower() not in _LOCAL_HOSTS or not slash:
        raise InvalidRequest("a file URL must be file:///absolute/path on this machine")
    return os.fsdecode(unquote_to_bytes(slash + path))
