/* Loaded before libc (LD_PRELOAD): a log of all that a process does to the files below one directory, in the order in which it was done.
 *
 * power_log_begin(log, root) starts it, in a process that was forked; what is logged is appended. A record is a header of six
 * 64-bit numbers (operation, inode, offset or size, length of the bytes, lengths of two paths), the paths, the bytes.
 * GLANCE_STREAM_POWER_IGNORE: "file" or "directory", whose fsync is left out of the log below GLANCE_STREAM_POWER_BELOW: to the disk of
 * the model it was never done. That is how the model is shown what it must find.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATE = 1, WRITE, TRUNCATE, SYNC, SYNC_DIRECTORY, LINK, RENAME, UNLINK, MKDIR, RMDIR, TOLD, EXTEND };

static pthread_mutex_t turn = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP; /* a call and its record are one */
static int out = -1;
static char root[PATH_MAX];
static size_t root_length;

int power_log_begin(const char *log, const char *below) {
    snprintf(root, sizeof root, "%s/", below);
    root_length = strlen(root);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    out = (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 900); /* where nobody closes it by chance */
    syscall(SYS_close, fd);
    return out;
}

static void put(const void *from, size_t n) {
    for (const char *at = from; n;) {
        ssize_t done = syscall(SYS_write, out, at, n);
        if (done <= 0) abort();
        at += done, n -= (size_t)done;
    }
}

static void record(uint64_t operation, uint64_t inode, uint64_t offset, const struct iovec *parts, int count, const char *path,
                   const char *other) {
    int before = errno;
    uint64_t length = 0, one = path ? strlen(path) : 0, two = other ? strlen(other) : 0;
    for (int i = 0; i < count; i++) length += parts[i].iov_len;
    uint64_t header[6] = {operation, inode, offset, length, one, two};
    put(header, sizeof header);
    put(path, one);
    put(other, two);
    for (int i = 0; i < count; i++) put(parts[i].iov_base, parts[i].iov_len);
    errno = before;
}

static void name_of(int fd, char *path) {
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long n = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    path[n > 0 ? n : 0] = 0;
}

static int below(const char *path) {
    char after = strncmp(path, root, root_length - 1) ? 'x' : path[root_length - 1];
    return after == '/' || after == 0;
}

/* The whole path, if it is one to be logged. */
static int whole(int dir, const char *name, char *path) {
    char base[PATH_MAX] = "";
    int before = errno;
    if (out < 0) return 0;
    if (name[0] != '/') {
        if (dir != AT_FDCWD) name_of(dir, base);
        else if (syscall(SYS_getcwd, base, sizeof base) < 0) base[0] = 0;
    }
    int n = snprintf(path, PATH_MAX, "%s%s%s", base, base[0] ? "/" : "", name);
    errno = before;
    return n < PATH_MAX && below(path);
}

/* The inode behind a descriptor of a file or directory to be logged, else 0. */
static uint64_t logged(int fd, char *path, int *directory) {
    struct stat facts;
    int before = errno;
    uint64_t inode = 0;
    if (out >= 0 && !fstat(fd, &facts) && (S_ISREG(facts.st_mode) || S_ISDIR(facts.st_mode))) {
        name_of(fd, path);
        if (below(path)) inode = facts.st_ino;
        *directory = S_ISDIR(facts.st_mode);
    }
    errno = before;
    return inode;
}

#define TURN_BEGIN if (out >= 0) pthread_mutex_lock(&turn)
#define TURN_END if (out >= 0) pthread_mutex_unlock(&turn)

static void wrote(int fd, const struct iovec *parts, int count, off64_t at, ssize_t done, int durable) {
    char path[PATH_MAX];
    int directory = 0, before = errno;
    if (out < 0 || done <= 0) return;
    struct iovec cut[count];
    size_t left = (size_t)done;
    int n = 0;
    for (; n < count && left; n++) {
        cut[n] = parts[n];
        if (cut[n].iov_len > left) cut[n].iov_len = left;
        left -= cut[n].iov_len;
    }
    if (fd == 1) record(TOLD, 0, 0, cut, n, NULL, NULL);
    uint64_t inode = logged(fd, path, &directory);
    if (inode) {
        record(WRITE, inode, (uint64_t)at, cut, n, path, NULL);
        if (durable || syscall(SYS_fcntl, fd, F_GETFL) & O_DSYNC) record(SYNC, inode, 0, NULL, 0, path, NULL);
    }
    errno = before;
}

ssize_t write(int fd, const void *from, size_t n) {
    TURN_BEGIN;
    off64_t at = out < 0 ? 0 : syscall(SYS_lseek, fd, 0, SEEK_CUR);
    if (out >= 0 && syscall(SYS_fcntl, fd, F_GETFL) & O_APPEND) at = syscall(SYS_lseek, fd, 0, SEEK_END);
    ssize_t done = syscall(SYS_write, fd, from, n);
    wrote(fd, &(struct iovec){(void *)from, n}, 1, at, done, 0);
    TURN_END;
    return done;
}
ssize_t pwrite64(int fd, const void *from, size_t n, off64_t at) {
    TURN_BEGIN;
    ssize_t done = syscall(SYS_pwrite64, fd, from, n, at);
    wrote(fd, &(struct iovec){(void *)from, n}, 1, at, done, 0);
    TURN_END;
    return done;
}
ssize_t pwrite(int fd, const void *from, size_t n, off_t at) { return pwrite64(fd, from, n, at); }
ssize_t pwritev64v2(int fd, const struct iovec *v, int n, off64_t at, int flags) {
    TURN_BEGIN;
    ssize_t done = syscall(SYS_pwritev2, fd, v, n, at, 0, flags);
    wrote(fd, v, n, at, done, flags & (RWF_DSYNC | RWF_SYNC));
    TURN_END;
    return done;
}
ssize_t pwritev2(int fd, const struct iovec *v, int n, off_t at, int flags) { return pwritev64v2(fd, v, n, at, flags); }
ssize_t pwritev64(int fd, const struct iovec *v, int n, off64_t at) { return pwritev64v2(fd, v, n, at, 0); }
ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at) { return pwritev64v2(fd, v, n, at, 0); }
ssize_t copy_file_range(int from, off64_t *at, int to, off64_t *there, size_t n, unsigned flags) {
    if (out >= 0) { errno = ENOSYS; return -1; } /* its callers have another way, which is logged */
    return syscall(SYS_copy_file_range, from, at, to, there, n, flags);
}

static int synced(int fd, long number) {
    char path[PATH_MAX];
    int directory = 0;
    TURN_BEGIN;
    int result = (int)syscall(number, fd);
    uint64_t inode = result ? 0 : logged(fd, path, &directory);
    if (inode) {
        const char *ignore = getenv("GLANCE_STREAM_POWER_IGNORE"), *where = getenv("GLANCE_STREAM_POWER_BELOW");
        int ignored = ignore && where && !strncmp(path, where, strlen(where)) && !strcmp(ignore, directory ? "directory" : "file");
        if (!ignored) record(directory ? SYNC_DIRECTORY : SYNC, inode, 0, NULL, 0, path, NULL);
    }
    TURN_END;
    return result;
}
int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

static int sized(int fd, uint64_t operation, off64_t size, int result) {
    char path[PATH_MAX];
    int directory = 0;
    uint64_t inode = result || out < 0 ? 0 : logged(fd, path, &directory);
    if (inode) record(operation, inode, (uint64_t)size, NULL, 0, path, NULL);
    return result;
}
int ftruncate64(int fd, off64_t n) {
    TURN_BEGIN;
    int result = sized(fd, TRUNCATE, n, (int)syscall(SYS_ftruncate, fd, n));
    TURN_END;
    return result;
}
int ftruncate(int fd, off_t n) { return ftruncate64(fd, n); }
int fallocate64(int fd, int mode, off64_t at, off64_t n) {
    TURN_BEGIN;
    if (out >= 0 && mode & ~FALLOC_FL_KEEP_SIZE) { TURN_END; errno = EOPNOTSUPP; return -1; } /* its callers write zeros then */
    int result = (int)syscall(SYS_fallocate, fd, mode, at, n);
    if (!(mode & FALLOC_FL_KEEP_SIZE)) sized(fd, EXTEND, at + n, result);
    TURN_END;
    return result;
}
int fallocate(int fd, int mode, off_t at, off_t n) { return fallocate64(fd, mode, at, n); }

static int opened(int dir, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX];
    struct stat facts;
    if (!whole(dir, name, path) || !(flags & (O_CREAT | O_TRUNC))) return (int)syscall(SYS_openat, dir, name, flags, mode);
    TURN_BEGIN;
    int there = !syscall(SYS_faccessat, AT_FDCWD, path, F_OK);
    int fd = (int)syscall(SYS_openat, dir, name, flags, mode), before = errno;
    if (fd >= 0 && !fstat(fd, &facts)) {
        if (!there) record(CREATE, facts.st_ino, 0, NULL, 0, path, NULL);
        else if (flags & O_TRUNC) record(TRUNCATE, facts.st_ino, 0, NULL, 0, path, NULL);
    }
    TURN_END;
    errno = before;
    return fd;
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

/* An operation on one or two names. */
static int named(uint64_t operation, int from, const char *old, int to, const char *new, long result) {
    char path[PATH_MAX], other[PATH_MAX];
    if (!result && whole(from, old, path)) record(operation, 0, 0, NULL, 0, path, new && whole(to, new, other) ? other : NULL);
    return (int)result;
}
#define NAMED(operation, from, old, to, new, call) do { \
    TURN_BEGIN; \
    int result = named(operation, from, old, to, new, call); \
    TURN_END; \
    return result; \
} while (0)
int linkat(int from, const char *old, int to, const char *new, int flags) {
    NAMED(LINK, from, old, to, new, syscall(SYS_linkat, from, old, to, new, flags));
}
int link(const char *old, const char *new) { return linkat(AT_FDCWD, old, AT_FDCWD, new, 0); }
int renameat2(int from, const char *old, int to, const char *new, unsigned flags) {
    NAMED(RENAME, from, old, to, new, syscall(SYS_renameat2, from, old, to, new, flags));
}
int renameat(int from, const char *old, int to, const char *new) { return renameat2(from, old, to, new, 0); }
int rename(const char *old, const char *new) { return renameat2(AT_FDCWD, old, AT_FDCWD, new, 0); }
int unlinkat(int dir, const char *path, int flags) {
    NAMED(flags & AT_REMOVEDIR ? RMDIR : UNLINK, dir, path, 0, NULL, syscall(SYS_unlinkat, dir, path, flags));
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
int mkdirat(int dir, const char *path, mode_t mode) { NAMED(MKDIR, dir, path, 0, NULL, syscall(SYS_mkdirat, dir, path, mode)); }
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }
