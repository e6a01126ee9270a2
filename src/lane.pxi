# A lane, the reader of a ring; its two native kinds stand in digest.pxi and write.pxi.

cdef class Lane:
    """One reader of the ring."""
    cdef Ring ring
    cdef Cell *cell
    cdef Slot held

    def __cinit__(self, Ring ring not None, *args, **kwargs):
        self.ring = ring
        self.cell = ring._add_cell()

    def __init__(self, Ring ring not None):
        ring._join(self.cell)

    @property
    def position(self):
        pthread_mutex_lock(&self.ring.mutex)
        cdef int64_t position = self.cell.position
        pthread_mutex_unlock(&self.ring.mutex)
        return position

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
        slot.start = NULL
        self.ring._release(self.cell, slot.head.length)

    def detach(self):
        """Leave the ring, from any thread."""
        self.ring._detach(self.cell)

    def __iter__(self):
        while (slot := self.take()) is not None:
            try:
                yield slot
            except BaseException:
                # The loop ended with an error whose traceback may hold the view: that error is the one to be seen.
                if not (<Slot>slot).exports:
                    self.release()
                raise
            self.release()
