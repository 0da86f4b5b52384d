#include "deploy/sb/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define LOOK_EVERY_MS 50

static int lock_open(const struct place *place, int flags)
{
    char path[PATH_MAX];
    path_print(path, "%s/sb.lock", place->run);
    return open(path, O_RDWR | flags, 0600);
}

/* There is no flock with a time limit. */
static bool flock_within(int file, int64_t wait_ms)
{
    int64_t deadline_us = monotonic_us() + wait_ms * 1000;
    while (flock(file, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK || monotonic_us() >= deadline_us)
            return false;
        nanosleep(&(struct timespec){ .tv_nsec = LOOK_EVERY_MS * 1000000L }, NULL);
    }
    return true;
}

static pid_t holder_of(int file)
{
    struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    return fcntl(file, F_GETLK, &whole) == 0 && whole.l_type != F_UNLCK ? whole.l_pid : 0;
}

bool lock_take(const struct place *place, int64_t wait_ms, struct problem *why)
{
    struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    int file = lock_open(place, O_CREAT); /* without O_CLOEXEC: the parts inherit it */

    if (file < 0)
        return fail(why, "could not open %s/sb.lock: %s", place->run, strerror(errno));
    if (fcntl(file, F_SETLK, &whole) != 0)
        return fail(why, "it already runs in this checkout (process %d): \"sb status\" shows it, \"sb down\" ends it",
                    (int)holder_of(file));
    if (flock(file, LOCK_EX | LOCK_NB) == 0)
        return true;
    fprintf(stderr, "waiting for parts of an earlier run to end\n");
    return flock_within(file, wait_ms) ||
           fail(why, "parts of an earlier run are still there after %lld s: \"fuser %s/sb.lock\" lists them",
                (long long)wait_ms / 1000, place->run);
}

pid_t lock_holder(const struct place *place)
{
    int file = lock_open(place, O_CLOEXEC);
    pid_t holder = file >= 0 ? holder_of(file) : 0;
    if (file >= 0)
        close(file);
    return holder;
}

bool lock_wait_free(const struct place *place, int64_t wait_ms)
{
    int file = lock_open(place, O_CLOEXEC);
    if (file < 0)
        return true;
    bool free_now = flock_within(file, wait_ms);
    close(file);
    return free_now;
}
