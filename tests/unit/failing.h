/* failing.h: the n-th call of a kind is refused, for tests that try every n until one is larger than there are calls:
 *
 *     do {
 *         failing_begin(FAILING_DISK, ++nth, how);
 *         … what is tried: it may fail, but not lose or spoil anything …
 *         calls = failing_end();
 *         … what must hold, and that it works again …
 *     } while (nth <= calls);
 *
 * Calls of every thread count; of reads and writes those of files do.  The functions below stand before libc's, for
 * libraries too.  Include once. */
#pragma once

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum failing_kind {
    FAILING_NOTHING,
    FAILING_DISK,
    FAILING_LIBRARY, /* what a library gives is NULL: the test's own functions ask failing_now() */
};
enum failing {
    FAILS_ONCE,
    FAILS_FOR_GOOD, /* and so do all that follow */
    FAILS_BY_HALF,  /* a write or read of less than was wanted, which is no error */
    FAILINGS
};
static const char *const failing_names[] = { "once", "for good", "by half" };

static atomic_int failing_what, failing_how, failing_nth, failing_calls;

static inline void failing_begin(enum failing_kind what, int nth, enum failing how)
{
    atomic_store(&failing_calls, 0);
    atomic_store(&failing_how, (int)how);
    atomic_store(&failing_nth, nth);
    atomic_store(&failing_what, (int)what);
}

/* How many calls there were. */
static inline int failing_end(void)
{
    atomic_store(&failing_what, FAILING_NOTHING);
    return atomic_load(&failing_calls);
}

/* Counts a call; is it refused? */
static inline bool failing_now(enum failing_kind what)
{
    if (atomic_load(&failing_what) != (int)what)
        return false;
    int call = atomic_fetch_add(&failing_calls, 1) + 1, nth = atomic_load(&failing_nth);
    return call == nth || (atomic_load(&failing_how) == FAILS_FOR_GOOD && call > nth);
}

static inline int failing_fails(int error)
{
    if (atomic_load(&failing_how) == FAILS_BY_HALF || !failing_now(FAILING_DISK))
        return 0;
    errno = error;
    return -1;
}

/* Not a socket, which is no disk, and not where tests write to. */
static inline bool failing_is_file(int fd)
{
    struct stat facts;
    return fd > STDERR_FILENO && fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode);
}

/* Of a read or write: -1 it fails, else how much of it is done. */
static inline ssize_t failing_part(int fd, size_t bytes, int error)
{
    if (!failing_is_file(fd) || !failing_now(FAILING_DISK))
        return (ssize_t)bytes;
    if (atomic_load(&failing_how) == FAILS_BY_HALF)
        return bytes > 1 ? (ssize_t)(bytes / 2) : (ssize_t)bytes;
    errno = error;
    return -1;
}

#define FAILING_NEXT(name, ...)                                                                                        \
    static __typeof__(name) *next;                                                                                     \
    if (next == NULL)                                                                                                  \
    *(void **)&next = dlsym(RTLD_NEXT, #name)

#define FAILING_TRANSFER(name, error, parameters, arguments)                                                           \
    ssize_t name parameters                                                                                            \
    {                                                                                                                  \
        FAILING_NEXT(name);                                                                                            \
        ssize_t part = failing_part(fd, bytes, error);                                                                 \
        if (part < 0)                                                                                                  \
            return -1;                                                                                                 \
        bytes = (size_t)part;                                                                                          \
        return next arguments;                                                                                         \
    }
FAILING_TRANSFER(read, EIO, (int fd, void *at, size_t bytes), (fd, at, bytes))
FAILING_TRANSFER(write, ENOSPC, (int fd, const void *at, size_t bytes), (fd, at, bytes))
FAILING_TRANSFER(pread, EIO, (int fd, void *at, size_t bytes, off_t from), (fd, at, bytes, from))
FAILING_TRANSFER(pread64, EIO, (int fd, void *at, size_t bytes, off64_t from), (fd, at, bytes, from))
FAILING_TRANSFER(pwrite, ENOSPC, (int fd, const void *at, size_t bytes, off_t to), (fd, at, bytes, to))
FAILING_TRANSFER(pwrite64, ENOSPC, (int fd, const void *at, size_t bytes, off64_t to), (fd, at, bytes, to))

#define FAILING_CALL(name, error, parameters, arguments)                                                               \
    int name parameters                                                                                                \
    {                                                                                                                  \
        FAILING_NEXT(name);                                                                                            \
        return failing_fails(error) == 0 ? next arguments : -1;                                                        \
    }
FAILING_CALL(fsync, EIO, (int fd), (fd))
FAILING_CALL(fdatasync, EIO, (int fd), (fd))
FAILING_CALL(ftruncate, EIO, (int fd, off_t bytes), (fd, bytes))
FAILING_CALL(ftruncate64, EIO, (int fd, off64_t bytes), (fd, bytes))
FAILING_CALL(rename, ENOSPC, (const char *from, const char *to), (from, to))
FAILING_CALL(mkdir, ENOSPC, (const char *path, mode_t mode), (path, mode))
FAILING_CALL(mkostemps, ENOSPC, (char *path, int suffix_bytes, int flags), (path, suffix_bytes, flags))

#define FAILING_OPEN(name)                                                                                             \
    int name(const char *path, int flags, ...)                                                                         \
    {                                                                                                                  \
        FAILING_NEXT(name);                                                                                            \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                        \
        va_end(rest);                                                                                                  \
        return failing_fails(EMFILE) == 0 ? next(path, flags, mode) : -1;                                              \
    }
FAILING_OPEN(open)
FAILING_OPEN(open64)
