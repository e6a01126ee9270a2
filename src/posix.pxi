# Threads, memory, descriptors and the C types of what is found at run time (posix.h).

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX

cdef extern from "posix.h":
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
    int pthread_cond_signal(pthread_cond_t *) noexcept nogil
    ctypedef struct pthread_t:
        pass
    ctypedef void *(*gs_thread_main)(void *) noexcept nogil
    int gs_start_thread(pthread_t *, gs_thread_main, void *) noexcept nogil
    int pthread_join(pthread_t, void **) noexcept nogil

    void *mmap(void *, size_t, int, int, int, int64_t) noexcept nogil
    int munmap(void *, size_t) noexcept nogil
    void *MAP_FAILED
    int PROT_READ, PROT_WRITE, MAP_PRIVATE, MAP_ANONYMOUS
    int madvise(void *, size_t, int) noexcept nogil
    int MADV_HUGEPAGE

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

    int gs_get_flags(int) noexcept nogil
    int gs_set_flags(int, int) noexcept nogil
    int gs_set_direct(int, int) noexcept nogil
    ssize_t gs_pwrite_dontcache(int, const void *, size_t, int64_t) noexcept nogil
    ssize_t gs_read_dontcache(int, void *, size_t) noexcept nogil
    int gs_is_regular(int) noexcept nogil
    int gs_readable(int, int) noexcept nogil
    ssize_t read(int, void *, size_t) noexcept nogil
    ssize_t pwrite(int, const void *, size_t, int64_t) noexcept nogil
    ssize_t pread(int, void *, size_t, int64_t) noexcept nogil
    int64_t gs_next_hole(int, int64_t) noexcept nogil
    int ftruncate(int, int64_t) noexcept nogil
    int sync_file_range(int, int64_t, int64_t, unsigned int) noexcept nogil
    int posix_fadvise(int, int64_t, int64_t, int) noexcept nogil
    unsigned int SYNC_FILE_RANGE_WAIT_BEFORE, SYNC_FILE_RANGE_WRITE, SYNC_FILE_RANGE_WAIT_AFTER
    int POSIX_FADV_DONTNEED
