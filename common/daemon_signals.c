/* A thread of its own takes the signals from a signalfd, so that no code ever runs in the middle of other code; it also
 * watches the drain deadline, whoever began the stopping. */
#include "common/daemon_parts.h"
#include "common/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

static int signal_fd = -1;
static int stop_fd = -1;
static int64_t drain_ms;
static atomic_bool stopping;
static atomic_bool failed;

bool daemon_stopping(void)
{
    return atomic_load_explicit(&stopping, memory_order_acquire);
}

bool daemon_failed(void)
{
    return atomic_load_explicit(&failed, memory_order_acquire);
}

int daemon_stop_fd(void)
{
    return stop_fd;
}

static void stop_begin(void)
{
    if (!atomic_exchange(&stopping, true))
        eventfd_write(stop_fd, 1); /* cannot block: it is written once */
}

void daemon_stop(const char *why)
{
    atomic_store_explicit(&failed, true, memory_order_release);
    log_error("stopping: cannot go on", LOG_TEXT("why", why));
    stop_begin();
}

/* Counts asking, not stopping: the first signal after daemon_stop() changes nothing. */
static void take_signal(void)
{
    static bool asked;
    struct signalfd_siginfo info;
    if (read(signal_fd, &info, sizeof(info)) != sizeof(info))
        return;
    const char *name = info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT";
    if (asked) {
        log_warning("ended at once: asked a second time", LOG_TEXT("signal", name));
        _exit(1);
    }
    asked = true;
    log_info("stopping", LOG_TEXT("signal", name), LOG_INT("deadline_ms", drain_ms));
    stop_begin();
}

static void *watch(void *unused)
{
    (void)unused;
    pthread_setname_np(pthread_self(), "signals");
    int64_t deadline_us = 0;
    for (;;) {
        /* once it is readable the eventfd stays so: from then on the time is watched in its place */
        struct pollfd fds[] = { { .fd = signal_fd, .events = POLLIN },
                                { .fd = deadline_us ? -1 : stop_fd, .events = POLLIN } };
        int64_t left_ms = deadline_us ? (deadline_us - monotonic_us() + 999) / 1000 : -1;
        if (deadline_us && left_ms <= 0) {
            log_error("ended at once: what had begun did not finish in time", LOG_INT("deadline_ms", drain_ms));
            _exit(1);
        }
        if (poll(fds, LENGTH(fds), (int)left_ms) < 0 && errno != EINTR)
            return NULL;
        if (fds[1].revents)
            deadline_us = monotonic_us() + drain_ms * 1000;
        if (fds[0].revents)
            take_signal();
    }
}

bool daemon_signals_start(int64_t drain_deadline_ms, struct problem *why)
{
    drain_ms = drain_deadline_ms;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    sigset_t asks;
    sigemptyset(&asks);
    sigaddset(&asks, SIGTERM);
    sigaddset(&asks, SIGINT);
    pthread_sigmask(SIG_BLOCK, &asks, NULL);
    signal_fd = signalfd(-1, &asks, SFD_CLOEXEC);
    stop_fd = eventfd(0, EFD_CLOEXEC);
    if (signal_fd < 0 || stop_fd < 0)
        return fail(why, "could not watch for signals: %s", strerror(errno));
    pthread_t thread;
    int error = pthread_create(&thread, NULL, watch, NULL);
    if (error)
        return fail(why, "could not start the thread that watches for signals: %s", strerror(error));
    pthread_detach(thread);
    return true;
}
