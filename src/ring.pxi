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
    uint8_t *start
    int64_t offset
    size_t length
    bint looked_at       # and not published yet
    bint zero
    uint8_t fingerprint[FINGERPRINT_SIZE]


cdef struct Cell:
    # One lane's place in the ring. Owned by the ring, so that lane and ring form no reference cycle.
    int64_t cursor       # slots let go
    int64_t position     # bytes let go
    bint live
    bint busy            # between take and release, be it live or not


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
    cdef uint8_t *mapping
    cdef size_t mapped
    cdef uint8_t **idle             # the memory of slots that nobody has, the one used last on top
    cdef Py_ssize_t idle_count
    cdef Head *heads
    cdef Cell **cells
    cdef int lanes
    cdef uint8_t *marks             # fingerprints, 16 bytes a slot
    cdef size_t marks_room
    cdef readonly Py_ssize_t slots
    cdef readonly Py_ssize_t slot_size
    cdef int64_t given              # slots that were given memory so far
    cdef int64_t head               # slots published so far
    cdef int64_t returned           # slots whose memory was taken back so far
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
        if slot_size > (PY_SSIZE_T_MAX - HUGE_PAGE) // slots:
            raise MemoryError(f"no memory for {slots} slots of {slot_size} bytes")
        self.heads = <Head *>calloc(slots, sizeof(Head))
        self.idle = <uint8_t **>calloc(slots, sizeof(uint8_t *))
        self.mapped = slots * slot_size + HUGE_PAGE
        cdef void *memory = mmap(NULL, self.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        self.mapping = NULL if memory == MAP_FAILED else <uint8_t *>memory
        if self.mapping == NULL or self.heads == NULL or self.idle == NULL:
            raise MemoryError(f"no memory for {slots} slots of {slot_size} bytes")
        self._lay_out()

    cdef void _lay_out(self) noexcept nogil:
        cdef uint8_t *start = <uint8_t *>((<size_t>self.mapping + HUGE_PAGE - 1) & ~<size_t>(HUGE_PAGE - 1))
        if self.slot_size >= HUGE_PAGE:  # but not for the first slot: a small image must not pay for clearing megabytes
            madvise(start + self.slot_size, (self.slots - 1) * self.slot_size, MADV_HUGEPAGE)
        for self.idle_count in range(self.slots):
            self.idle[self.idle_count] = start + (self.slots - 1 - self.idle_count) * self.slot_size
        self.idle_count = self.slots

    def __dealloc__(self):
        cdef int i
        if self.mapping != NULL:
            munmap(self.mapping, self.mapped)
        if self.slots:
            pthread_cond_destroy(&self.freed)
            pthread_cond_destroy(&self.published)
            pthread_mutex_destroy(&self.mutex)
        for i in range(self.lanes):
            free(self.cells[i])
        free(self.cells)
        free(self.marks)
        free(self.idle)
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
            got = self._wait_free(self.head)
        if got == STOPPED:
            self._require_open()
        self.reserved = True
        cdef _Reserved reserved = _Reserved.__new__(_Reserved)
        reserved.ring = self
        reserved.start = self._slot(self.head).start
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
        self._slot(self.head).length = length
        with nogil:
            failure = self._publish()
        if failure:
            raise MemoryError("no memory for fingerprints")

    def fill_fd(self, int fd, bytes prefix=b""):
        """Publish ``prefix`` and then all that ``fd`` holds, without the GIL."""
        cdef int64_t before = self.bytes_published
        cdef Filling filling = Filling.__new__(Filling)
        cdef int failure
        self._require_room()
        self._require_open()
        self.reserved = False
        filling.ring = self
        filling.fd = fd
        filling.prefix = <const uint8_t *>PyBytes_AsString(prefix)
        filling.prefix_length = len(prefix)
        with nogil:
            failure = filling.run()
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
            head[0] = self._slot(cell.cursor)[0]
            start[0] = head.start
            cell.busy = True
        pthread_mutex_unlock(&self.mutex)
        return got

    cdef void _release(self, Cell *cell, size_t length) noexcept nogil:
        pthread_mutex_lock(&self.mutex)
        cell.busy = False
        cell.cursor += 1
        cell.position += length
        pthread_mutex_unlock(&self.mutex)
        pthread_cond_signal(&self.freed)

    cdef void _detach(self, Cell *cell) noexcept nogil:
        pthread_mutex_lock(&self.mutex)
        cell.live = False
        pthread_cond_broadcast(&self.freed)
        pthread_cond_broadcast(&self.published)
        pthread_mutex_unlock(&self.mutex)

    # -- for the producer ---------------------------------------------------------------------------------------------------

    cdef Head *_slot(self, int64_t number) noexcept nogil:
        return &self.heads[number % self.slots]

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

    cdef void _collect(self) noexcept nogil:
        """Take back the memory of the slots that every live lane has let go."""
        cdef int64_t end = self.head
        cdef int i
        for i in range(self.lanes):
            if self.cells[i].live:
                end = min(end, self.cells[i].cursor)
        while self.returned < end:
            self._lay_by(self._slot(self.returned).start, self._is_read(self.returned))
            self.returned += 1

    cdef bint _is_read(self, int64_t number) noexcept nogil:
        """Whether a detached lane has not noticed yet and still reads the slot."""
        cdef int i
        for i in range(self.lanes):
            if self.cells[i].busy and not self.cells[i].live and self.cells[i].cursor == number:
                return True
        return False

    cdef void _lay_by(self, uint8_t *start, bint last) noexcept nogil:
        """``last``: to be used when there is no other. Not never: a detached lane may hang in its write for good."""
        cdef Py_ssize_t at = 0 if last else self.idle_count
        memmove(self.idle + at + 1, self.idle + at, (self.idle_count - at) * sizeof(uint8_t *))
        self.idle[at] = start
        self.idle_count += 1

    cdef int _wait_free(self, int64_t number) noexcept nogil:
        """Wait until the slot, the next one or one that has it already, can be given memory: READY or STOPPED.

        Memory used a moment ago is given out first: it is in the cache, and what no slow lane makes necessary is never touched.
        """
        cdef int got
        pthread_mutex_lock(&self.mutex)
        while self.state == OPEN and number == self.given:
            self._collect()
            if self.idle_count:
                self.idle_count -= 1
                self._slot(number).start = self.idle[self.idle_count]
                self.given += 1
            else:
                pthread_cond_wait(&self.freed, &self.mutex)
        got = READY if self.state == OPEN else STOPPED
        pthread_mutex_unlock(&self.mutex)
        return got

    cdef int _publish(self) noexcept nogil:
        """Look at the next slot and hand it over; 0, or ENOMEM."""
        cdef int64_t number = self.head
        cdef int failure = self._look_at(number)
        return failure if failure else self._hand_over(number)

    cdef int _look_at(self, int64_t number) noexcept nogil:
        cdef Head *head = self._slot(number)
        head.zero = _is_zero(head.start, head.length)
        return self._fingerprint(head.start, head.length, head.fingerprint)

    cdef int _hand_over(self, int64_t number) noexcept nogil:
        """Publish the slot once all before it are, and after it those that have waited for it; 0, or ENOMEM."""
        cdef int failure = 0
        cdef Head *head
        pthread_mutex_lock(&self.mutex)
        self._slot(number).looked_at = True
        while not failure and self._slot(self.head).looked_at:
            head = self._slot(self.head)
            head.looked_at = False
            head.offset = self.bytes_published
            failure = self._note(head.fingerprint)
            if not failure:
                self.head += 1
                self.bytes_published += head.length
                self.short_seen = head.length < <size_t>self.slot_size
        pthread_mutex_unlock(&self.mutex)
        pthread_cond_broadcast(&self.published)  # unlocked: who wakes up finds the mutex free
        pthread_cond_signal(&self.freed)  # without a live lane the slot is free at once
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


cdef int _fingerprint_python(const uint8_t *start, size_t length, uint8_t *to) noexcept with gil:
    """For an xxhash package that hides its C functions: one short visit to the interpreter a slot. 0 or ENOMEM."""
    cdef bytes digest
    try:
        digest = xxhash.xxh3_128_digest(<const uint8_t[:length]>start)
    except MemoryError:
        return ENOMEM
    memcpy(to, PyBytes_AsString(digest), FINGERPRINT_SIZE)
    return 0
