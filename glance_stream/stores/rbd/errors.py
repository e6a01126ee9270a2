"""The errors of librados and librbd as errors of this package, told by their errno: each of the two has classes of its own."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from glance_stream.errors import (
    Duplicate,
    NotFound,
    ObjectBusy,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreTimeout,
    StoreUnavailable,
)

BLOCKLISTED = errno.ESHUTDOWN  # what Ceph calls EBLOCKLISTED: the cluster has shut this client out for good

CLASSES: dict[int, type[StoreError]] = {
    errno.EDQUOT: StoreFull,
    errno.ENOSPC: StoreFull,
    errno.EPERM: StoreDenied,
    errno.EACCES: StoreDenied,
    errno.EROFS: StoreDenied,
    errno.EEXIST: Duplicate,
    errno.ENOENT: NotFound,
    errno.EBUSY: ObjectBusy,
    errno.ENOTEMPTY: ObjectBusy,  # it has snapshots
    errno.ETIMEDOUT: StoreTimeout,
    errno.EIO: StoreUnavailable,
    errno.EAGAIN: StoreUnavailable,
    errno.ENOTCONN: StoreUnavailable,
    BLOCKLISTED: StoreUnavailable,
}


def code_of(error: BaseException) -> int | None:
    """The errno of an error of the bindings, 0 if it has none; None for any other exception."""
    if type(error).__module__ not in ("rados", "rbd"):
        return None
    return abs(int(getattr(error, "errno", None) or 0))


def store_error(store_id: str, code: int, message: str) -> StoreError:
    """For an errno that came without an exception, as of an asynchronous write."""
    reason = "the cluster has blocklisted this client" if code == BLOCKLISTED else os.strerror(code)
    return CLASSES.get(code, StoreError)(store_id, f"{message}: {reason}")


@contextmanager
def mapped(store_id: str, doing: str) -> Iterator[None]:
    """``doing``: what could not be done, for the message."""
    try:
        yield
    except Exception as error:
        code = code_of(error)
        if code is None:
            raise
        raise (store_error(store_id, code, doing) if code else StoreError(store_id, f"{doing}: {error}")) from error
