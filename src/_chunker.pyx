# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""The compiled core: a ring of page-aligned slots and the lanes that run on it without the GIL.

Contract: ``glance_stream/_chunker.pyi``. Oracle: ``glance_stream/_chunker_py.py``, which passes the same tests.

One mutex orders everything, with a condition variable for lanes, one for the producer, and one for the thread that helps it
while it reads a descriptor. That is enough: a slot is megabytes, so the lock is taken some thousand times a second at most, and
bytes are only ever touched outside it. A slot belongs to the producer from ``_wait_free`` to ``_publish``, and to each lane from
``_take`` to ``_release``.

OpenSSL and XXH3 are found at run time in what the interpreter has loaded already (``_hashlib`` and the ``xxhash`` package): no
headers at build time, no second OpenSSL in a wheel, and FIPS stays the system's affair.

One module in several files, read in the order of the includes below.
"""

import hashlib
import os

import _hashlib
import xxhash
from xxhash import _xxhash

from cpython.buffer cimport PyBuffer_FillInfo
from cpython.bytes cimport PyBytes_AsString, PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EINTR, EINVAL, EIO, ENOMEM, ENOSYS, EOPNOTSUPP, ESPIPE, errno
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy, memmove

include "posix.pxi"

COMPILED = True
PAGE_SIZE = max(os.sysconf("SC_PAGE_SIZE"), 4096)

# 4 MiB: large enough that direct writes run at the disk's speed and locking costs nothing, small enough that a lane's
# granularity (progress, cancellation, damage reports) stays fine. 8 of them let a store stall for some tens of milliseconds
# without stopping the digest, in 32 MiB.
DEFAULT_SLOT_SIZE = 4 << 20
DEFAULT_SLOTS = 8

cdef enum:
    FINGERPRINT_SIZE = 16
    DIRECT_ALIGNMENT = 4096     # what every file system with O_DIRECT on Linux is content with
    HUGE_PAGE = 2 << 20         # of x86-64, and of ARM with pages of 4 KiB; where it is another, only speed is lost
    HOLE_GRAIN = 64 << 10       # zero runs shorter than this are not worth an extent of their own
    POLL_MS = 100               # how soon a producer blocked on a pipe notices that the ring failed
    PACE_SLOTS = 2              # buffered writes: slots under write-back before the oldest is waited for
    MAX_DIGEST = 64             # EVP_MAX_MD_SIZE

cdef enum State:
    OPEN, FINISHED, FAILED

cdef enum Wait:
    STOPPED = -1
    END = 0
    READY = 1

cdef enum Mode:
    DIRECT, DONTCACHE, PACED

_MODE_NAMES = {DIRECT: "direct", DONTCACHE: "dontcache", PACED: "paced"}


class LaneStopped(Exception):
    """The ring failed or the lane was detached: the bytes seen so far are not the whole stream."""


class DigestRefused(ValueError):
    """The system's crypto library refuses this algorithm (FIPS), or nothing here knows it."""


include "found.pxi"
include "ring.pxi"
include "fill.pxi"
include "lane.pxi"
include "digest.pxi"
include "write.pxi"
