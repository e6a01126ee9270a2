# The ring: its memory, its one producer, and what it does for its lanes.

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
    bint live


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
        if self.start == NULL:
            raise ValueError("the slot was released: by now it holds other bytes")
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
        if slot_size > PY_SSIZE_T_MAX // slots:
            raise MemoryError(f"no memory for {slots} slots of {slot_size} bytes")
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
        self._require_room()
        with nogil:
            got = self._wait_free()
        if got == STOPPED:
            self._require_open()
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
        self._require_open()
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
        self._require_room()
        self._require_open()
        self.reserved = False
        with nogil:
            failure = self._fill(fd, head, length)
        if failure == STOPPED:
            self._require_open()
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

    cdef int _require_room(self) except -1:
        if self.short_seen:
            raise ValueError("a slot shorter than slot_size was the last one")
        return 0

    cdef int _require_open(self) except -1:
        cdef int state = self._state()
        if state == FAILED:
            raise LaneStopped("the ring failed")
        if state == FINISHED:
            raise ValueError("the stream is finished")
        return 0

    # -- for lanes ----------------------------------------------------------------------------------------------------------

    cdef Cell *_add_cell(self) except NULL:
        """A place for a lane that is being made. It counts from ``_join`` on: what fails to be made must hold nothing up."""
        cdef Cell *cell = <Cell *>calloc(1, sizeof(Cell))
        cdef Cell **cells
        if cell == NULL:
            raise MemoryError
        pthread_mutex_lock(&self.mutex)  # the producer may be walking the cells
        cells = <Cell **>realloc(self.cells, (self.lanes + 1) * sizeof(Cell *))
        if cells != NULL:
            cells[self.lanes] = cell
            self.cells = cells
            self.lanes += 1
        pthread_mutex_unlock(&self.mutex)
        if cells == NULL:
            free(cell)
            raise MemoryError
        return cell

    cdef int _join(self, Cell *cell) except -1:
        pthread_mutex_lock(&self.mutex)
        cell.live = self.head == 0
        cdef bint joined = cell.live
        pthread_mutex_unlock(&self.mutex)
        if not joined:
            raise ValueError("a lane can't join a ring whose first slot is published")
        return 0

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
        pthread_mutex_unlock(&self.mutex)
        return got

    cdef void _release(self, Cell *cell, size_t length) noexcept nogil:
        pthread_mutex_lock(&self.mutex)
        cell.cursor += 1
        cell.position += length
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
        cdef int failure = self._fingerprint(start, length, head.fingerprint)
        if failure:
            return failure
        pthread_mutex_lock(&self.mutex)
        failure = self._note(head.fingerprint)
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

    cdef int _fingerprint(self, const uint8_t *start, size_t length, uint8_t *to) noexcept nogil:
        cdef gs_xxh128 value
        if xxh128 == NULL:
            return _fingerprint_python(start, length, to)
        value = xxh128(start, length)
        _store_big_endian(value.high64, to)
        _store_big_endian(value.low64, to + 8)
        return 0

    cdef int _fill(self, int fd, const uint8_t *prefix, size_t prefix_length) noexcept nogil:
        """Publish prefix and fd to the end: 0, STOPPED, or an errno."""
        cdef bint regular = gs_is_regular(fd)
        cdef bint dontcache = regular
        cdef bint end = False
        cdef uint8_t *to
        cdef size_t have, some
        cdef ssize_t n
        cdef int failure
        if read(fd, NULL, 0) < 0:
            return errno  # now: the writing end of a pipe never polls as readable
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


cdef int _fingerprint_python(const uint8_t *start, size_t length, uint8_t *to) noexcept with gil:
    """For an xxhash package that hides its C functions: one short visit to the interpreter a slot. 0 or ENOMEM."""
    cdef bytes digest
    try:
        digest = xxhash.xxh3_128_digest(<const uint8_t[:length]>start)
    except MemoryError:
        return ENOMEM
    memcpy(to, PyBytes_AsString(digest), FINGERPRINT_SIZE)
    return 0
