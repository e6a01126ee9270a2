# The lane that hashes.

cdef class DigestLane(Lane):
    """Hashes the stream on the thread that calls run()."""
    cdef readonly str algorithm
    cdef void *context
    cdef object hasher      # hashlib's, where there is no EVP for this algorithm
    cdef str result

    def __init__(self, Ring ring not None, str algorithm not None):
        self.algorithm = algorithm
        hasher = _hashlib_hasher(algorithm)
        if have_evp:
            self.context = _evp_context(algorithm)
        if self.context == NULL:
            self.hasher = hasher
        Lane.__init__(self, ring)

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
_OPENSSL_NAMES = {
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
    cdef bytes name = _OPENSSL_NAMES.get(algorithm, algorithm).encode()
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
    """hashlib decides which names there are; DigestRefused for others and for those without a fixed length."""
    try:
        hasher = hashlib.new(algorithm)
    except (ValueError, TypeError) as error:
        raise DigestRefused(f"unknown digest algorithm {algorithm!r}") from error
    if not hasher.digest_size:
        raise DigestRefused(f"{algorithm} has no fixed length")
    return hasher
