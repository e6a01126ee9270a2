/* What Linux offers and Cython can't say: the declarations stand in posix.pxi. Python.h, included first, defines _GNU_SOURCE. */
#ifndef GLANCE_STREAM_POSIX_H
#define GLANCE_STREAM_POSIX_H

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
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

typedef void *(*gs_thread_main)(void *);

/* 0 or an error number. Signals are for threads that Python knows. */
static int gs_start_thread(pthread_t *thread, gs_thread_main run, void *with) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(thread, NULL, run, with);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failure;
}

#ifndef RWF_DONTCACHE
#define RWF_DONTCACHE 0x00000080   /* Linux 6.14 */
#endif

static int gs_get_flags(int fd) { return fcntl(fd, F_GETFL); }
static int gs_set_flags(int fd, int flags) { return fcntl(fd, F_SETFL, flags); }

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

/* Where the next hole begins, the end of the file at the latest; -1 where that can't be told. */
static int64_t gs_next_hole(int fd, int64_t offset) { return lseek(fd, offset, SEEK_HOLE); }

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

#endif
