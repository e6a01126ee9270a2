/* Loaded before libc (LD_PRELOAD): system calls that fail when and where the environment says, and a clock that jumps.
 *
 * GLANCE_STREAM_FAULTS: a rule a line, "CALL MODE N ERRNO GLOB". The Nth call on a path that matches fails (from 1).
 *   MODE  once, on (it and all after it), late (it takes effect, and then reports failure), short (half of it is written)
 *   CALL  one of those below, by its plain name: all forms of it are meant (write: write, pwrite, pwritev2 and their 64-bit names)
 * GLANCE_STREAM_FAULTS_SEEN: a file that gets a line "CALL PATH" for each call on a path that matches GLANCE_STREAM_FAULTS_WATCH;
 *   "direct PATH" goes before a write without the page cache.
 * GLANCE_STREAM_CLOCK: "N SECONDS": from the Nth question on, the clock of the day is that much off.
 * preload_read() reads them again, for a process that was forked and is to do something of its own.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { RULES = 8, LONG = 4096 };
enum { FINE, FAIL, LATE, SHORT };

static struct rule { char call[16], mode[8], glob[LONG]; long n; int error; atomic_long seen; } rules[RULES];
static int count;
static const char *seen_file, *watched;
static atomic_long clock_asked;
static long clock_after;
static long long clock_off;

void preload_read(void) {
    const char *text = getenv("GLANCE_STREAM_FAULTS"), *clock = getenv("GLANCE_STREAM_CLOCK");
    seen_file = getenv("GLANCE_STREAM_FAULTS_SEEN");
    watched = getenv("GLANCE_STREAM_FAULTS_WATCH");
    count = 0;
    while (text && *text && count < RULES) {
        struct rule *r = &rules[count];
        atomic_store(&r->seen, 0);
        if (sscanf(text, "%15s %7s %ld %d %4095[^\n]", r->call, r->mode, &r->n, &r->error, r->glob) != 5) abort();
        count++;
        if ((text = strchr(text, '\n'))) text++;
    }
    clock_after = 0;
    atomic_store(&clock_asked, 0);
    if (clock && sscanf(clock, "%ld %lld", &clock_after, &clock_off) != 2) abort();
}

__attribute__((constructor)) static void begin(void) { preload_read(); }

static void note(const char *call, const char *path) {
    char line[LONG + 32];
    int n, fd;
    if (!seen_file || !watched || fnmatch(watched, path, 0)) return;
    n = snprintf(line, sizeof line, "%s %s\n", call, path);
    fd = (int)syscall(SYS_openat, AT_FDCWD, seen_file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0) { syscall(SYS_write, fd, line, n); syscall(SYS_close, fd); }
}

/* What is to become of this call; errno is set unless it is FINE. */
static int fate(const char *call, const char *path) {
    int found = FINE, before = errno;
    note(call, path);
    errno = before;
    for (int i = 0; i < count; i++) {
        struct rule *r = &rules[i];
        if (strcmp(r->call, call) || fnmatch(r->glob, path, 0)) continue;
        long k = 1 + atomic_fetch_add(&r->seen, 1);
        if (found || (strcmp(r->mode, "on") ? k != r->n : k < r->n)) continue;
        found = !strcmp(r->mode, "late") ? LATE : !strcmp(r->mode, "short") ? SHORT : FAIL;
        errno = r->error;
    }
    return found;
}

static int idle(void) { return !count && !seen_file; }

static void name_of(int fd, char *path) {
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long n = syscall(SYS_readlinkat, AT_FDCWD, link, path, LONG - 1);
    path[n > 0 ? n : 0] = 0;
}

static int fate_of_fd(const char *call, int fd) {
    char path[LONG];
    int before = errno;
    if (idle()) return FINE;
    name_of(fd, path);
    if (!strcmp(call, "write") && syscall(SYS_fcntl, fd, F_GETFL) & O_DIRECT) note("direct", path);
    errno = before;
    return fate(call, path);
}

static int fate_of_path(const char *call, int dir, const char *name) {
    char path[2 * LONG], base[LONG] = "";
    int before = errno;
    if (idle()) return FINE;
    if (name[0] != '/') {
        if (dir != AT_FDCWD) name_of(dir, base);
        else if (syscall(SYS_getcwd, base, sizeof base) < 0) base[0] = 0;
    }
    snprintf(path, sizeof path, "%s%s%s", base, base[0] ? "/" : "", name);
    errno = before;
    return fate(call, path);
}

/* The call itself unless it is to fail; after a LATE one errno says what was asked for. */
#define CARRY_OUT(type, fates, call) do { \
    int fate_ = (fates), error_ = errno; \
    if (fate_ == FAIL || fate_ == SHORT) return (type)-1; \
    type result_ = (type)(call); \
    if (fate_ == LATE) { errno = error_; return (type)-1; } \
    return result_; \
} while (0)

#define WRITES(fd, n, whole, half) do { \
    int fate_ = fate_of_fd("write", fd), error_ = errno; \
    if (fate_ == FAIL) return -1; \
    if (fate_ == SHORT && (n) > 1) return half; \
    ssize_t result_ = whole; \
    if (fate_ == LATE) { errno = error_; return -1; } \
    return result_; \
} while (0)

static size_t halved(size_t n) { return n >= 8192 ? n / 2 & ~(size_t)4095 : n / 2; } /* what O_DIRECT accepts */

ssize_t write(int fd, const void *from, size_t n) {
    WRITES(fd, n, syscall(SYS_write, fd, from, n), syscall(SYS_write, fd, from, halved(n)));
}
ssize_t pwrite64(int fd, const void *from, size_t n, off64_t at) {
    WRITES(fd, n, syscall(SYS_pwrite64, fd, from, n, at), syscall(SYS_pwrite64, fd, from, halved(n), at));
}
ssize_t pwrite(int fd, const void *from, size_t n, off_t at) { return pwrite64(fd, from, n, at); }
ssize_t pwritev64v2(int fd, const struct iovec *v, int n, off64_t at, int flags) {
    CARRY_OUT(ssize_t, fate_of_fd("write", fd), syscall(SYS_pwritev2, fd, v, n, at, 0, flags));
}
ssize_t pwritev2(int fd, const struct iovec *v, int n, off_t at, int flags) { return pwritev64v2(fd, v, n, at, flags); }
ssize_t read(int fd, void *to, size_t n) { CARRY_OUT(ssize_t, fate_of_fd("read", fd), syscall(SYS_read, fd, to, n)); }
ssize_t pread64(int fd, void *to, size_t n, off64_t at) {
    CARRY_OUT(ssize_t, fate_of_fd("read", fd), syscall(SYS_pread64, fd, to, n, at));
}
ssize_t pread(int fd, void *to, size_t n, off_t at) { return pread64(fd, to, n, at); }
ssize_t preadv64v2(int fd, const struct iovec *v, int n, off64_t at, int flags) {
    CARRY_OUT(ssize_t, fate_of_fd("read", fd), syscall(SYS_preadv2, fd, v, n, at, 0, flags));
}
ssize_t preadv2(int fd, const struct iovec *v, int n, off_t at, int flags) { return preadv64v2(fd, v, n, at, flags); }
int fsync(int fd) { CARRY_OUT(int, fate_of_fd("fsync", fd), syscall(SYS_fsync, fd)); }
int fdatasync(int fd) { CARRY_OUT(int, fate_of_fd("fsync", fd), syscall(SYS_fdatasync, fd)); }
int ftruncate64(int fd, off64_t n) { CARRY_OUT(int, fate_of_fd("ftruncate", fd), syscall(SYS_ftruncate, fd, n)); }
int ftruncate(int fd, off_t n) { return ftruncate64(fd, n); }
int fallocate64(int fd, int mode, off64_t at, off64_t n) {
    CARRY_OUT(int, fate_of_fd("fallocate", fd), syscall(SYS_fallocate, fd, mode, at, n));
}
int fallocate(int fd, int mode, off_t at, off_t n) { return fallocate64(fd, mode, at, n); }
ssize_t copy_file_range(int from, off64_t *at, int to, off64_t *there, size_t n, unsigned flags) {
    CARRY_OUT(ssize_t, fate_of_fd("write", to), syscall(SYS_copy_file_range, from, at, to, there, n, flags));
}
int fchmod(int fd, mode_t mode) { CARRY_OUT(int, fate_of_fd("chmod", fd), syscall(SYS_fchmod, fd, mode)); }

int close(int fd) { /* the descriptor is gone whatever is reported, as on Linux */
    int fate_ = fate_of_fd("close", fd), error = errno;
    int result = (int)syscall(SYS_close, fd);
    if (fate_ == FINE) return result;
    errno = error;
    return -1;
}

static int opened(int dir, const char *path, int flags, mode_t mode) {
    CARRY_OUT(int, fate_of_path(flags & O_CREAT ? "create" : "open", dir, path), syscall(SYS_openat, dir, path, flags, mode));
}
#define WITH_MODE(call) do { \
    mode_t mode = 0; \
    if (flags & (O_CREAT | __O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); } \
    return call; \
} while (0)
int open(const char *path, int flags, ...) { WITH_MODE(opened(AT_FDCWD, path, flags, mode)); }
int open64(const char *path, int flags, ...) { WITH_MODE(opened(AT_FDCWD, path, flags, mode)); }
int openat(int dir, const char *path, int flags, ...) { WITH_MODE(opened(dir, path, flags, mode)); }
int openat64(int dir, const char *path, int flags, ...) { WITH_MODE(opened(dir, path, flags, mode)); }

int linkat(int from, const char *old, int to, const char *new, int flags) {
    CARRY_OUT(int, fate_of_path("link", to, new), syscall(SYS_linkat, from, old, to, new, flags));
}
int link(const char *old, const char *new) { return linkat(AT_FDCWD, old, AT_FDCWD, new, 0); }
int renameat2(int from, const char *old, int to, const char *new, unsigned flags) {
    CARRY_OUT(int, fate_of_path("rename", to, new), syscall(SYS_renameat2, from, old, to, new, flags));
}
int renameat(int from, const char *old, int to, const char *new) { return renameat2(from, old, to, new, 0); }
int rename(const char *old, const char *new) { return renameat2(AT_FDCWD, old, AT_FDCWD, new, 0); }
int unlinkat(int dir, const char *path, int flags) {
    CARRY_OUT(int, fate_of_path("unlink", dir, path), syscall(SYS_unlinkat, dir, path, flags));
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int mkdir(const char *path, mode_t mode) {
    CARRY_OUT(int, fate_of_path("mkdir", AT_FDCWD, path), syscall(SYS_mkdirat, AT_FDCWD, path, mode));
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *with) {
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    int before = errno, failed = fate("thread", "thread"), error = errno;
    errno = before;
    return failed ? error : real(thread, attr, run, with);
}

static long long off_now(void) {
    return clock_after && 1 + atomic_fetch_add(&clock_asked, 1) >= clock_after ? clock_off : 0;
}
int clock_gettime(clockid_t which, struct timespec *at) {
    int failed = (int)syscall(SYS_clock_gettime, which, at);
    if (!failed && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) at->tv_sec += off_now();
    return failed;
}
int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
