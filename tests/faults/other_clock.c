/* other_clock.c: a library to be preloaded, by which one process's wall clock can be set, as an operator or NTP may, while it runs.
 *
 * The environment variable CLOCK_FILE names a file of 8 bytes, an int64_t: by how many seconds the clock is off.  Whoever writes it makes
 * the clock jump at once.  Monotonic time goes on; so does timespec_get(), from which the C library's condition variables, and with them
 * librdkafka, make the end of a wait: they wait by the machine's clock, which does not jump. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *off_s;
static int (*real_clock_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("CLOCK_FILE");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *file = fd >= 0 ? mmap(NULL, sizeof(*off_s), PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (fd >= 0)
        close(fd);
    off_s = file != MAP_FAILED ? file : NULL;
}

/* Others' constructors may come before ours. */
static int ask(clockid_t clock, struct timespec *ret)
{
    if (!real_clock_gettime)
        *(void **)&real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    return real_clock_gettime(clock, ret);
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
    int result = ask(clock, ret);
    if (result == 0 && off_s && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        ret->tv_sec += *off_s;
    return result;
}

int gettimeofday(struct timeval *restrict ret, void *restrict unused)
{
    struct timespec now;
    (void)unused;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return -1;
    *ret = (struct timeval){ .tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000 };
    return 0;
}

time_t time(time_t *ret)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (ret)
        *ret = now.tv_sec;
    return now.tv_sec;
}
