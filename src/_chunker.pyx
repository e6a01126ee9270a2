# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""The compiled core: a ring of page-aligned slots and the lanes that run on it without the GIL.

Contract: ``glance_stream/_chunker.pyi``. Oracle: ``glance_stream/_chunker_py.py``, which passes the same tests.

One mutex and two condition variables order everything. That is enough: a slot is megabytes, so the lock is taken a few hundred
times a second, and bytes are only ever touched outside it. A slot belongs to the producer from ``_wait_free`` to ``_publish``,
and to each lane from ``_take`` to ``_release``.

OpenSSL and XXH3 are found at run time in what the interpreter has loaded already (``_hashlib`` and the ``xxhash`` package): no
headers at build time, no second OpenSSL in a wheel, and FIPS stays the system's affair.
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
from libc.string cimport memcmp, memcpy


cdef extern from *:
    """
    #include <dlfcn.h>
    #include <errno.h>
    #include <fcntl.h>
    #include <poll.h>
    #include <pthread.h>
    #include <stdint.h>
    #include <sys/mman.h>
    #include <sys/stat.h>
    #include <sys/uio.h>
    #include <time.h>
    #include <unistd.h>

    typedef struct { uint64_t low64, high64; } gs_xxh128;   /* XXH128_hash_t, a stable ABI since xxHash 0.8 */
    typedef gs_xxh128 (*gs_xxh128_fn)(const void *, size_t);
    typedef void *(*gs_md_ctx_new)(void);
    typedef void (*gs_md_ctx_free)(void *);
    typedef void *(*gs_md_fetch)(void *, const char *, const char *);
    typedef void (*gs_md_free)(void *);
    typedef const void *(*gs_md_byname)(const char *);
    typedef int (*gs_digest_init)(void *, const void *, void *);
    typedef int (*gs_digest_update)(void *, const void *, size_t);
    typedef int (*gs_digest_final)(void *, unsigned char *, unsigned int *);

    #ifndef RWF_DONTCACHE
    #define RWF_DONTCACHE 0x00000080   /* Linux 6.14 */
    #endif

    static double gs_now(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
    }

    static int gs_set_direct(int fd, int on) {
        int flags = fcntl(fd, F_GETFL);
        if (flags == -1) return -1;
        return fcntl(fd, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT);
    }

    static ssize_t gs_pwrite_dontcache(int fd, const void *from, size_t length, off_t offset) {
        struct iovec part = { (void *)from, length };
        return pwritev2(fd, &part, 1, offset, RWF_DONTCACHE);
    }

    static ssize_t gs_read_dontcache(int fd, void *to, size_t length) {
        struct iovec part = { to, length };
        return preadv2(fd, &part, 1, -1, RWF_DONTCACHE);
    }

    static int gs_is_regular(int fd) {
        struct stat st;
        return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    }

    /* 1 when reading will not block, 0 after the time limit, -1 with errno set. */
    static int gs_readable(int fd, int milliseconds) {
        struct pollfd one = { fd, POLLIN, 0 };
        int n = poll(&one, 1, milliseconds);
        if (n < 0) return errno == EINTR ? 0 : -1;
        return n;
    }
    """
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_cond_t:
        pass
    int pthread_mutex_init(pthread_mutex_t *, void *) noexcept nogil
    int pthread_mutex_destroy(pthread_mutex_t *) noexcept nogil
    int pthread_mutex_lock(pthread_mutex_t *) noexcept nogil
    int pthread_mutex_unlock(pthread_mutex_t *) noexcept nogil
    int pthread_cond_init(pthread_cond_t *, void *) noexcept nogil
    int pthread_cond_destroy(pthread_cond_t *) noexcept nogil
    int pthread_cond_wait(pthread_cond_t *, pthread_mutex_t *) noexcept nogil
    int pthread_cond_broadcast(pthread_cond_t *) noexcept nogil

    void *mmap(void *, size_t, int, int, int, int64_t) noexcept nogil
    int munmap(void *, size_t) noexcept nogil
    void *MAP_FAILED
    int PROT_READ, PROT_WRITE, MAP_PRIVATE, MAP_ANONYMOUS

    void *dlopen(const char *, int) noexcept nogil
    void *dlsym(void *, const char *) noexcept nogil
    int RTLD_NOW, RTLD_LOCAL

    ctypedef struct gs_xxh128:
        uint64_t low64
        uint64_t high64
    ctypedef gs_xxh128 (*gs_xxh128_fn)(const void *, size_t) noexcept nogil
    ctypedef void *(*gs_md_ctx_new)() noexcept nogil
    ctypedef void (*gs_md_ctx_free)(void *) noexcept nogil
    ctypedef void *(*gs_md_fetch)(void *, const char *, const char *) noexcept nogil
    ctypedef void (*gs_md_free)(void *) noexcept nogil
    ctypedef const void *(*gs_md_byname)(const char *) noexcept nogil
    ctypedef int (*gs_digest_init)(void *, const void *, void *) noexcept nogil
    ctypedef int (*gs_digest_update)(void *, const void *, size_t) noexcept nogil
    ctypedef int (*gs_digest_final)(void *, unsigned char *, unsigned int *) noexcept nogil

    double gs_now() noexcept nogil
    int gs_set_direct(int, int) noexcept nogil
    ssize_t gs_pwrite_dontcache(int, const void *, size_t, int64_t) noexcept nogil
    ssize_t gs_read_dontcache(int, void *, size_t) noexcept nogil
    int gs_is_regular(int) noexcept nogil
    int gs_readable(int, int) noexcept nogil
    ssize_t read(int, void *, size_t) noexcept nogil
    ssize_t pwrite(int, const void *, size_t, int64_t) noexcept nogil
    int ftruncate(int, int64_t) noexcept nogil
    int sync_file_range(int, int64_t, int64_t, unsigned int) noexcept nogil
    int posix_fadvise(int, int64_t, int64_t, int) noexcept nogil
    unsigned int SYNC_FILE_RANGE_WAIT_BEFORE, SYNC_FILE_RANGE_WRITE, SYNC_FILE_RANGE_WAIT_AFTER
    int POSIX_FADV_DONTNEED


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

MODE_NAMES = {DIRECT: "direct", DONTCACHE: "dontcache", PACED: "paced"}


class LaneStopped(Exception):
    """The ring failed or the lane was detached: the bytes seen so far are not the whole stream."""


class DigestRefused(ValueError):
    """The system's crypto library refuses this algorithm (FIPS), or nothing here knows it."""


# ---------------------------------------------------------------------------------------------------------------------------
# What is found at run time.

cdef void *_symbol(module, const char *name) except? NULL:
    """A C symbol of an extension module or of the libraries it is linked with; NULL if there is none."""
    path = getattr(module, "__file__", None)
    cdef bytes encoded
    cdef void *handle
    if path is None:  # linked into the interpreter itself
        handle = dlopen(NULL, RTLD_NOW | RTLD_LOCAL)
    else:
        encoded = os.fsencode(path)
        handle = dlopen(PyBytes_AsString(encoded), RTLD_NOW | RTLD_LOCAL)
    # The handle is never closed: the functions are used for the life of the process.
    return dlsym(handle, name) if handle != NULL else NULL


cdef gs_md_ctx_new md_ctx_new = <gs_md_ctx_new>_symbol(_hashlib, b"EVP_MD_CTX_new")
cdef gs_md_ctx_free md_ctx_free = <gs_md_ctx_free>_symbol(_hashlib, b"EVP_MD_CTX_free")
cdef gs_md_fetch md_fetch = <gs_md_fetch>_symbol(_hashlib, b"EVP_MD_fetch")  # OpenSSL 3; absent in 1.1
cdef gs_md_free md_free = <gs_md_free>_symbol(_hashlib, b"EVP_MD_free")
cdef gs_md_byname md_byname = <gs_md_byname>_symbol(_hashlib, b"EVP_get_digestbyname")
cdef gs_digest_init digest_init = <gs_digest_init>_symbol(_hashlib, b"EVP_DigestInit_ex")
cdef gs_digest_update digest_update = <gs_digest_update>_symbol(_hashlib, b"EVP_DigestUpdate")
cdef gs_digest_final digest_final = <gs_digest_final>_symbol(_hashlib, b"EVP_DigestFinal_ex")
cdef bint have_evp = (
    md_ctx_new != NULL and md_ctx_free != NULL and md_byname != NULL
    and digest_init != NULL and digest_update != NULL and digest_final != NULL
)
cdef gs_xxh128_fn xxh128 = <gs_xxh128_fn>_symbol(_xxhash, b"XXH3_128bits_dispatch")  # picks AVX2/AVX-512 at run time
if xxh128 == NULL:
    xxh128 = <gs_xxh128_fn>_symbol(_xxhash, b"XXH3_128bits")


# ---------------------------------------------------------------------------------------------------------------------------
# Small C pieces.

cdef void _store_big_endian(uint64_t value, uint8_t *to) noexcept nogil:
    cdef int i
    for i in range(8):
        to[i] = <uint8_t>(value >> (56 - 8 * i))


cdef bint _is_zero(const uint8_t *start, size_t length) noexcept nogil:
    """Whether all bytes are zero, at memcmp's speed: the first 16 are looked at, then the run is compared with itself shifted."""
    cdef size_t i
    for i in range(min(length, <size_t>16)):
        if start[i]:
            return False
    return length <= 16 or memcmp(start, start + 16, length - 16) == 0


cdef struct Head:
    int64_t offset
    size_t length
    bint zero
    uint8_t fingerprint[FINGERPRINT_SIZE]


cdef struct Cell:
    # One lane's place in the ring. Owned by the ring, so that lane and ring form no reference cycle.
    int64_t cursor       # slots let go
    int64_t position     # bytes let go
    double busy_since    # monotonic seconds; 0 while waiting
    bint live


# ---------------------------------------------------------------------------------------------------------------------------
# The ring.

cdef class Slot:
    """A published run of bytes, as one lane sees it."""
    cdef Ring ring
    cdef const uint8_t *start
    cdef Head head
    cdef int exports

    @property
    def offset(self):
        return self.head.offset

    @property
    def length(self):
        return self.head.length

    @property
    def zero(self):
        return bool(self.head.zero)

    @property
    def fingerprint(self):
        return PyBytes_FromStringAndSize(<char *>self.head.fingerprint, FINGERPRINT_SIZE)

    @property
    def view(self):
        return memoryview(self)

    def __len__(self):
        return self.head.length

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, <void *>self.start, self.head.length, 1, flags)
        self.exports += 1

    def __releasebuffer__(self, Py_buffer *buffer):
        self.exports -= 1


cdef class _Reserved:
    """The reserved slot's memory, for a producer written in Python."""
    cdef Ring ring
    cdef uint8_t *start

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.start, self.ring.slot_size, 0, flags)


cdef class Ring:
    cdef pthread_mutex_t mutex
    cdef pthread_cond_t published   # lanes wait here
    cdef pthread_cond_t freed       # the producer waits here
    cdef uint8_t *memory
    cdef Head *heads
    cdef Cell **cells
    cdef int lanes
    cdef uint8_t *marks             # fingerprints, 16 bytes a slot
    cdef size_t marks_room
    cdef readonly Py_ssize_t slots
    cdef readonly Py_ssize_t slot_size
    cdef int64_t head               # slots published so far
    cdef int64_t bytes_published
    cdef int state
    cdef bint reserved
    cdef bint short_seen            # a slot shorter than slot_size was published: it was the last

    def __cinit__(self, Py_ssize_t slots=DEFAULT_SLOTS, Py_ssize_t slot_size=DEFAULT_SLOT_SIZE):
        if slots < 2:
            raise ValueError("a ring needs at least 2 slots")
        if slot_size <= 0 or slot_size % PAGE_SIZE:
            raise ValueError(f"slot_size must be a multiple of {PAGE_SIZE} bytes")
        pthread_mutex_init(&self.mutex, NULL)
        pthread_cond_init(&self.published, NULL)
        pthread_cond_init(&self.freed, NULL)
        self.slots = slots
        self.slot_size = slot_size
        self.heads = <Head *>calloc(slots, sizeof(Head))
        cdef void *memory = mmap(NULL, slots * slot_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        self.memory = NULL if memory == MAP_FAILED else <uint8_t *>memory
        if self.memory == NULL or self.heads == NULL:
            raise MemoryError(f"no memory for {slots} slots of {slot_size} bytes")

    def __dealloc__(self):
        cdef int i
        if self.memory != NULL:
            munmap(self.memory, self.slots * self.slot_size)
            pthread_cond_destroy(&self.freed)
            pthread_cond_destroy(&self.published)
            pthread_mutex_destroy(&self.mutex)
        for i in range(self.lanes):
            free(self.cells[i])
        free(self.cells)
        free(self.marks)
        free(self.heads)

    @property
    def produced(self):
        pthread_mutex_lock(&self.mutex)
        cdef int64_t produced = self.bytes_published
        pthread_mutex_unlock(&self.mutex)
        return produced

    @property
    def failed(self):
        return self._state() == FAILED

    @property
    def finished(self):
        return self._state() == FINISHED

    def reserve(self):
        """Wait for the next free slot; its writable bytes."""
        cdef int got
        if self.short_seen:
            raise ValueError("a slot shorter than slot_size was the last one")
        with nogil:
            got = self._wait_free()
        if got == STOPPED:
            raise LaneStopped("the ring failed")
        self.reserved = True
        cdef _Reserved reserved = _Reserved.__new__(_Reserved)
        reserved.ring = self
        reserved.start = self._slot_start(self.head)
        return memoryview(reserved)

    def publish(self, Py_ssize_t length):
        """Hand the reserved slot to the lanes."""
        cdef int failure
        if not self.reserved:
            raise ValueError("publish() without reserve()")
        if not 0 < length <= self.slot_size:
            raise ValueError(f"length must be between 1 and {self.slot_size}")
        self.reserved = False
        with nogil:
            failure = self._publish(length)
        if failure:
            raise MemoryError("no memory for fingerprints")

    def fill_fd(self, int fd, bytes prefix=b""):
        """Publish ``prefix`` and then all that ``fd`` holds, without the GIL."""
        cdef int64_t before = self.bytes_published
        cdef const uint8_t *head = <const uint8_t *>PyBytes_AsString(prefix)
        cdef size_t length = len(prefix)
        cdef int failure
        if self.short_seen:
            raise ValueError("a slot shorter than slot_size was the last one")
        with nogil:
            failure = self._fill(fd, head, length)
        if failure == STOPPED:
            raise LaneStopped("the ring failed")
        if failure:
            raise OSError(failure, os.strerror(failure))
        return self.bytes_published - before

    def finish(self):
        """The stream is complete."""
        self._end(FINISHED)

    def fail(self):
        """The stream is not complete and never will be."""
        self._end(FAILED)

    def fingerprints(self):
        """xxh3-128 of each slot published so far."""
        pthread_mutex_lock(&self.mutex)
        try:
            if not self.head:
                return b""
            return PyBytes_FromStringAndSize(<char *>self.marks, self.head * FINGERPRINT_SIZE)
        finally:
            pthread_mutex_unlock(&self.mutex)

    def lane(self):
        """Add a lane read from Python."""
        return Lane(self)

    # -- for lanes ----------------------------------------------------------------------------------------------------------

    cdef Cell *_add_cell(self) except NULL:
        if self.head:
            raise ValueError("a lane can't join a ring whose first slot is published")
        cdef Cell *cell = <Cell *>calloc(1, sizeof(Cell))
        cdef Cell **cells = <Cell **>realloc(self.cells, (self.lanes + 1) * sizeof(Cell *))
        if cells != NULL:
            self.cells = cells
        if cell == NULL or cells == NULL:
            free(cell)
            raise MemoryError
        cell.live = True
        pthread_mutex_lock(&self.mutex)
        cells[self.lanes] = cell
        self.lanes += 1
        pthread_mutex_unlock(&self.mutex)
        return cell

    cdef int _take(self, Cell *cell, const uint8_t **start, Head *head) noexcept nogil:
        """Wait for the lane's next slot: READY, END or STOPPED."""
        cdef int got = READY
        pthread_mutex_lock(&self.mutex)
        while self.state == OPEN and cell.live and cell.cursor == self.head:
            pthread_cond_wait(&self.published, &self.mutex)
        if self.state == FAILED or not cell.live:
            got = STOPPED
        elif cell.cursor == self.head:
            got = END
        else:
            start[0] = self._slot_start(cell.cursor)
            head[0] = self.heads[cell.cursor % self.slots]
            cell.busy_since = gs_now()
        pthread_mutex_unlock(&self.mutex)
        return got

    cdef void _release(self, Cell *cell, size_t length) noexcept nogil:
        pthread_mutex_lock(&self.mutex)
        cell.cursor += 1
        cell.position += length
        cell.busy_since = 0
        pthread_cond_broadcast(&self.freed)
        pthread_mutex_unlock(&self.mutex)

    cdef void _detach(self, Cell *cell) noexcept nogil:
        pthread_mutex_lock(&self.mutex)
        cell.live = False
        pthread_cond_broadcast(&self.freed)
        pthread_cond_broadcast(&self.published)
        pthread_mutex_unlock(&self.mutex)

    # -- for the producer ---------------------------------------------------------------------------------------------------

    cdef uint8_t *_slot_start(self, int64_t number) noexcept nogil:
        return self.memory + (number % self.slots) * self.slot_size

    cdef int _state(self) noexcept nogil:
        pthread_mutex_lock(&self.mutex)
        cdef int state = self.state
        pthread_mutex_unlock(&self.mutex)
        return state

    cdef void _end(self, int state) noexcept nogil:
        pthread_mutex_lock(&self.mutex)
        if self.state == OPEN or state == FAILED:
            self.state = state
        pthread_cond_broadcast(&self.freed)
        pthread_cond_broadcast(&self.published)
        pthread_mutex_unlock(&self.mutex)

    cdef bint _next_is_free(self) noexcept nogil:
        cdef int i
        for i in range(self.lanes):
            if self.cells[i].live and self.head - self.cells[i].cursor >= self.slots:
                return False
        return True

    cdef int _wait_free(self) noexcept nogil:
        """Wait until every live lane has let the next slot go: READY or STOPPED."""
        cdef int got
        pthread_mutex_lock(&self.mutex)
        while self.state == OPEN and not self._next_is_free():
            pthread_cond_wait(&self.freed, &self.mutex)
        got = READY if self.state == OPEN else STOPPED
        pthread_mutex_unlock(&self.mutex)
        return got

    cdef int _publish(self, size_t length) noexcept nogil:
        """Scan the slot and hand it over; 0, or ENOMEM."""
        cdef Head *head = &self.heads[self.head % self.slots]
        cdef uint8_t *start = self._slot_start(self.head)
        head.offset = self.bytes_published
        head.length = length
        head.zero = _is_zero(start, length)
        self._fingerprint(start, length, head.fingerprint)
        pthread_mutex_lock(&self.mutex)
        cdef int failure = self._note(head.fingerprint)
        if not failure:
            self.head += 1
            self.bytes_published += length
            self.short_seen = length < <size_t>self.slot_size
            pthread_cond_broadcast(&self.published)
        pthread_mutex_unlock(&self.mutex)
        return failure

    cdef int _note(self, const uint8_t *fingerprint) noexcept nogil:
        cdef size_t used = self.head * FINGERPRINT_SIZE
        cdef void *larger
        if used == self.marks_room:
            larger = realloc(self.marks, max(<size_t>4096, 2 * used))
            if larger == NULL:
                return ENOMEM
            self.marks = <uint8_t *>larger
            self.marks_room = max(<size_t>4096, 2 * used)
        memcpy(self.marks + used, fingerprint, FINGERPRINT_SIZE)
        return 0

    cdef void _fingerprint(self, const uint8_t *start, size_t length, uint8_t *to) noexcept nogil:
        cdef gs_xxh128 value
        if xxh128 != NULL:
            value = xxh128(start, length)
            _store_big_endian(value.high64, to)
            _store_big_endian(value.low64, to + 8)
        else:
            _fingerprint_python(start, length, to)

    cdef int _fill(self, int fd, const uint8_t *prefix, size_t prefix_length) noexcept nogil:
        """Publish prefix and fd to the end: 0, STOPPED, or an errno."""
        cdef bint regular = gs_is_regular(fd)
        cdef bint dontcache = regular
        cdef bint end = False
        cdef uint8_t *to
        cdef size_t have, some
        cdef ssize_t n
        cdef int failure
        while not end:
            if self._wait_free() == STOPPED:
                return STOPPED
            to = self._slot_start(self.head)
            have = min(prefix_length, <size_t>self.slot_size)
            memcpy(to, prefix, have)
            prefix += have
            prefix_length -= have
            while have < <size_t>self.slot_size:
                n = self._read(fd, to + have, self.slot_size - have, regular, &dontcache)
                if n < 0:
                    return STOPPED if n == STOPPED else <int>-n - 1
                if n == 0:
                    end = True
                    break
                have += n
            if have:
                failure = self._publish(have)
                if failure:
                    return failure
        return 0

    cdef ssize_t _read(self, int fd, uint8_t *to, size_t room, bint regular, bint *dontcache) noexcept nogil:
        """Bytes read, 0 at the end, STOPPED, or -(errno + 1)."""
        cdef ssize_t n
        cdef int ready
        while True:
            if not regular:
                ready = gs_readable(fd, POLL_MS)
                if self._state() == FAILED:
                    return STOPPED
                if ready == 0:
                    continue
                if ready < 0:
                    return -(errno + 1)
            # Pages that were not in the page cache before don't stay in it: an import must not evict what guests use.
            n = gs_read_dontcache(fd, to, room) if dontcache[0] else read(fd, to, room)
            if n >= 0:
                return n
            if dontcache[0] and errno in (EOPNOTSUPP, EINVAL, ENOSYS):
                dontcache[0] = False
            elif errno not in (EINTR, EAGAIN):
                return -(errno + 1)


cdef void _fingerprint_python(const uint8_t *start, size_t length, uint8_t *to) noexcept with gil:
    """For an xxhash package that hides its C functions: one short visit to the interpreter a slot."""
    cdef bytes digest = xxhash.xxh3_128_digest(<const uint8_t[:length]>start)
    memcpy(to, PyBytes_AsString(digest), FINGERPRINT_SIZE)


# ---------------------------------------------------------------------------------------------------------------------------
# Lanes.

cdef class Lane:
    """One reader of the ring."""
    cdef Ring ring
    cdef Cell *cell
    cdef Slot held

    def __cinit__(self, Ring ring not None, *args, **kwargs):
        self.ring = ring
        self.cell = ring._add_cell()

    @property
    def position(self):
        pthread_mutex_lock(&self.ring.mutex)
        cdef int64_t position = self.cell.position
        pthread_mutex_unlock(&self.ring.mutex)
        return position

    @property
    def busy_for(self):
        pthread_mutex_lock(&self.ring.mutex)
        cdef double since = self.cell.busy_since
        pthread_mutex_unlock(&self.ring.mutex)
        return gs_now() - since if since else 0.0

    @property
    def detached(self):
        pthread_mutex_lock(&self.ring.mutex)
        cdef bint live = self.cell.live
        pthread_mutex_unlock(&self.ring.mutex)
        return not live

    def take(self):
        """Wait for the next slot; None at the end of a complete stream."""
        if self.held is not None:
            raise ValueError("take() before the last slot was released")
        cdef Slot slot = Slot.__new__(Slot)
        cdef int got
        with nogil:
            got = self.ring._take(self.cell, &slot.start, &slot.head)
        if got == STOPPED:
            raise LaneStopped("the ring failed or the lane was detached")
        if got == END:
            return None
        slot.ring = self.ring
        self.held = slot
        return slot

    def release(self):
        """Let the taken slot go."""
        cdef Slot slot = self.held
        if slot is None:
            raise ValueError("release() without take()")
        if slot.exports:
            raise BufferError("somebody still holds a view of the slot")
        self.held = None
        self.ring._release(self.cell, slot.head.length)

    def detach(self):
        """Leave the ring, from any thread."""
        self.ring._detach(self.cell)

    def __iter__(self):
        while (slot := self.take()) is not None:
            try:
                yield slot
            finally:
                self.release()


cdef class DigestLane(Lane):
    """Hashes the stream on the thread that calls run()."""
    cdef readonly str algorithm
    cdef void *context
    cdef object hasher      # hashlib's, where there is no EVP for this algorithm
    cdef str result

    def __cinit__(self, Ring ring not None, str algorithm not None):
        self.algorithm = algorithm

    def __init__(self, Ring ring, str algorithm):
        if have_evp:
            self.context = _evp_context(algorithm)
        if self.context == NULL:
            self.hasher = _hashlib_hasher(algorithm)

    def __dealloc__(self):
        if self.context != NULL:
            md_ctx_free(self.context)

    @property
    def native(self):
        return self.hasher is None

    def run(self):
        """Hash the whole stream."""
        if self.result is not None:
            return
        if self.hasher is None:
            self._run_native()
        else:
            for slot in self:
                self.hasher.update(slot)
            self.result = self.hasher.hexdigest()

    def hexdigest(self):
        """Of the whole stream."""
        if self.result is None:
            raise ValueError("the stream has not been hashed to its end")
        return self.result

    cdef _run_native(self):
        cdef uint8_t digest[MAX_DIGEST]
        cdef unsigned int length = 0
        cdef int got
        with nogil:
            got = self._hash_all()
        if got == STOPPED:
            raise LaneStopped("the ring failed or the lane was detached")
        if got != END or not digest_final(self.context, digest, &length):
            raise RuntimeError(f"OpenSSL failed to compute {self.algorithm}")
        self.result = PyBytes_FromStringAndSize(<char *>digest, length).hex()

    cdef int _hash_all(self) noexcept nogil:
        """END when all is hashed, STOPPED, or READY when OpenSSL failed."""
        cdef const uint8_t *start
        cdef Head head
        cdef int got = self.ring._take(self.cell, &start, &head)
        while got == READY:
            if not digest_update(self.context, start, head.length):
                self.ring._detach(self.cell)
                return READY
            self.ring._release(self.cell, head.length)
            got = self.ring._take(self.cell, &start, &head)
        return got


# hashlib's names that OpenSSL spells differently.
OPENSSL_NAMES = {
    "blake2b": "blake2b512",
    "blake2s": "blake2s256",
    "sha3_224": "sha3-224",
    "sha3_256": "sha3-256",
    "sha3_384": "sha3-384",
    "sha3_512": "sha3-512",
    "sha512_224": "sha512-224",
    "sha512_256": "sha512-256",
}


cdef void *_evp_context(str algorithm) except? NULL:
    """A ready EVP context; NULL when OpenSSL does not know the name. Raises DigestRefused when it knows and refuses it."""
    if algorithm.lower().startswith("shake"):
        return NULL  # no fixed length: left to _hashlib_hasher to refuse
    cdef bytes name = OPENSSL_NAMES.get(algorithm, algorithm).encode()
    cdef const char *c_name = PyBytes_AsString(name)
    cdef const void *known = md_byname(c_name)
    cdef void *fetched = md_fetch(NULL, c_name, NULL) if md_fetch != NULL else NULL
    cdef const void *md = known
    if md_fetch != NULL:
        md = fetched
    if md == NULL and known == NULL:
        return NULL
    cdef void *context = md_ctx_new() if md != NULL else NULL
    cdef bint ready = context != NULL and digest_init(context, md, NULL) == 1
    if fetched != NULL:
        md_free(fetched)  # the context holds its own reference
    if not ready:
        if context != NULL:
            md_ctx_free(context)
        raise DigestRefused(f"the system's OpenSSL refuses {algorithm}")
    return context


def _hashlib_hasher(algorithm):
    try:
        hasher = hashlib.new(algorithm)
    except (ValueError, TypeError) as error:
        raise DigestRefused(f"unknown digest algorithm {algorithm!r}") from error
    if not hasher.digest_size:
        raise DigestRefused(f"{algorithm} has no fixed length")
    return hasher


cdef class WriteLane(Lane):
    """Writes the stream to a descriptor on the thread that calls run()."""
    cdef int fd
    cdef bint thin
    cdef int how
    cdef bint plain_tail     # O_DIRECT was taken off again for an unaligned tail

    def __cinit__(self, Ring ring not None, int fd, *, bint thin=False, bint direct=True):
        self.fd = fd
        self.thin = thin
        self.how = DIRECT if direct and gs_set_direct(fd, 1) == 0 else DONTCACHE

    @property
    def mode(self):
        return MODE_NAMES[self.how]

    def run(self):
        """Write the whole stream and set the file's exact size."""
        cdef int failure
        with nogil:
            failure = self._write_all()
        if failure == STOPPED:
            raise LaneStopped("the ring failed or the lane was detached")
        if failure:
            raise OSError(failure, os.strerror(failure))

    cdef int _write_all(self) noexcept nogil:
        """0, STOPPED, or an errno."""
        cdef const uint8_t *start
        cdef Head head
        cdef int failure = 0
        cdef int got = self.ring._take(self.cell, &start, &head)
        while got == READY and not failure:
            failure = self._write_slot(start, &head)
            if not failure:
                self.ring._release(self.cell, head.length)
                got = self.ring._take(self.cell, &start, &head)
        if got == STOPPED:
            return STOPPED
        if not failure and gs_is_regular(self.fd) and ftruncate(self.fd, self.cell.position):
            failure = errno
        if failure:
            self.ring._detach(self.cell)
        return failure

    cdef int _write_slot(self, const uint8_t *start, Head *head) noexcept nogil:
        cdef int failure
        if not self.thin:
            failure = self._write(start, head.length, head.offset)
        elif head.zero:
            failure = 0
        else:
            failure = self._write_thin(start, head)
        if not failure and self.how == PACED:
            failure = self._pace(head)
        return failure

    cdef int _write_thin(self, const uint8_t *start, Head *head) noexcept nogil:
        """Write the slot's runs of non-zero blocks, leaving holes between them."""
        cdef size_t at = 0
        cdef size_t run = 0     # where the present run of non-zero blocks began
        cdef size_t grain
        cdef int failure = 0
        while at < head.length and not failure:
            grain = min(<size_t>HOLE_GRAIN, head.length - at)
            if _is_zero(start + at, grain):
                if at > run:
                    failure = self._write(start + run, at - run, head.offset + run)
                run = at + grain
            at += grain
        if not failure and at > run:
            failure = self._write(start + run, at - run, head.offset + run)
        return failure

    cdef int _write(self, const uint8_t *start, size_t length, int64_t offset) noexcept nogil:
        """All of it: 0 or an errno."""
        cdef ssize_t n
        while length:
            n = self._write_some(start, length, offset)
            if n > 0:
                start += n
                length -= n
                offset += n
            elif n == 0:
                return EIO
            elif errno == EINTR:
                continue
            elif self.how != PACED and errno in (EINVAL, EOPNOTSUPP, ENOSYS):
                self._next_mode()
            else:
                return errno
        return 0

    cdef ssize_t _write_some(self, const uint8_t *start, size_t length, int64_t offset) noexcept nogil:
        cdef size_t aligned
        if self.how == DIRECT and not self.plain_tail:
            aligned = length & ~<size_t>(DIRECT_ALIGNMENT - 1)
            if aligned and offset % DIRECT_ALIGNMENT == 0:
                return pwrite(self.fd, start, aligned, offset)
            gs_set_direct(self.fd, 0)
            self.plain_tail = True
        if self.how == DONTCACHE:
            return gs_pwrite_dontcache(self.fd, start, length, offset)
        return pwrite(self.fd, start, length, offset)

    cdef void _next_mode(self) noexcept nogil:
        if self.how == DIRECT:
            gs_set_direct(self.fd, 0)
            self.how = DONTCACHE
        else:
            self.how = PACED

    cdef int _pace(self, Head *head) noexcept nogil:
        """Start write-back of this slot, wait for an older one and drop its pages: dirty memory stays a few slots."""
        cdef int64_t old = head.offset - PACE_SLOTS * self.ring.slot_size
        cdef unsigned int wait = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER
        if sync_file_range(self.fd, head.offset, head.length, SYNC_FILE_RANGE_WRITE):
            return 0 if errno in (ESPIPE, EINVAL, ENOSYS) else errno
        if old >= 0:
            if sync_file_range(self.fd, old, self.ring.slot_size, wait):
                return errno
            posix_fadvise(self.fd, old, self.ring.slot_size, POSIX_FADV_DONTNEED)
        return 0
