/* http_server.c: the listening socket, the loop thread, jobs for it from other threads, and the end.
 *
 * One turn of the loop: wait in our epoll (which has libmicrohttpd's epoll, the wake-up, WebSockets and what the owner
 * watches); call what is ready; run the jobs that came meanwhile, most of them answers; let libmicrohttpd run once for
 * all of them; look at the deadlines.  A job costs its sender a system call only when the loop is asleep. */
#include "common/http_parts.h"

#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"

#define EVENTS_PER_TURN  256
#define LISTEN_BACKLOG   4096
#define LISTEN_BYTES_MAX 256
#define DRAIN_LAST_MS    500 /* after the deadline, for connections that were told to end to do so */

/* The server whose loop this thread is. */
static _Thread_local const struct http_server *loop_of;

/* Servers that stay in memory on purpose, see http_server_drain(). */
static struct http_server *_Atomic undead;

bool server_is_loop_thread(const struct http_server *server)
{
    return loop_of == server;
}

/* --- jobs --------------------------------------------------------------------------------------------------------- */

void server_post(struct http_server *server, struct http_job *job)
{
    pthread_mutex_lock(&server->jobs_lock);
    job->next = NULL;
    if (server->first_job == NULL)
        server->first_job = job;
    else
        server->last_job->next = job;
    server->last_job = job;
    /* under the lock, as the job may be the last thing a draining server waits for */
    if (server->asleep) {
        server->asleep = false;
        eventfd_write(server->wake_fd, 1);
    }
    pthread_mutex_unlock(&server->jobs_lock);
}

static void run_jobs(struct http_server *server)
{
    pthread_mutex_lock(&server->jobs_lock);
    struct http_job *job = server->first_job;
    server->first_job = NULL;
    server->asleep = false;
    pthread_mutex_unlock(&server->jobs_lock);
    while (job != NULL) {
        struct http_job *next = job->next; /* the job is gone once it ran */
        job->run(server, job);
        job = next;
    }
}

/* False when there is a job to be done first. */
static bool fall_asleep(struct http_server *server)
{
    pthread_mutex_lock(&server->jobs_lock);
    server->asleep = server->first_job == NULL;
    bool asleep = server->asleep;
    pthread_mutex_unlock(&server->jobs_lock);
    return asleep;
}

/* --- what the loop waits for -------------------------------------------------------------------------------------- */

bool server_epoll_add(struct http_server *server, struct http_watch *watch, uint32_t events, struct problem *why)
{
    struct epoll_event event = { .events = events, .data.ptr = watch };

    if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, watch->fd, &event) != 0)
        return fail(why, "could not watch a file descriptor: %s", strerror(errno));
    return true;
}

bool http_server_watch(struct http_server *server, int fd, void (*ready)(void *context), void *context,
                       struct problem *why)
{
    struct http_watch *watch = must_alloc(sizeof(*watch));

    *watch = (struct http_watch){ .fd = fd, .ready = ready, .context = context };
    if (!server_epoll_add(server, watch, EPOLLIN, why)) {
        free(watch);
        return false;
    }
    pthread_mutex_lock(&server->jobs_lock);
    watch->next = server->watches;
    server->watches = watch;
    pthread_mutex_unlock(&server->jobs_lock);
    return true;
}

static void mhd_is_ready(void *context)
{
    (void)context; /* every turn lets it run */
}

static void was_woken(void *context)
{
    struct http_server *server = context;
    eventfd_t count;

    eventfd_read(server->wake_fd, &count);
}

/* --- the loop ----------------------------------------------------------------------------------------------------- */

static bool mhd_has_more(struct http_server *server)
{
    MHD_UNSIGNED_LONG_LONG ms;

    return server->mhd_waits || (MHD_get_timeout(server->daemon, &ms) == MHD_YES && ms == 0);
}

static int wait_ms(struct http_server *server, int64_t next_us)
{
    if (mhd_has_more(server) || !fall_asleep(server))
        return 0;
    if (next_us == INT64_MAX)
        return -1;
    int64_t ms = (next_us - monotonic_us() + 999) / 1000;
    return ms < 0 ? 0 : ms > 60000 ? 60000 : (int)ms;
}

/* False when the drain is over. */
static bool drain_goes_on(struct http_server *server, int64_t *next_us)
{
    if (!server->draining)
        return true;
    if (server->connections == 0)
        return false;
    if (server->drain_deadline_us <= server->now_us) {
        if (server->drain_forced)
            return false;
        server->drain_forced = true;
        server->drain_deadline_us = server->now_us + DRAIN_LAST_MS * 1000;
        websockets_close_all(server, true);
        connections_stop_all(server);
    }
    if (server->drain_deadline_us < *next_us)
        *next_us = server->drain_deadline_us;
    return true;
}

static void *run_loop(void *argument)
{
    struct http_server *server = argument;
    struct epoll_event events[EVENTS_PER_TURN];
    int64_t next_us = INT64_MAX;

    loop_of = server;
    for (;;) {
        int count = epoll_wait(server->epoll_fd, events, EVENTS_PER_TURN, wait_ms(server, next_us));
        server->now_us = monotonic_us();
        for (int i = 0; i < count; i++) {
            struct http_watch *watch = events[i].data.ptr;
            watch->ready(watch->context);
        }
        run_jobs(server);
        server->mhd_waits = false;
        MHD_run(server->daemon);
        next_us = connections_check(server);
        int64_t websockets_us = websockets_check(server);
        if (websockets_us < next_us)
            next_us = websockets_us;
        if (!drain_goes_on(server, &next_us))
            return NULL;
    }
}

/* --- the start ---------------------------------------------------------------------------------------------------- */

/* "127.0.0.1:5000", "[::1]:5000", "localhost:5000" */
static bool listen_resolve(const char *listen, struct addrinfo **ret, struct problem *why)
{
    char host[LISTEN_BYTES_MAX];
    const char *colon = strrchr(listen, ':');
    size_t bytes = colon != NULL ? (size_t)(colon - listen) : 0;
    const char *from = listen;

    if (bytes > 1 && from[0] == '[' && from[bytes - 1] == ']') {
        from++;
        bytes -= 2;
    }
    if (bytes == 0 || bytes >= sizeof(host) || colon[1] == '\0')
        return fail(why, "cannot listen on \"%s\": it must be an address and a port, like 0.0.0.0:5000", listen);
    memcpy(host, from, bytes);
    host[bytes] = '\0';
    struct addrinfo hints = { .ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM };
    int error = getaddrinfo(host, colon + 1, &hints, ret);
    if (error != 0)
        return fail(why, "cannot listen on \"%s\": %s", listen, gai_strerror(error));
    return true;
}

static int listen_open(struct http_server *server, struct problem *why)
{
    const char *listen_on = server->settings.listen;
    struct addrinfo *address;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } bound;
    socklen_t bytes = sizeof(bound);

    if (!listen_resolve(listen_on, &address, why))
        return -1;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
    bool done = fd >= 0 && bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, LISTEN_BACKLOG) == 0 &&
                getsockname(fd, &bound.any, &bytes) == 0;
    if (!done) {
        fail(why, "could not listen on \"%s\": %s", listen_on, strerror(errno));
        if (fd >= 0)
            close(fd);
        fd = -1;
    } else {
        server->port = ntohs(bound.any.sa_family == AF_INET6 ? bound.v6.sin6_port : bound.v4.sin_port);
    }
    freeaddrinfo(address);
    return fd;
}

/* Escapes are read by us, after it is known where the path's segments end. */
static size_t leave_escapes(void *cls, struct MHD_Connection *mhd, char *string)
{
    (void)cls;
    (void)mhd;
    return strlen(string);
}

static bool mhd_start(struct http_server *server, struct problem *why)
{
    int listen_fd = listen_open(server, why);

    if (listen_fd < 0)
        return false;
    const struct http_server_settings *settings = &server->settings;
    struct MHD_OptionItem options[] = {
        { MHD_OPTION_LISTEN_SOCKET, listen_fd, NULL },
        { MHD_OPTION_CONNECTION_LIMIT, (intptr_t)settings->connections_max, NULL },
        { MHD_OPTION_PER_IP_CONNECTION_LIMIT, (intptr_t)settings->connections_per_address_max, NULL },
        { MHD_OPTION_CONNECTION_MEMORY_LIMIT, HTTP_CONNECTION_POOL_BYTES, NULL },
        { MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)request_begin, server },
        { MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)request_end, server },
        { MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)connection_changed, server },
        { MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)leave_escapes, NULL },
        { MHD_OPTION_END, 0, NULL },
    };
    /* no thread of its own: the loop lets it run */
    server->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE, 0, NULL, NULL,
                                      request_go_on, server, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
    if (server->daemon == NULL) {
        close(listen_fd);
        return fail(why, "could not start the HTTP server on \"%s\": libmicrohttpd refused", settings->listen);
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    server->mhd_watch = (struct http_watch){ .fd = info->epoll_fd, .ready = mhd_is_ready };
    return server_epoll_add(server, &server->mhd_watch, EPOLLIN, why);
}

static void server_free(struct http_server *server)
{
    if (server->daemon != NULL)
        MHD_stop_daemon(server->daemon);
    run_jobs(server); /* of WebSockets that are gone; they free themselves */
    lingers_free(server);
    exchanges_free(server);
    router_free(server->router);
    while (server->watches != NULL) {
        struct http_watch *watch = server->watches;
        server->watches = watch->next;
        free(watch);
    }
    close(server->epoll_fd);
    close(server->wake_fd);
    pthread_mutex_destroy(&server->jobs_lock);
    free(server);
}

static bool loop_start(struct http_server *server, struct problem *why)
{
    sigset_t all, before;

    if (server->epoll_fd < 0 || server->wake_fd < 0)
        return fail(why, "could not start the HTTP server: %s", strerror(errno));
    server->wake_watch = (struct http_watch){ .fd = server->wake_fd, .ready = was_woken, .context = server };
    if (!server_epoll_add(server, &server->wake_watch, EPOLLIN, why) || !mhd_start(server, why))
        return false;
    server->now_us = monotonic_us();
    sigfillset(&all); /* signals are for the daemon's own thread */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&server->thread, NULL, run_loop, server);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0)
        return fail(why, "could not start the HTTP server's thread: %s", strerror(error));
    pthread_setname_np(server->thread, "http");
    return true;
}

struct http_server *http_server_start(const struct http_server_settings *settings, const struct http_route *routes,
                                      struct problem *why)
{
    struct http_server *server = must_alloc(sizeof(*server));

    server->settings = *settings;
    server->websockets_due_us = INT64_MAX;
    pthread_mutex_init(&server->jobs_lock, NULL);
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    server->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    server->router = router_new(routes, why);
    if (server->router == NULL || !loop_start(server, why)) {
        server_free(server);
        return NULL;
    }
    return server;
}

uint16_t http_server_port(const struct http_server *server)
{
    return server->port;
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

struct drain_job {
    struct http_job job;
    int64_t deadline_ms;
};

static void drain_begin(struct http_server *server, struct http_job *job)
{
    server->draining = true;
    server->drain_deadline_us = server->now_us + ((struct drain_job *)job)->deadline_ms * 1000;
    MHD_run(server->daemon); /* who was connecting is let in */
    close(MHD_quiesce_daemon(server->daemon));
    connections_stop_idle(server);
    websockets_close_all(server, false);
}

void http_server_drain(struct http_server *server, int64_t deadline_ms)
{
    struct drain_job job = { .job = { .run = drain_begin }, .deadline_ms = deadline_ms };

    server_post(server, &job.job);
    pthread_join(server->thread, NULL);
    if (server->connections == 0) {
        server_free(server);
        return;
    }
    /* Somebody keeps an exchange and may still answer it, and libmicrohttpd must not be stopped with suspended
     * connections: both stay in memory, where a late answer does no harm.  The process is ending. */
    server->next_undead = atomic_exchange(&undead, server);
    log_warning("the HTTP server stopped with requests unanswered", LOG_INT("requests", server->connections));
}
