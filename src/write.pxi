# The lane that writes a descriptor.

cdef class WriteLane(Lane):
    """Writes the stream to a descriptor on the thread that calls run()."""
    cdef int fd
    cdef bint thin
    cdef int how
    cdef bint plain_tail     # O_DIRECT was taken off again for an unaligned tail
    cdef int64_t held        # below this the file may have the stream's bytes already
    cdef int64_t kept_bytes
    cdef uint8_t *found      # a slot as the file has it

    def __cinit__(self, *args, **kwargs):
        self.found = <uint8_t *>MAP_FAILED

    def __init__(self, Ring ring not None, int fd, *, bint thin=False, bint direct=True, int64_t held=0):
        if held < 0:
            raise ValueError("held must not be negative")
        self.fd = fd
        self.thin = thin
        self.held = held
        self.how = DIRECT if direct else DONTCACHE
        Lane.__init__(self, ring)

    @property
    def kept(self):
        return self.kept_bytes

    @property
    def mode(self):
        return _MODE_NAMES[self.how]

    def run(self):
        """Write the whole stream and set the file's exact size."""
        cdef int failure
        with nogil:
            failure = self._write_with_flags()
        if failure == STOPPED:
            raise LaneStopped("the ring failed or the lane was detached")
        if failure:
            raise OSError(failure, os.strerror(failure))

    cdef int _write_with_flags(self) noexcept nogil:
        """The descriptor's flags are its owner's, whose later writes may not be aligned: they are put back."""
        cdef int flags = gs_get_flags(self.fd)
        cdef int failure = errno
        if flags == -1:
            self.ring._detach(self.cell)
            return failure
        if self.how == DIRECT and gs_set_direct(self.fd, 1):
            self.how = DONTCACHE
        failure = self._write_all()
        if self.found != <uint8_t *>MAP_FAILED:
            munmap(self.found, self.ring.slot_size)
            self.found = <uint8_t *>MAP_FAILED
        gs_set_flags(self.fd, flags)
        return failure

    cdef int _write_all(self) noexcept nogil:
        """0, STOPPED, or an errno."""
        cdef const uint8_t *start
        cdef Head head
        cdef int failure = 0
        if self.thin and gs_is_regular(self.fd) and ftruncate(self.fd, self.held):  # a hole over old bytes would show them
            failure = errno
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
        if self._holds(start, head):
            self.kept_bytes += head.length
            return 0
        if not self.thin or head.offset < self.held:
            failure = self._write(start, head.length, head.offset)
        elif head.zero:
            failure = 0
        else:
            failure = self._write_thin(start, head)
        if not failure and self.how == PACED:
            failure = self._pace(head)
        return failure

    cdef bint _holds(self, const uint8_t *start, Head *head) noexcept nogil:
        """Whether the file has just these bytes already. What can't be read back is written."""
        cdef int64_t end = head.offset + <int64_t>head.length
        if end > self.held:
            return False
        if head.zero and not self.thin and -1 < gs_next_hole(self.fd, head.offset) < end:
            return False
        if self.found == <uint8_t *>MAP_FAILED:
            self.found = <uint8_t *>mmap(NULL, self.ring.slot_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        return self.found != <uint8_t *>MAP_FAILED and self._read_back(head) and not memcmp(start, self.found, head.length)

    cdef bint _read_back(self, Head *head) noexcept nogil:
        """In whole pages, as O_DIRECT wants it: a slot is made of them."""
        cdef size_t wanted = (head.length + DIRECT_ALIGNMENT - 1) & ~<size_t>(DIRECT_ALIGNMENT - 1)
        cdef size_t have = 0
        cdef ssize_t n
        while have < head.length:
            n = pread(self.fd, self.found + have, wanted - have, head.offset + <int64_t>have)
            if n > 0:
                have += n
            elif n == 0:
                return False
            elif errno == EINVAL and self.how == DIRECT:
                self._next_mode()
            elif errno != EINTR:
                return False
        return True

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
