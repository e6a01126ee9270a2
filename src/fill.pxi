# Filling a ring from a descriptor: one thread reads, and from the second slot on another one beside it publishes.

cdef class Filling:
    """One call of ``fill_fd``.

    The zero scan and the fingerprint of a slot take about a quarter of the time that a page cache needs to give it: they are done
    while the next slot is read. Slots are published in order and whole, as with one thread. The helper thread knows nothing of
    Python, waits for nothing but the reader, and has ended when ``run`` returns. On a busy machine it may get no core for
    milliseconds, in which the ring would be full: then the reader looks at slots too.
    """
    cdef Ring ring
    cdef int fd
    cdef const uint8_t *prefix
    cdef size_t prefix_length
    cdef bint regular
    cdef bint dontcache
    cdef bint helped            # the helper thread runs
    cdef pthread_t helper
    cdef pthread_cond_t changed  # the helper waits here
    # Guarded by the ring's mutex:
    cdef int64_t read           # slots read
    cdef int64_t claimed        # slots that one of the two threads looks at or has looked at
    cdef bint ended             # no more will be read
    cdef int failure            # of publishing

    cdef int run(self) noexcept nogil:
        """Publish prefix and fd to the end: 0, STOPPED, or an errno."""
        cdef int failure
        if read(self.fd, NULL, 0) < 0:
            return errno  # now: the writing end of a pipe never polls as readable
        self.regular = self.dontcache = gs_is_regular(self.fd)
        pthread_cond_init(&self.changed, NULL)
        failure = self._read_all()
        if self.helped:
            pthread_mutex_lock(&self.ring.mutex)
            self.ended = True
            pthread_mutex_unlock(&self.ring.mutex)
            pthread_cond_signal(&self.changed)
            self._look_at_all(0)
            pthread_join(self.helper, NULL)
        pthread_cond_destroy(&self.changed)
        return self.failure if self.failure else failure

    cdef int _read_all(self) noexcept nogil:
        cdef int64_t number = self.ring.head
        cdef ssize_t have = self.ring.slot_size
        while have == self.ring.slot_size:
            if self.ring._wait_free(number) == STOPPED:
                return STOPPED
            have = self._read_slot(self.ring._slot(number))
            if have < 0:
                return STOPPED if have == STOPPED else <int>-have - 1
            if have:
                self._pass_on(number, have)
                number += 1
        return 0

    cdef ssize_t _read_slot(self, Head *head) noexcept nogil:
        """The bytes in it, fewer than it has room for at the end only; STOPPED, or -(errno + 1)."""
        cdef size_t have = min(self.prefix_length, <size_t>self.ring.slot_size)
        cdef ssize_t n = 1
        memcpy(head.start, self.prefix, have)
        self.prefix += have
        self.prefix_length -= have
        while n and have < <size_t>self.ring.slot_size:
            n = self._read(head.start + have, self.ring.slot_size - have)
            if n < 0:
                return n
            have += n
        return have

    cdef ssize_t _read(self, uint8_t *to, size_t room) noexcept nogil:
        """Bytes read, 0 at the end, STOPPED, or -(errno + 1)."""
        cdef ssize_t n
        cdef int ready
        while True:
            if not self.regular:
                ready = gs_readable(self.fd, POLL_MS)
                if self.ring._state() == FAILED:
                    return STOPPED
                if ready == 0:
                    continue
                if ready < 0:
                    return -(errno + 1)
            # Pages that were not in the page cache before don't stay in it: an import must not evict what guests use.
            n = gs_read_dontcache(self.fd, to, room) if self.dontcache else read(self.fd, to, room)
            if n >= 0:
                return n
            if self.dontcache and errno in (EOPNOTSUPP, EINVAL, ENOSYS):
                self.dontcache = False
            elif errno not in (EINTR, EAGAIN):
                return -(errno + 1)

    cdef void _pass_on(self, int64_t number, size_t length) noexcept nogil:
        """Have the slot published: by the helper, or here while there is none. What fails there fails the ring."""
        self.ring._slot(number).length = length
        if not self.helped and length == <size_t>self.ring.slot_size:
            self.read = self.claimed = number
            self.helped = not gs_start_thread(&self.helper, <gs_thread_main><void *>_help, <void *>self)
        if not self.helped:
            self._note(self.ring._publish())
            return
        pthread_mutex_lock(&self.ring.mutex)
        self.read = number + 1
        pthread_mutex_unlock(&self.ring.mutex)
        pthread_cond_signal(&self.changed)
        self._look_at_all(1)

    cdef void _look_at_all(self, int64_t but) noexcept nogil:
        """All slots that nobody looks at, but for some that are left to the helper."""
        cdef int64_t number = self._claim(but)
        cdef int failure
        while number >= 0:
            failure = self.ring._look_at(number)
            self._note(failure if failure else self.ring._hand_over(number))
            number = self._claim(but)

    cdef int64_t _claim(self, int64_t but) noexcept nogil:
        """The next slot to look at; -1 where there is none, and once the ring has failed."""
        cdef int64_t number = -1
        pthread_mutex_lock(&self.ring.mutex)
        if self.read - self.claimed > but and self.ring.state != FAILED:
            number = self.claimed
            self.claimed += 1
        pthread_mutex_unlock(&self.ring.mutex)
        return number

    cdef bint _await_slot(self) noexcept nogil:
        """Whether there will be one more."""
        pthread_mutex_lock(&self.ring.mutex)
        while self.read == self.claimed and not self.ended:
            pthread_cond_wait(&self.changed, &self.ring.mutex)
        cdef bint more = self.read > self.claimed and self.ring.state != FAILED
        pthread_mutex_unlock(&self.ring.mutex)
        return more

    cdef void _note(self, int failure) noexcept nogil:
        if failure:
            pthread_mutex_lock(&self.ring.mutex)
            self.failure = failure
            pthread_mutex_unlock(&self.ring.mutex)
            self.ring._end(FAILED)


cdef void *_help(Filling filling) noexcept nogil:
    """The helper thread."""
    while filling._await_slot():
        filling._look_at_all(0)
    return NULL
